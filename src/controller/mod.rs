//! Reconciles each resource into a worker, and reports into its status.
//!
//! ```text
//!               watch ──► reconcile ──► Workers::ensure ──┬─► secrets ──► translate ──► worker, in this process
//!                │            │                           └─► children ──► worker, in a Pod
//!           departures     summary ──────► status ◄────── report ◄── reporter ◄── progress
//! ```
//!
//! What ties a worker to its resource is in [`resource`](crate::resource), because workers elsewhere need it, too. Here are:
//!
//! - Pure: `summary` (`Ready`, out of all other conditions), `backoff`.
//! - Reading and writing: `watch`, `secrets`, `workers`.
//! - Wiring: `reconcile`, `context`, and [`run`].
//!
//! A resource's progress never wakes the controller, a failing resource never delays another, and no deletion ever waits for a
//! broker: there are no finalizers.
//!
//! # What it may do
//!
#![doc = include_str!("rights.md")]

mod backoff;
mod context;
mod error;
mod reconcile;
pub mod rights;
mod secrets;
mod summary;
mod watch;
mod workers;

use std::{future, sync::Arc};

use futures::StreamExt as _;
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
use workers::{Children, InProcess, Managed, Pods, Scope, Workers};

pub use workers::PodOptions;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerMode {
    /// In the controller's own process.
    InProcess,
    /// In Pods of their own.
    Pods(PodOptions),
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
    let with_pods = matches!(options.workers, WorkerMode::Pods(_));
    let scope = Scope::watch(&client, options.namespace.as_deref(), with_pods);
    let wakes = scope.wakes().clone();
    let children = Arc::new(Children::new(client.clone(), vec![scope]));
    let managed = match options.workers {
        WorkerMode::InProcess => Managed::InProcess(InProcess::new(client.clone(), store.clone(), options.cache)),
        WorkerMode::Pods(pods) => Managed::Pods(Pods::new(children.clone(), pods)),
    };
    let workers = Workers::new(managed, children);
    let context = Arc::new(Context::new(client, workers));
    let departing = context.clone();
    let changes = watch::watch(api, writer, move |departure| departing.depart(&departure));
    let controller = Controller::for_stream(changes, store.clone())
        .with_config(controller::Config::default().concurrency(CONCURRENCY))
        .reconcile_on(wakes.stream())
        .run(reconcile::reconcile, reconcile::error_policy, context.clone())
        .for_each(async |outcome| log(outcome));
    let namespace = options.namespace.as_deref().unwrap_or("all");
    info!(namespace, "controller starts");
    tokio::select! {
        () = controller => {}
        () = announce(&store, &context.workers, ready) => {}
        () = stop.cancelled() => {}
    }
    context.workers.shut_down().await;
    info!("controller has stopped");
}

/// Never ends, so that it can stand beside what ends.
async fn announce(store: &Store<Watched>, workers: &Workers, ready: impl FnOnce()) {
    if store.wait_until_ready().await.is_ok() {
        workers.ready().await;
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
