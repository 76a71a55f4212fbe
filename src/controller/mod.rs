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
//! - Pure: `summary` (`Ready`, out of all other conditions), `claims` (which of several resources has a channel), `backoff`,
//!   `watch` (what is watched, and what of it matters), `caches` (what many watches have said, as one).
//! - Reading and writing: `watching`, `secrets`, `events` (what `kubectl describe` tells), `workers`.
//! - Which replica does all this: `lease`. Every one of them watches, so that it can lead at once; one of them reconciles
//!   (`leading`).
//! - Wiring: `reconcile`, `context`, `wakes` (who is to be reconciled for another reason than a change of their own),
//!   `health`, [`metrics`], and [`run`].
//!
//! A resource's progress never wakes the controller, a failing resource never delays another, and no deletion ever waits for a
//! broker: there are no finalizers.
//!
//! # What it may do
//!
#![doc = include_str!("rights.md")]

mod backoff;
mod caches;
mod claims;
mod context;
mod error;
mod events;
mod health;
mod leading;
mod lease;
pub mod metrics;
mod reconcile;
pub mod rights;
mod secrets;
mod summary;
mod wakes;
mod watch;
mod watching;
mod workers;

use std::{sync::Arc, time::Duration};

use futures::stream;
use kube::{
    Client,
    runtime::{controller::Controller, reflector::Store},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{info, warn};

pub use health::Health;
pub use lease::{InvalidTerms, LeaderElection, LeaseLost, Terms};
pub use metrics::Metrics;

use context::Context;
use lease::Campaign;
use metrics::Reconciles;
use wakes::Wakes;
use watch::Watched;
use watching::{Changes, Watching, apis};
use workers::{Children, InProcess, Managed, Pods, Scope, Workers};

pub use workers::PodOptions;

use crate::{registry::Cache, resource::api_server::WATCH_SECONDS};

/// The longest that the end of all workers may take where no other replica waits for it: less than the 5 s that are promised,
/// since the process has to go away, too.
const SHUTDOWN: Duration = Duration::from_millis(4500);

/// What the controller is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The namespaces to watch, none of them twice; all that there are where none is named.
    pub namespaces: Vec<String>,
    /// Where workers run.
    pub workers: WorkerMode,
    /// Where workers in this process keep modules, if anywhere.
    pub cache: Option<Cache>,
    /// How this replica agrees with others on who leads; it leads at once where there is nothing to agree on.
    pub leader: Option<LeaderElection>,
    /// How long a watch lasts, in whole seconds, before it is asked for anew. A connection that died without a word is found
    /// out five seconds after that.
    pub watch: Duration,
}

impl Options {
    /// All namespaces, no cache, no other replicas.
    pub fn new(workers: WorkerMode) -> Self {
        let watch = Duration::from_secs(u64::from(WATCH_SECONDS));
        Self { namespaces: Vec::new(), workers, cache: None, leader: None, watch }
    }
}

/// Where workers run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerMode {
    /// In the controller's own process.
    InProcess,
    /// In Pods of their own.
    Pods(PodOptions),
}

