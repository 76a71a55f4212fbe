//! A worker in a process of its own, in its own Pod or as somebody's sidecar, which watches its own resource.
//!
//! ```text
//!               watch ──► sight ─┐
//!                                ├─► order ──► shift ──► worker
//!   mounted Secrets ──► secrets ─┘               │         │
//!                                     board ◄── reporter ◄─┘ progress
//! ```
//!
//! - Pure: `order` (what the worker is to be told, or why it has to wait), `farewell` (how it is to end).
//! - Reading and writing: `watch` (the one resource), `mounts` and `secrets` (credentials as files), `board` (its status).
//! - Wiring: `shift` (a worker and its reporter), `health` (for probes), and [`run`].
//!
//! The spec comes by the watch, so a change of it needs no restart. Secrets come as files, which the kubelet replaces when they
//! change; only those that the spec names are opened. While the API server is away the worker goes on, and its progress is
//! written later.
//!
//! # What it may do
//!
//! On the one resource: `get`, `list` and `watch`, and `patch` its status. Nothing else.

mod board;
mod farewell;
mod health;
mod mounts;
mod order;
mod secrets;
mod shift;
mod watch;

use std::{path::PathBuf, sync::Arc, time::Duration};

use kube::{Api, Client};
use tokio::{
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{error, info};

use board::StatusBoard;
use farewell::{Farewell, farewell};
pub use health::Health;
use mounts::{FileSystem, Mounts};
use order::{Duty, Work, duty, order};
use secrets::Secrets;
use shift::Shift;
use watch::{Sight, View};

use crate::{
    api::{Management, WasmProxy},
    mqtt::SessionEnd,
    registry::Cache,
    resource::reporter::{Ending, Left},
    worker::{WorkerConfig, metrics::Roster, session_end},
};

/// How often the mounted Secrets are looked at: a few small files in memory.
const GLANCE: Duration = Duration::from_secs(5);

/// What a worker in a process of its own is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The resource's namespace.
    pub namespace: String,
    /// The resource's name.
    pub name: String,
    /// Its UID: another object of that name is none of this worker's business. Any, where there is none.
    pub uid: Option<String>,
    /// The directory that holds a directory for each Secret.
    pub secrets: PathBuf,
    /// Where modules are kept, if anywhere.
    pub cache: Option<Cache>,
    /// Whether the controller runs this process.
    pub is_managed: bool,
    /// How long a watch lasts before it is asked for anew; in whole seconds.
    pub watch: Duration,
}

/// Something has ended that should go on for ever: a defect of this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the worker has broken down: this is a defect, please report it with the lines before")]
pub struct BrokenDown;

/// Does what the resource says until `stop` is cancelled, and then hands over, within 15 s. A resource that is not there, or
/// suspended, and an API server that is away, are waited for. `health` says how it is meanwhile, and in `roster` is its worker.
///
/// # Errors
/// Where the process should be started anew.
pub async fn run(
    client: Client,
    options: Options,
    health: Arc<Health>,
    roster: Roster,
    stop: CancellationToken,
) -> Result<(), BrokenDown> {
    let Options { namespace, name, uid, secrets, cache, is_managed, watch: lifetime } = options;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        resource = format!("{namespace}/{name}"),
        uid = uid.as_deref().unwrap_or("any"),
        "starting"
    );
    let (sender, view) = tokio::sync::watch::channel(View::default());
    let board = StatusBoard::new(client.clone(), &namespace, &name, view.clone());
    let api = Api::namespaced(client.clone(), &namespace);
    let _watch = AbortOnDropHandle::new(tokio::spawn({
        let (api, name) = (api.clone(), name.clone());
        async move { watch::follow(api, &name, uid, lifetime, sender).await }
    }));
    let mounts = Mounts { root: secrets, namespace, files: FileSystem };
    let mut pod = Pod {
        board,
        mounts,
        cache,
        roster,
        shift: None,
        left: None,
        run_by: is_managed.then_some(Management::Managed),
    };
    pod.run(view, &health, &stop).await?;
    pod.end(&api, &name).await;
    Ok(())
}

/// The process, for as long as it runs.
struct Pod {
    board: StatusBoard,
    mounts: Mounts,
    cache: Option<Cache>,
    roster: Roster,
    shift: Option<Shift>,
    /// What the last shift left.
    left: Option<Left>,
    /// Who runs this process: the controller as it says itself, and somebody else once it was seen to work for such.
    run_by: Option<Management>,
}

