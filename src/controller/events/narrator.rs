//! When something is told of a resource.
//!
//! Nobody waits for the narrator, who keeps of each resource what was told and what is known by now, and nothing between:
//! what comes and goes while the budget is spent, or the API server away, is never told.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource as _, ResourceExt as _};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};
use tracing::{debug, warn};

use super::{
    budget::Budget,
    story::{Event, Story, events},
};
use crate::{api::WasmProxy, resource::api_server::ApiError};

/// Between attempts to tell something; then it is forgotten.
const RETRIES: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_secs(1))
    .with_max_delay(Duration::from_secs(60))
    .with_max_times(8)
    .with_jitter();

/// Where it is told.
pub(super) trait Board: Sync {
    /// Tells of one event of one resource.
    fn post(&self, event: &Event, object: &ObjectReference) -> impl Future<Output = Result<(), ApiError>> + Send;
}

/// Tells what becomes of resources.
#[derive(Default)]
pub(crate) struct Narrator {
    state: Mutex<State>,
    /// There is something to tell.
    news: Notify,
}

#[derive(Default)]
struct State {
    chapters: HashMap<String, Chapter>,
    /// By UID, those of which there is something to tell, and when that may be; some may be gone by then.
    due: BTreeSet<(Instant, String)>,
}

/// What there is about one resource.
struct Chapter {
    told: Story,
    /// What is known by now, and who it is about.
    known: Option<(Story, ObjectReference)>,
    budget: Budget,
}

impl Narrator {
    /// A resource is seen; where that is for the first time, all that its status says was told before.
    pub fn meet(&self, resource: &WasmProxy) {
        let new = || Chapter { told: Story::of(resource), known: None, budget: Budget::new(Instant::now()) };
        self.state().chapters.entry(resource.uid().unwrap_or_default()).or_insert_with(new);
    }

    /// What is known of a resource by now.
    pub fn tell(&self, resource: &WasmProxy) {
        let (uid, story, now) = (resource.uid().unwrap_or_default(), Story::of(resource), Instant::now());
        let State { chapters, due } = &mut *self.state();
        let Some(chapter) = chapters.get_mut(&uid) else { return };
        if let Some((known, _)) = &mut chapter.known {
            *known = story;
        } else if events(&chapter.told, &story).is_empty() {
            chapter.told = std::mem::take(&mut chapter.told).then(story);
        } else {
            chapter.known = Some((story, resource.object_ref(&())));
            due.insert((chapter.budget.ready_at(now), uid));
            self.news.notify_one();
        }
    }

    /// A resource is gone.
    pub fn forget(&self, uid: &str) {
        self.state().chapters.remove(uid);
    }

    /// All but these are gone.
    pub fn retain(&self, uids: &HashSet<String>) {
        self.state().chapters.retain(|uid, _| uids.contains(uid));
    }

    /// Tells, for ever. What the board does not take now is tried a few times more, and holds up what else there is to tell.
    pub(super) async fn run(&self, board: &impl Board) {
        let mut complaint = None;
        loop {
            match self.next() {
                Next::Tell(events, object) => {
                    for event in events {
                        tell(board, &event, &object, &mut complaint).await;
                    }
                }
                Next::At(due) => tokio::select! {
                    () = sleep_until(due) => {}
                    () = self.news.notified() => {}
                },
                Next::Nothing => self.news.notified().await,
            }
        }
    }

    fn next(&self) -> Next {
        let (now, mut state) = (Instant::now(), self.state());
        match state.due.first() {
            None => return Next::Nothing,
            Some((due, _)) if *due > now => return Next::At(*due),
            Some(_) => {}
        }
        let Some((_, uid)) = state.due.pop_first() else { return Next::Nothing };
        let known = state.chapters.get_mut(&uid).and_then(|chapter| Some((chapter.known.take()?, chapter)));
        let Some(((story, object), chapter)) = known else { return Next::Tell(Vec::new(), ObjectReference::default()) };
        let events = events(&chapter.told, &story);
        if !events.is_empty() {
            chapter.budget.spend(now);
        }
        chapter.told = std::mem::take(&mut chapter.told).then(story);
        Next::Tell(events, object)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What to do next.
enum Next {
    Tell(Vec<Event>, ObjectReference),
    At(Instant),
    Nothing,
}

/// Tells of one event. `complaint` is why the last one could not be told: said once in the log.
async fn tell(board: &impl Board, event: &Event, object: &ObjectReference, complaint: &mut Option<String>) {
    let mut retries = RETRIES.build();
    while let Err(error) = board.post(event, object).await {
        let said = Some(error.to_string());
        if *complaint == said {
            debug!(%error, reason = event.reason, "the event could not be recorded");
        } else {
            warn!(%error, reason = event.reason, "events cannot be recorded; everything else goes on");
            *complaint = said;
        }
        let Some(wait) = retries.next().filter(|_| error.is_temporary()) else { return };
        sleep(error.retry_after().map_or(wait, |after| after.max(wait))).await;
    }
    *complaint = None;
}
