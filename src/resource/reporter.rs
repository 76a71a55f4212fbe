//! Writes what a worker reports into its resource's status, as seldom as may be.
//!
//! While chunks move there is a write every two seconds; a change of phase or of a condition is written at once; at rest
//! there is none. What the API server does not take is tried again, with what is true by then.
//!
//! What somebody else has made of the worker's part is put right at once, and then ever more seldom, so that two who do not
//! agree do not busy the API server. An API server that keeps something else than it was given is left alone.

use std::{sync::Arc, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    api_server::{ApiError, name_of, now},
    findings::{NO_WORKER, without_worker},
    obstacles::Obstacles,
    report::{report, timeless, worker_part},
    status::later,
};
use crate::{
    api::{WasmProxy, WasmProxyStatus, conditions::ConditionStatus},
    worker::Progress,
};

/// The time between two writes of mere progress.
const INTERVAL: Duration = Duration::from_secs(2);
/// The time between any two writes, so that what happens in one moment (an artifact that is resolved and then streamed, a
/// connection made) is one write.
const MOMENT: Duration = Duration::from_millis(200);
/// The time between two looks at a progress that moves: thousands of chunks a second are not worth a look each.
const GLANCE: Duration = Duration::from_millis(50);
/// Between attempts of a write that fails.
const RETRIES: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(500))
    .with_max_delay(Duration::from_secs(30))
    .without_max_times()
    .with_jitter();

/// What stands for so long is not disputed any more.
const SETTLED: Duration = Duration::from_secs(120);

/// Where the reporter reads and writes.
pub trait Board: Send + Sync + 'static {
    /// The resource as the watch has it; none once it is gone.
    fn watched(&self) -> Option<Arc<WasmProxy>>;

    /// What is known outside of the worker.
    fn obstacles(&self) -> Obstacles {
        Obstacles::default()
    }

    /// Makes `part` the worker's part of the status.
    fn write(&self, part: &WasmProxyStatus) -> impl Future<Output = Result<WasmProxy, ApiError>> + Send;
}

/// How a worker has come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Somebody else goes on where it stopped.
    Replaced,
    /// It was told to stop for good.
    Stopped,
    /// By itself, which it should not.
    Lost,
}

/// Reports on one worker.
pub struct Reporter<B> {
    board: B,
    progress: watch::Receiver<Progress>,
    known: Arc<WasmProxy>,
    said: Option<Said>,
    written: Instant,
    retries: ExponentialBackoff,
    dispute: Dispute,
}

/// What was written last.
struct Said {
    /// As it was given to the API server, without times.
    part: WasmProxyStatus,
    /// As the API server has kept it.
    kept: WasmProxyStatus,
}

/// How often, and when last, somebody else's word had to be taken back.
#[derive(Default)]
struct Dispute {
    last: Option<Instant>,
    count: u32,
}

/// What a reporter knows when it ends.
pub struct Left {
    /// The resource as its last write left it, or as it was watched later.
    pub known: Arc<WasmProxy>,
    /// The worker's part of the status, where it has done what the API server does not know of.
    pub unsaid: Option<WasmProxyStatus>,
}

/// How soon something is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Urgency {
    Now,
    Soon,
    /// It was said, and somebody else has changed it.
    Disputed,
}

impl<B: Board> Reporter<B> {
    /// A reporter of `progress`, on a resource that was last seen as `known`.
    pub fn new(board: B, progress: watch::Receiver<Progress>, known: Arc<WasmProxy>) -> Self {
        let (retries, dispute) = (RETRIES.build(), Dispute::default());
        Self { board, progress, known, said: None, written: Instant::now(), retries, dispute }
    }

    /// Reports until the worker is gone, or `ending` is cancelled because it soon will be. `look` wakes it to compare with
    /// what the watch has seen.
    pub async fn run(mut self, look: &Notify, ending: &CancellationToken) -> Self {
        while self.progress.has_changed().is_ok() && !ending.is_cancelled() {
            let part = self.part();
            let due = match self.urgency(&part) {
                Some(Urgency::Now) => Some(self.written + MOMENT),
                Some(Urgency::Soon) => Some(self.written + INTERVAL),
                Some(Urgency::Disputed) => Some(self.written + self.dispute.wait()),
                None => None,
            };
            if due.is_some_and(|due| due <= Instant::now()) {
                ending.run_until_cancelled(self.write(part)).await;
                continue;
            }
            tokio::select! {
                _ = self.progress.changed() => {
                    ending.run_until_cancelled(sleep(GLANCE)).await;
                }
                () = look.notified() => {}
                () = sleep_until(due.unwrap_or(self.written)), if due.is_some() => {}
                () = ending.cancelled() => {}
            }
        }
        self
    }

