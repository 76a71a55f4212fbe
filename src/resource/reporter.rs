//! Writes what a worker reports into its resource's status, as seldom as may be.
//!
//! While chunks move there is a write every two seconds; a change of phase or of a condition is written at once; at rest
//! there is none. What the API server does not take is tried again, with what is true by then.

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
    findings::without_worker,
    report::{report, worker_part},
    status::later,
    steady::Steady,
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

/// Where the reporter reads and writes.
pub trait Board: Send + Sync + 'static {
    /// The resource as the watch has it; none once it is gone.
    fn watched(&self) -> Option<Arc<WasmProxy>>;

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
    steady: Steady,
    /// When to look again, though nothing changes: something may be over by then.
    again: Option<Instant>,
    known: Arc<WasmProxy>,
    /// What was written last: never written again without need, even where the API server keeps something else.
    said: Option<WasmProxyStatus>,
    written: Instant,
    retries: ExponentialBackoff,
}

/// How soon something is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Urgency {
    Now,
    Soon,
}

impl<B: Board> Reporter<B> {
    /// A reporter of `progress`, on a resource that was last seen as `known`.
    pub fn new(board: B, progress: watch::Receiver<Progress>, known: Arc<WasmProxy>) -> Self {
        let retries = RETRIES.build();
        let (steady, written) = (Steady::default(), Instant::now());
        Self { board, progress, steady, again: None, known, said: None, written, retries }
    }

    /// Reports until the worker is gone, or `ending` is cancelled because it soon will be. `look` wakes it to compare with
    /// what the watch has seen.
    pub async fn run(mut self, look: &Notify, ending: &CancellationToken) -> Self {
        while self.progress.has_changed().is_ok() && !ending.is_cancelled() {
            let part = self.part();
            let due = match self.urgency(&part) {
                Some(Urgency::Now) => Some(self.written + MOMENT),
                Some(Urgency::Soon) => Some(self.written + INTERVAL),
                None => None,
            };
            if due.is_some_and(|due| due <= Instant::now()) {
                ending.run_until_cancelled(self.write(part)).await;
                continue;
            }
            let wake = due.into_iter().chain(self.again).min();
            tokio::select! {
                _ = self.progress.changed() => {
                    ending.run_until_cancelled(sleep(GLANCE)).await;
                }
                () = look.notified() => self.said = None,
                () = sleep_until(wake.unwrap_or(self.written)), if wake.is_some() => {}
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
        }
        if ending == Ending::Lost {
            part.conditions = self.lost();
        }
        if Some(&part) == self.said.as_ref() || part == self.known_part() {
            return;
        }
        if let Err(error) = self.board.write(&part).await {
            warn!(resource = name_of(&self.known), %error, "the last state of the worker could not be written");
        }
    }

    fn part(&mut self) -> WasmProxyStatus {
        if let Some(watched) = self.board.watched() {
            self.known = later(self.known.clone(), watched);
        }
        let before = self.known.status.clone().unwrap_or_default();
        let progress = self.progress.borrow_and_update();
        let (broker, again) = self.steady.say(progress.broker.as_ref(), Instant::now());
        self.again = again;
        if broker == progress.broker {
            return report(&progress, &before, &now());
        }
        report(&Progress { broker, ..progress.clone() }, &before, &now())
    }

    fn known_part(&self) -> WasmProxyStatus {
        self.known.status.as_ref().map(worker_part).unwrap_or_default()
    }

    fn urgency(&self, part: &WasmProxyStatus) -> Option<Urgency> {
        if Some(part) == self.said.as_ref() { None } else { urgency(&self.known_part(), part) }
    }

    async fn write(&mut self, part: WasmProxyStatus) {
        match self.board.write(&part).await {
            Ok(resource) => {
                self.known = Arc::new(resource);
                self.said = Some(part);
                self.written = Instant::now();
                self.retries = RETRIES.build();
            }
            Err(error) if error.code() == Some(404) => {
                debug!(resource = name_of(&self.known), "the resource is gone, and its worker will be");
                self.said = Some(part);
            }
            Err(error) => {
                let wait = self.retries.next().unwrap_or(INTERVAL);
                warn!(resource = name_of(&self.known), %error, ?wait, "the status could not be written");
                sleep(wait).await;
            }
        }
    }

    /// Nobody knows any more what a lost worker knew.
    fn lost(&self) -> Vec<Condition> {
        let before = self.known_part().conditions;
        without_worker("the worker has ended unexpectedly; it is started again")
            .map(|finding| finding.into_condition(self.progress.borrow().generation, &before, &now()))
            .to_vec()
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