impl Pod {
    async fn run(
        &mut self,
        mut view: tokio::sync::watch::Receiver<View>,
        health: &Health,
        stop: &CancellationToken,
    ) -> Result<(), BrokenDown> {
        let mut glances = interval(GLANCE);
        glances.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            health.beat();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                changed = view.changed() => changed.map_err(|_| BrokenDown)?,
                _ = glances.tick() => {}
                () = lost(self.shift.as_ref()) => return Err(self.break_down().await),
            }
            let View { sight, trouble } = view.borrow_and_update().clone();
            self.act(&sight).await;
            health.say(ready(&sight, trouble));
        }
    }

    /// Makes what is done what is to be done.
    async fn act(&mut self, sight: &Sight) {
        match sight {
            Sight::Nothing => {}
            Sight::Gone => self.dismiss("its resource is gone").await,
            Sight::There(resource) => {
                if self.shift.as_ref().is_some_and(|shift| shift.uid != resource.metadata.uid) {
                    self.dismiss("its resource is another one now").await;
                }
                if self.left.as_ref().is_some_and(|left| left.known.metadata.uid != resource.metadata.uid) {
                    self.left = None;
                }
                if self.run_by.is_none() && resource.spec.management() == Management::External {
                    self.run_by = Some(Management::External);
                }
                match duty(resource, self.run_by) {
                    Duty::Work => self.serve(resource).await,
                    Duty::Pause(why) => self.pause(why, SessionEnd::Discard, Ending::Stopped).await,
                    Duty::HandOver => {
                        let why = "somebody else is to run the worker of its resource";
                        self.pause(why, SessionEnd::Keep, Ending::Replaced).await;
                    }
                }
            }
        }
    }

    async fn dismiss(&mut self, why: &str) {
        self.left = None;
        if let Some(shift) = self.shift.take() {
            info!("worker stops, {why}");
            shift.abandon().await;
        }
    }

    async fn pause(&mut self, why: &str, session: SessionEnd, ending: Ending) {
        if let Some(shift) = self.shift.take() {
            info!("worker stops, {why}");
            self.left = shift.conclude(session, ending).await;
        }
    }

    async fn serve(&mut self, resource: &Arc<WasmProxy>) {
        let (mounts, spec) = (self.mounts.clone(), resource.spec.clone());
        let Ok(secrets) = spawn_blocking(move || Secrets::read(&mounts, &spec)).await else { return };
        let before = self.shift.as_ref().and_then(Shift::told);
        let order = order(resource, secrets, before);
        self.board.put(order.obstacles);
        match order.work {
            Work::Do(mut told) => {
                if let Some(cache) = &self.cache {
                    told.config.keep_in(cache);
                }
                match &mut self.shift {
                    Some(shift) if shift.told().is_some() => shift.tell(told),
                    _ => {
                        self.clear(SessionEnd::Keep).await;
                        self.shift =
                            Some(Shift::work(resource, told, self.left.as_ref(), self.board.clone(), &self.roster));
                    }
                }
            }
            Work::GoOn => {}
            Work::Wait(config) => self.wait(resource, config.as_deref()).await,
        }
        if let Some(shift) = &self.shift {
            shift.look();
        }
    }

    async fn wait(&mut self, resource: &Arc<WasmProxy>, config: Option<&WorkerConfig>) {
        match &self.shift {
            Some(shift) if shift.told().is_none() => shift.keep_waiting(resource, config),
            shift => {
                let before = shift.as_ref().and_then(Shift::told).map(|told| &told.config);
                let session =
                    before.zip(config).map_or(SessionEnd::Keep, |(before, config)| session_end(before, config));
                self.clear(session).await;
                self.shift = Some(Shift::wait(resource, config, self.left.as_ref(), self.board.clone(), &self.roster));
            }
        }
    }

    /// Ends what is done, for something else to be done.
    async fn clear(&mut self, session: SessionEnd) {
        if let Some(shift) = self.shift.take() {
            self.left = shift.leave(session).await;
        }
    }

    async fn break_down(&mut self) -> BrokenDown {
        error!("worker has ended unexpectedly");
        if let Some(shift) = self.shift.take() {
            shift.conclude(SessionEnd::Keep, Ending::Lost).await;
        }
        BrokenDown
    }

    /// The process is to end; why, the resource says.
    async fn end(self, api: &Api<watch::Watched>, name: &str) {
        let Some(shift) = self.shift else { return };
        match farewell(api, name, shift.uid.as_deref()).await {
            Farewell::Gone => shift.abandon().await,
            Farewell::Stopped(session) => drop(shift.conclude(session, Ending::Stopped).await),
            Farewell::Replaced => drop(shift.conclude(SessionEnd::Keep, Ending::Replaced).await),
        }
    }
}

/// Ends when a worker has that should not.
async fn lost(shift: Option<&Shift>) {
    match shift {
        Some(shift) => shift.lost().await,
        None => std::future::pending().await,
    }
}

/// Whether the resource has been read, and is acted upon.
fn ready(sight: &Sight, trouble: Option<String>) -> Result<(), String> {
    match sight {
        Sight::There(_) => Ok(()),
        Sight::Nothing => Err(trouble.unwrap_or_else(|| "the resource has not been read yet".to_owned())),
        Sight::Gone => Err("the resource is not there, or is another one than it was".to_owned()),
    }
}
