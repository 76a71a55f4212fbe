//! Workers as tasks of the controller's process.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use kube::{Api, Client, ResourceExt as _, runtime::reflector::Store};
use tokio::{sync::Notify, task::JoinHandle, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, info_span, warn};

use super::board::StatusBoard;
use crate::{
    api::WasmProxy,
    controller::{
        error::Error,
        secrets,
        watch::{Departure, Watched},
    },
    mqtt::SessionEnd,
    registry::Cache,
    resource::{
        api_server::name_of,
        memory::memory,
        reporter::{Board as _, Ending, Reporter},
        translate::worker_config,
    },
    worker::{
        Worker, WorkerConfig,
        metrics::{Name, Presence, Roster},
    },
};

/// The workers in this process.
pub struct InProcess {
    client: Client,
    store: Store<Watched>,
    cache: Option<Cache>,
    roster: Roster,
    table: Mutex<Table>,
    leaving: TaskTracker,
}

#[derive(Default)]
struct Table {
    workers: HashMap<String, Running>,
    closed: bool,
}

struct Running {
    name: String,
    worker: Worker,
    config: WorkerConfig,
    /// Wakes the reporter.
    look: Arc<Notify>,
    /// The worker is about to be told to end.
    ending: CancellationToken,
    reporter: JoinHandle<Reporter<StatusBoard>>,
    _presence: Presence,
}

impl InProcess {
    /// None yet. `store` is kept up to date by the watch; all workers share the cache, and are in the roster.
    pub fn new(client: Client, store: Store<Watched>, cache: Option<Cache>, roster: Roster) -> Self {
        Self { client, store, cache, roster, table: Mutex::default(), leaving: TaskTracker::new() }
    }

    /// See [`Workers::ensure`](super::Workers::ensure).
    pub async fn ensure(&self, resource: &Arc<WasmProxy>) -> Result<(), Error> {
        let namespace = resource.namespace().unwrap_or_default();
        let secrets = Api::namespaced(self.client.clone(), &namespace);
        let credentials = secrets::read(&secrets, &resource.spec).await?;
        let mut config = worker_config(resource, credentials)?;
        if let Some(cache) = &self.cache {
            config.keep_in(cache);
        }
        self.assign(resource, config)
    }

    /// Whether the worker of this UID runs.
    pub fn is_running(&self, uid: &str) -> bool {
        self.table().workers.get(uid).is_some_and(|running| !running.is_lost())
    }

    /// See [`Workers::stop`](super::Workers::stop).
    pub async fn stop(&self, uid: &str) {
        let running = self.table().workers.remove(uid);
        if let Some(running) = running {
            // A reconciliation that is broken off does not break off the end of a worker.
            let _ = self.leaving.spawn(running.stop()).await;
        }
    }

    /// See [`Workers::depart`](super::Workers::depart).
    pub fn depart(&self, departure: &Departure) {
        let mut table = self.table();
        let gone: Vec<Running> = match departure {
            Departure::Of(uid) => table.workers.remove(uid).into_iter().collect(),
            Departure::AllBut(uids) => table.workers.extract_if(|uid, _| !uids.contains(uid)).map(|(_, w)| w).collect(),
        };
        for running in gone {
            self.leaving.spawn(running.abandon());
        }
    }

    /// See [`Workers::shut_down`](super::Workers::shut_down).
    pub async fn shut_down(&self, grace: Duration) {
        let workers: Vec<Running> = {
            let mut table = self.table();
            table.closed = true;
            table.workers.drain().map(|(_, running)| running).collect()
        };
        self.leaving.close();
        let all = async {
            tokio::join!(join_all(workers.into_iter().map(Running::hand_over)), self.leaving.wait());
        };
        if timeout(grace, all).await.is_err() {
            warn!("some workers have not ended in time");
        }
    }

    /// Starts or reconfigures a worker. Under one lock with [`Self::depart`], which the watch calls once the store is without
    /// the resource: so no worker is started for one that is gone.
    fn assign(&self, resource: &Arc<WasmProxy>, config: WorkerConfig) -> Result<(), Error> {
        let uid = resource.uid().unwrap_or_default();
        let mut table = self.table();
        if table.workers.get(&uid).is_some_and(Running::is_lost) {
            table.workers.remove(&uid);
            return Err(Error::WorkerEnded);
        }
        if let Some(running) = table.workers.get_mut(&uid) {
            running.reconfigure(config);
            return Ok(());
        }
        let board = StatusBoard::new(self.client.clone(), self.store.clone(), resource);
        if table.closed || board.watched().is_none() {
            return Err(Error::GoingAway);
        }
        table.workers.insert(uid, Running::start(resource, config, board, &self.roster));
        Ok(())
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn start(resource: &Arc<WasmProxy>, config: WorkerConfig, board: StatusBoard, roster: &Roster) -> Self {
        let name = name_of(resource);
        info!(resource = name, generation = config.generation, broker = %config.broker.url, "worker starts");
        let worker = info_span!("worker", resource = name).in_scope(|| Worker::start(config.clone(), memory(resource)));
        let whom = Name { namespace: resource.namespace().unwrap_or_default(), name: resource.name_any() };
        let presence = roster.enter(whom, worker.vitals());
        let (look, ending) = (Arc::new(Notify::new()), CancellationToken::new());
        let reporter = Reporter::new(board, worker.progress(), resource.clone());
        let reporter = tokio::spawn(report(reporter, name.clone(), look.clone(), ending.clone()));
        Self { name, worker, config, look, ending, reporter, _presence: presence }
    }

    fn reconfigure(&mut self, config: WorkerConfig) {
        self.look.notify_one();
        if config != self.config {
            info!(resource = self.name, generation = config.generation, "worker gets a new configuration");
            self.config = config.clone();
            self.worker.reconfigure(config);
        }
    }

    /// Ended without being told to.
    fn is_lost(&self) -> bool {
        self.worker.progress().has_changed().is_err()
    }

    /// The resource stays, and is to say how far the worker came.
    async fn stop(self) {
        self.end(SessionEnd::Discard, Ending::Stopped).await;
    }

    /// Another controller, or a later one, goes on.
    async fn hand_over(self) {
        self.end(SessionEnd::Keep, Ending::Replaced).await;
    }

    async fn end(self, session: SessionEnd, ending: Ending) {
        self.ending.cancel();
        let reporter = self.reporter.await;
        self.worker.stop(session).await;
        if let Ok(mut reporter) = reporter {
            reporter.conclude(ending).await;
        }
        info!(resource = self.name, ?session, "worker has stopped");
    }

    /// The resource is gone, there is nothing to report to.
    async fn abandon(self) {
        self.ending.cancel();
        self.reporter.abort();
        self.worker.stop(SessionEnd::Discard).await;
        info!(resource = self.name, "worker has stopped, its resource is gone");
    }
}

async fn report(
    reporter: Reporter<StatusBoard>,
    name: String,
    look: Arc<Notify>,
    ending: CancellationToken,
) -> Reporter<StatusBoard> {
    let mut reporter = reporter.run(&look, &ending).await;
    if !ending.is_cancelled() {
        error!(resource = name, "worker has ended unexpectedly");
        reporter.conclude(Ending::Lost).await;
    }
    reporter
}