    /// Says the last word on a worker that has ended. Tried once: nobody waits for an API server that is away.
    pub async fn conclude(&mut self, ending: Ending) {
        let mut part = self.part();
        if ending != Ending::Replaced {
            part.broker = None;
            part.conditions = self.without_worker(ending);
        }
        if self.is_said(&part) || part == self.known_part() {
            return;
        }
        match self.board.write(&part).await {
            Ok(resource) => self.take(&part, resource),
            Err(error) => {
                warn!(resource = name_of(&self.known), %error, "the last state of the worker could not be written");
            }
        }
    }

    /// Ends it, and says what it leaves.
    pub fn leave(mut self) -> Left {
        let (part, known) = (self.part(), self.known_part());
        let is_known = part.artifacts == known.artifacts && part.transfers == known.transfers;
        Left { unsaid: (!is_known).then_some(part), known: self.known }
    }

    fn part(&mut self) -> WasmProxyStatus {
        if let Some(watched) = self.board.watched() {
            self.known = later(self.known.clone(), watched);
        }
        let before = self.known.status.clone().unwrap_or_default();
        let now = now();
        let mut part = report(&self.progress.borrow_and_update(), &before, &now);
        self.board.obstacles().say_in(&mut part, &before.conditions, &now);
        part
    }

    fn known_part(&self) -> WasmProxyStatus {
        self.known.status.as_ref().map(worker_part).unwrap_or_default()
    }

    /// Whether it was written already, and nobody else has changed what the API server has kept of it.
    fn is_said(&self, part: &WasmProxyStatus) -> bool {
        self.said.as_ref().is_some_and(|said| said.part == timeless(part)) && !self.is_disputed()
    }

    /// Whether somebody else has changed what was written last.
    fn is_disputed(&self) -> bool {
        self.said.as_ref().is_some_and(|said| said.kept != self.known_part())
    }

    fn urgency(&self, part: &WasmProxyStatus) -> Option<Urgency> {
        if self.is_said(part) {
            return None;
        }
        let urgency = urgency(&self.known_part(), part)?;
        Some(if self.is_disputed() { Urgency::Disputed } else { urgency })
    }

    async fn write(&mut self, part: WasmProxyStatus) {
        match self.board.write(&part).await {
            Ok(resource) => {
                if self.is_disputed() {
                    self.dispute.note();
                }
                self.take(&part, resource);
                self.written = Instant::now();
                self.retries = RETRIES.build();
            }
            Err(error) if error.code() == Some(404) => {
                debug!(resource = name_of(&self.known), "the resource is gone, and its worker will be");
                self.said = Some(Said { part: timeless(&part), kept: self.known_part() });
            }
            Err(error) => {
                let wait = self.retries.next().unwrap_or(INTERVAL);
                warn!(resource = name_of(&self.known), %error, ?wait, "the status could not be written");
                sleep(wait).await;
            }
        }
    }

    fn take(&mut self, part: &WasmProxyStatus, resource: WasmProxy) {
        self.known = Arc::new(resource);
        self.said = Some(Said { part: timeless(part), kept: self.known_part() });
    }

    /// Nobody knows any more what the worker knew.
    fn without_worker(&self, ending: Ending) -> Vec<Condition> {
        let why = match ending {
            Ending::Lost => "the worker has ended unexpectedly; it is started again",
            Ending::Stopped | Ending::Replaced => NO_WORKER,
        };
        let (before, generation) = (self.known_part().conditions, self.known.metadata.generation.unwrap_or_default());
        without_worker(why).map(|finding| finding.into_condition(generation, &before, &now())).to_vec()
    }
}

impl Dispute {
    /// Between the last write and the one that takes back what somebody else has written: nothing at first.
    fn wait(&self) -> Duration {
        if self.is_over() { MOMENT } else { INTERVAL.saturating_mul(1 << (self.count - 1).min(4)) }
    }

    fn note(&mut self) {
        self.count = if self.is_over() { 1 } else { self.count + 1 };
        self.last = Some(Instant::now());
    }

    fn is_over(&self) -> bool {
        self.last.is_none_or(|last| last.elapsed() >= SETTLED)
    }
}

/// None where nothing has changed. Phases and conditions do not wait; that nobody knows something yet does, because a worker
/// that starts will mostly know in a moment.
fn urgency(known: &WasmProxyStatus, part: &WasmProxyStatus) -> Option<Urgency> {
    if known == part {
        return None;
    }
    let phase = part.artifacts.iter().any(|artifact| {
        let before = known.artifacts.iter().find(|known| known.reference == artifact.reference);
        before.is_none_or(|before| before.phase != artifact.phase)
    });
    let condition = part.conditions.iter().any(|condition| {
        condition.status != ConditionStatus::Unknown.as_str() && !known.conditions.contains(condition)
    });
    Some(if phase || condition { Urgency::Now } else { Urgency::Soon })
}

#[cfg(test)]
#[path = "reporter_tests.rs"]
mod tests;