/// Reconciles while it leads, until `stop` is cancelled, and then hands all workers over, within five seconds.
///
/// `health` and `metrics` say how it is meanwhile. An API server that is away is waited for.
///
/// # Errors
/// Where the lease is lost: all work has ended by then, and the process should, too.
pub async fn run(
    client: Client,
    options: Options,
    health: Health,
    metrics: Metrics,
    stop: CancellationToken,
) -> Result<(), LeaseLost> {
    let watching = Watching::new(&client, &options.namespaces, options.watch, health.clone());
    let (store, changes) = (watching.store(), watching.changes());
    metrics.watch(store.clone());
    let wakes = Arc::<Wakes>::default();
    let scopes = Scope::of(&client, &options.namespaces, matches!(options.workers, WorkerMode::Pods(_)), &wakes);
    let children = Arc::new(Children::new(client.clone(), scopes, wakes.clone()));
    let managed = match options.workers {
        WorkerMode::InProcess => {
            let (store, roster) = (store.clone(), metrics.workers.clone());
            Managed::InProcess(InProcess::new(client.clone(), store, options.cache, roster))
        }
        WorkerMode::Pods(pods) => Managed::Pods(Pods::new(children.clone(), pods)),
    };
    let workers = Workers::new(managed, children.clone());
    let context = Arc::new(Context::new(client.clone(), workers, wakes));
    let (seeing, departing) = (context.clone(), context.clone());
    info!(
        namespaces = if options.namespaces.is_empty() { "all".into() } else { options.namespaces.join(",") },
        "controller starts"
    );
    let _watching = AbortOnDropHandle::new(tokio::spawn(
        watching.run(move |resource| seeing.see(resource), move |departure| departing.depart(&departure)),
    ));
    let _learning = AbortOnDropHandle::new(tokio::spawn(learn(children.clone(), store.clone(), health.clone())));
    let reconciles = metrics.reconciles;
    let replica = Replica { client, namespaces: options.namespaces, store, changes, context, health, reconciles };
    let ended = match options.leader {
        Some(election) => replica.campaign(election, stop).await,
        None => {
            let leader = replica.lead();
            stop.cancelled().await;
            leader.end(SHUTDOWN).await;
            Ok(())
        }
    };
    info!("controller has stopped");
    ended
}

/// Says when it is known which objects workers have already.
async fn learn(children: Arc<Children>, store: Store<Watched>, health: Health) {
    children.ready().await;
    if health.children_known() {
        watching::announce(&store);
    }
}

/// One of several controllers, ready to lead.
struct Replica {
    client: Client,
    namespaces: Vec<String>,
    store: Store<Watched>,
    changes: Changes,
    context: Arc<Context>,
    health: Health,
    reconciles: Reconciles,
}

impl Replica {
    /// Leads when it is its turn, until it is told to stop or must.
    async fn campaign(&self, election: LeaderElection, stop: CancellationToken) -> Result<(), LeaseLost> {
        let mut campaign = Campaign::new(self.client.clone(), election);
        let grace = campaign.terms().grace();
        if stop.run_until_cancelled(campaign.win()).await.is_none() {
            campaign.release().await;
            return Ok(());
        }
        let leader = self.lead();
        let lost = stop.run_until_cancelled(campaign.hold()).await;
        if let Some(lost) = &lost {
            warn!("all work ends: {lost}");
        }
        leader.end(grace).await;
        match lost {
            Some(lost) => Err(lost),
            None => {
                campaign.release().await;
                Ok(())
            }
        }
    }

    /// Reconciles everything once, and then what changes.
    fn lead(&self) -> Leader<'_> {
        self.health.lead(true);
        let apis = apis(&self.client, &self.namespaces);
        let (store, changes, context) = (self.store.clone(), self.changes.clone(), self.context.clone());
        let (health, wakes, reconciles) = (self.health.clone(), self.context.wakes.clone(), self.reconciles.clone());
        let reconciling = async move {
            health.settled().await;
            leading::catch_up(apis, &store, changes.seen()).await;
            // First what changes, then what is known: so nothing is lost between them.
            let (wakes, changes) = (wakes.stream(), changes.listen());
            let controller = Controller::for_stream(stream::pending(), store.clone())
                .reconcile_on(leading::everything(&store, changes))
                .reconcile_on(wakes);
            let heart = health.reconciling.clone();
            let told = context.clone();
            tokio::join!(
                leading::drive(controller, context, heart, reconciles, reconcile::reconcile, reconcile::error_policy),
                events::publish(told.client.clone(), &told.narrator),
            );
        };
        Leader { replica: self, reconciling: AbortOnDropHandle::new(tokio::spawn(reconciling)) }
    }
}

/// The replica that leads.
struct Leader<'a> {
    replica: &'a Replica,
    reconciling: AbortOnDropHandle<()>,
}

impl Leader<'_> {
    /// Ends all work, within `grace`.
    async fn end(self, grace: Duration) {
        self.reconciling.abort();
        self.replica.context.workers.shut_down(grace).await;
        self.replica.health.reconciling.rest();
        self.replica.health.lead(false);
    }
}
