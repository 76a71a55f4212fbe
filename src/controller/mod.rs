//! Reconciles each resource into a worker, and reports into its status.
//!
//! ```text
//!               watch ──► reconcile ──► Workers::ensure ──► secrets ──► translate ──► worker
//!                │            │                                                         │
//!           departures     summary ──────► status ◄────── report ◄── reporter ◄── progress
//! ```
//!
//! What ties a worker to its resource is in [`resource`](crate::resource), because workers elsewhere need it, too. Here are:
//!
//! - Pure: `summary` (`Ready`, out of all other conditions), `claims` (which of several resources has a channel), `backoff`.
//! - Reading and writing: `watch`, `wake`, `secrets`, `events` (what `kubectl describe` tells), `workers`.
//! - Wiring: `reconcile`, `context`, and [`run`].
//!
//! A resource's progress never wakes the controller, a failing resource never delays another, and no deletion ever waits for a
//! broker: there are no finalizers.
//!
//! # What it may do
//!
//! | resource | verbs |
//! |---|---|
//! | `wasmproxies.wasmproxy.io` | `list`, `watch` |
//! | `wasmproxies.wasmproxy.io/status` | `patch` |
//! | `secrets` | `get` |
//! | `events.events.k8s.io` | `create`, `patch` |
//!
//! In one namespace a `Role` will do, in all of them it takes a `ClusterRole`.

mod backoff;
mod claims;
mod context;
mod error;
mod events;
mod reconcile;
mod secrets;
mod summary;
mod wake;
mod watch;
mod workers;

use std::{future, sync::Arc};

use futures::{StreamExt as _, stream};
use kube::{
    Api, Client,
    runtime::{
        controller::{self, Action, Controller},
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use context::Context;
use error::Error;
use watch::Watched;
use workers::{InProcess, Workers};

use crate::registry::Cache;

/// Reconciliations at the same time: enough that some which wait for a slow broker's worker to end hold up nobody, few enough
/// for the API server.
const CONCURRENCY: u16 = 32;

/// What the controller is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The namespace to watch; all of them where there is none.
    pub namespace: Option<String>,
    /// Where workers run.
    pub workers: WorkerMode,
    /// Where workers in this process keep modules, if anywhere.
    pub cache: Option<Cache>,
}

/// Where workers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerMode {
    /// In the controller's own process.
    InProcess,
}

/// Reconciles until `stop` is cancelled, and then hands all workers over, within five seconds.
///
/// Calls `ready` once it knows of every resource. An API server that is away is waited for.
pub async fn run(client: Client, options: Options, ready: impl FnOnce() + Send, stop: CancellationToken) {
    let api = match &options.namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let (store, writer) = reflector::store();
    let workers = match options.workers {
        WorkerMode::InProcess => Workers::InProcess(InProcess::new(client.clone(), store.clone(), options.cache)),
    };
    let context = Arc::new(Context::new(client, workers));
    let (seeing, departing) = (context.clone(), context.clone());
    let changes =
        watch::watch(api, writer, move |resource| seeing.see(resource), move |departure| departing.depart(&departure));
    let changes = stream::select(changes, context.waker.woken(store.clone()));
    let controller = Controller::for_stream(changes, store.clone())
        .with_config(controller::Config::default().concurrency(CONCURRENCY))
        .run(reconcile::reconcile, reconcile::error_policy, context.clone())
        .for_each(async |outcome| log(outcome));
    let namespace = options.namespace.as_deref().unwrap_or("all");
    info!(namespace, "controller starts");
    tokio::select! {
        () = controller => {}
        () = announce(&store, ready) => {}
        () = events::publish(context.client.clone(), &context.narrator) => {}
        () = stop.cancelled() => {}
    }
    context.workers.shut_down().await;
    info!("controller has stopped");
}

/// Never ends, so that it can stand beside what ends.
async fn announce(store: &Store<Watched>, ready: impl FnOnce()) {
    if store.wait_until_ready().await.is_ok() {
        info!(resources = store.len(), "controller is ready");
        ready();
    }
    future::pending::<()>().await;
}

/// What the reconciler says of itself it has logged already.
fn log(outcome: Result<(ObjectRef<Watched>, Action), controller::Error<Error, watcher::Error>>) {
    match outcome {
        Ok((resource, action)) => debug!(%resource, ?action, "reconciled"),
        Err(controller::Error::QueueError(error)) => {
            let is_missing =
                matches!(&error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 404);
            let hint = if is_missing { "; apply the output of `wasmproxy crd` first" } else { "" };
            warn!("resources cannot be watched: {error}{hint}");
        }
        Err(error) => debug!(%error, "not reconciled"),
    }
}
