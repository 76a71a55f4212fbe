//! A worker on duty for one resource, or one that has to wait, and whoever reports on it.

use std::{sync::Arc, time::Duration};

use kube::ResourceExt as _;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{board::StatusBoard, order::Told};
use crate::{
    api::WasmProxy,
    mqtt::SessionEnd,
    resource::{
        memory::memory,
        reporter::{Ending, Left, Reporter},
        status::later,
    },
    worker::{
        Progress, Worker, WorkerConfig,
        metrics::{Name, Presence, Roster, Vitals},
    },
};

/// How long the end of a session may take, so that all is over within the 10 s that are promised.
const STOP_WITHIN: Duration = Duration::from_millis(8500);
/// How long the last word to the API server may take, which may be away.
const LAST_WORD: Duration = Duration::from_secs(3);

/// What is done for one resource, from its first sight or resumption to its deletion or suspension.
pub(super) struct Shift {
    pub uid: Option<String>,
    post: Post,
    /// Wakes the reporter.
    look: Arc<Notify>,
    /// The worker is about to be told to end.
    ending: CancellationToken,
    reporter: JoinHandle<Reporter<StatusBoard>>,
    _presence: Presence,
}

enum Post {
    Works(Worker, Box<Told>),
    /// Something has to come first. The progress is what a worker would begin with.
    Waits(watch::Sender<Progress>),
}

impl Shift {
    /// Starts a worker with the memory that the resource, and what was done before, are.
    pub fn work(
        resource: &Arc<WasmProxy>,
        told: Box<Told>,
        before: Option<&Left>,
        board: StatusBoard,
        roster: &Roster,
    ) -> Self {
        let WorkerConfig { generation, broker, .. } = &told.config;
        info!(generation, broker = %broker.url, client = broker.client_id, topics = %told.config.prefix, "worker starts");
        let worker = Worker::start(told.config.clone(), remembered(resource, before));
        let (progress, presence) = (worker.progress(), roster.enter(name(resource), worker.vitals()));
        Self::begin(resource, Post::Works(worker, told), progress, before, board, presence)
    }

    /// Reports on what there is, and does nothing.
    pub fn wait(
        resource: &Arc<WasmProxy>,
        config: Option<&WorkerConfig>,
        before: Option<&Left>,
        board: StatusBoard,
        roster: &Roster,
    ) -> Self {
        let (sender, progress) = watch::channel(waiting(resource, config, remembered(resource, before)));
        let presence = roster.enter(name(resource), Vitals::waiting(progress.clone()));
        Self::begin(resource, Post::Waits(sender), progress, before, board, presence)
    }

    fn begin(
        resource: &Arc<WasmProxy>,
        post: Post,
        progress: watch::Receiver<Progress>,
        before: Option<&Left>,
        board: StatusBoard,
        presence: Presence,
    ) -> Self {
        let uid = resource.metadata.uid.clone();
        board.be_of(uid.clone());
        let known = before.map_or_else(|| resource.clone(), |left| later(resource.clone(), left.known.clone()));
        let (look, ending) = (Arc::new(Notify::new()), CancellationToken::new());
        let reporter = Reporter::new(board, progress, known);
        let reporter = {
            let (look, ending) = (look.clone(), ending.clone());
            tokio::spawn(async move { reporter.run(&look, &ending).await })
        };
        Self { uid, post, look, ending, reporter, _presence: presence }
    }

    /// What the worker was told; nothing where it waits.
    pub fn told(&self) -> Option<&Told> {
        match &self.post {
            Post::Works(_, told) => Some(told),
            Post::Waits(_) => None,
        }
    }

    /// Tells a worker that works what it is to do now.
    pub fn tell(&mut self, now: Box<Told>) {
        let Post::Works(worker, told) = &mut self.post else { return };
        if now.config != told.config {
            info!(generation = now.config.generation, "{}", told.news(&now));
            worker.reconfigure(now.config.clone());
        }
        *told = now;
    }

    /// Says what is waited for now.
    pub fn keep_waiting(&self, resource: &WasmProxy, config: Option<&WorkerConfig>) {
        if let Post::Waits(progress) = &self.post {
            progress.send_if_modified(|progress| {
                let now = waiting(resource, config, progress.clone());
                std::mem::replace(progress, now.clone()) != now
            });
        }
    }

    /// Lets the reporter compare with what its board shows.
    pub fn look(&self) {
        self.look.notify_one();
    }

    /// Ends when the worker has, which it should not by itself. Cancel-safe.
    pub async fn lost(&self) {
        match &self.post {
            Post::Works(worker, _) => {
                let _ = worker.progress().wait_for(|_| false).await;
            }
            Post::Waits(_) => std::future::pending().await,
        }
    }

    /// Ends it, for whoever goes on in this process. What is left to say is said by the next reporter.
    pub async fn leave(self, session: SessionEnd) -> Option<Left> {
        Some(self.stop(session).await?.leave())
    }

    /// Ends it, and says the last word.
    pub async fn conclude(self, session: SessionEnd, ending: Ending) -> Option<Left> {
        let mut reporter = self.stop(session).await?;
        if timeout(LAST_WORD, reporter.conclude(ending)).await.is_err() {
            warn!("the last state of the worker could not be written: the API server does not answer");
        }
        Some(reporter.leave())
    }

    /// Ends it without a word: there is nobody to report to.
    pub async fn abandon(self) {
        self.reporter.abort();
        self.stop(SessionEnd::Discard).await;
    }

    async fn stop(self, session: SessionEnd) -> Option<Reporter<StatusBoard>> {
        self.ending.cancel();
        let reporter = self.reporter.await.ok();
        if let Post::Works(worker, _) = self.post {
            match timeout(STOP_WITHIN, worker.stop(session)).await {
                Ok(()) => info!(?session, "worker has stopped"),
                Err(_) => warn!(?session, "worker has not stopped in time"),
            }
        }
        reporter
    }
}

/// What metrics call the worker of `resource`.
fn name(resource: &WasmProxy) -> Name {
    Name { namespace: resource.namespace().unwrap_or_default(), name: resource.name_any() }
}

/// What a worker that waits would begin with.
fn waiting(resource: &WasmProxy, config: Option<&WorkerConfig>, mut progress: Progress) -> Progress {
    progress.generation = resource.metadata.generation.unwrap_or_default();
    if let Some(config) = config {
        progress.declare(config);
    }
    progress
}

/// What a worker of `resource` remembers. The status says it, unless what was done before could not be written.
fn remembered(resource: &WasmProxy, before: Option<&Left>) -> Progress {
    let Some(unsaid) = before.and_then(|left| left.unsaid.clone()) else {
        let latest = before.map(|left| later(Arc::new(resource.clone()), left.known.clone()));
        return memory(latest.as_deref().unwrap_or(resource));
    };
    let mut resource = resource.clone();
    resource.status = Some(unsaid);
    memory(&resource)
}
