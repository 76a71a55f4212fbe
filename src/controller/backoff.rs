//! How long each resource waits before it is tried again. kube has one delay for all.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hasher as _},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::time::Instant;

use crate::{api::RECONCILE_ANNOTATION, backoff::Backoff};

/// Doubled from one second to a minute.
const DELAYS: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));

/// Who mends something mostly does so soon after it broke, and nobody tells us: Secrets are not watched. So nobody is kept
/// waiting for longer than this part of the time that it has been broken,
const SHARE: u32 = 8;

/// or this, where that is longer: enough for five thousand resources that break at once.
const SHORTEST_LIMIT: Duration = Duration::from_secs(8);

/// Exponential backoff with jitter for each UID.
///
/// A resource that its owner has changed, or wants to be reconciled, starts again from the shortest delay.
#[derive(Debug, Default)]
pub(super) struct Backoffs(Mutex<HashMap<String, Failing>>);

#[derive(Debug)]
struct Failing {
    /// What the resource's owner has last said of it.
    version: u64,
    since: Instant,
    delays: Backoff,
    /// A hash of what was last complained of.
    complaint: Option<u64>,
}

impl Backoffs {
    /// Counts a failure of the resource with this metadata, and says how long to wait.
    pub fn fail(&self, metadata: &ObjectMeta) -> Duration {
        self.with(metadata, |failing| {
            let jitter = fastrand::f64();
            let limit = (failing.since.elapsed() / SHARE).max(SHORTEST_LIMIT).mul_f64(1.0 - jitter / 2.0);
            failing.delays.fail(jitter).min(limit)
        })
    }

    /// Whether this was not what was complained of last, while the resource with this metadata fails.
    pub fn is_news(&self, metadata: &ObjectMeta, complaint: &str) -> bool {
        let complaint = Some(hash(&complaint));
        self.with(metadata, |failing| std::mem::replace(&mut failing.complaint, complaint) != complaint)
    }

    /// Forgets all failures.
    pub fn reset(&self, uid: &str) {
        self.failing().remove(uid);
    }

    /// Forgets all but these.
    pub fn retain(&self, uids: &HashSet<String>) {
        self.failing().retain(|uid, _| uids.contains(uid));
    }

    fn with<T>(&self, metadata: &ObjectMeta, act: impl FnOnce(&mut Failing) -> T) -> T {
        let requested = metadata.annotations.as_ref().and_then(|annotations| annotations.get(RECONCILE_ANNOTATION));
        let version = hash(&(metadata.generation, requested));
        let new = || Failing { version, since: Instant::now(), delays: DELAYS, complaint: None };
        let mut failing = self.failing();
        let failing = failing.entry(metadata.uid.clone().unwrap_or_default()).or_insert_with(new);
        if failing.version != version {
            *failing = new();
        }
        act(failing)
    }

    fn failing(&self) -> MutexGuard<'_, HashMap<String, Failing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(value: &impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn of(uid: &str) -> ObjectMeta {
        ObjectMeta { uid: Some(uid.to_owned()), generation: Some(1), ..ObjectMeta::default() }
    }

    /// The delays until it has failed for so long.
    async fn delays(backoffs: &Backoffs, metadata: &ObjectMeta, span: Duration) -> Vec<Duration> {
        let start = Instant::now();
        let mut delays = Vec::new();
        while start.elapsed() < span {
            let delay = backoffs.fail(metadata);
            tokio::time::sleep(delay).await;
            delays.push(delay);
        }
        delays
    }

    #[tokio::test(start_paused = true)]
    async fn delays_grow_to_a_minute_and_start_again_after_a_success() {
        let backoffs = Backoffs::default();
        let delays = delays(&backoffs, &of("a"), Duration::from_secs(3600)).await;
        let last = *delays.last().unwrap();
        assert!(delays[0] <= SECOND && delays[0] >= SECOND / 2, "{delays:?}");
        assert!(last >= 30 * SECOND && last <= 60 * SECOND, "{delays:?}");
        backoffs.reset("a");
        assert!(backoffs.fail(&of("a")) <= SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn who_mends_something_waits_for_an_eighth_of_the_time_that_it_was_broken() {
        let (backoffs, start) = (Backoffs::default(), Instant::now());
        while start.elapsed() < Duration::from_secs(3600) {
            let broken = start.elapsed();
            let delay = backoffs.fail(&of("a"));
            assert!(delay <= SHORTEST_LIMIT.max(broken / SHARE), "{delay:?} after {broken:?}");
            tokio::time::sleep(delay).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_resource_does_not_wait_for_another() {
        let backoffs = Backoffs::default();
        delays(&backoffs, &of("a"), Duration::from_secs(600)).await;
        assert!(backoffs.fail(&of("b")) <= SECOND);
        backoffs.retain(&HashSet::from(["b".to_owned()]));
        assert!(backoffs.fail(&of("a")) <= SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_and_a_request_start_again_from_the_shortest_delay() {
        let backoffs = Backoffs::default();
        let changed = ObjectMeta { generation: Some(2), ..of("a") };
        let requested = BTreeMap::from([(RECONCILE_ANNOTATION.to_owned(), "now".to_owned())]);
        let requested = ObjectMeta { annotations: Some(requested), ..changed.clone() };
        for metadata in [of("a"), changed, requested] {
            assert!(delays(&backoffs, &metadata, Duration::from_secs(600)).await[0] <= SECOND);
        }
    }

    #[tokio::test]
    async fn what_is_complained_of_again_and_again_is_news_once() {
        let backoffs = Backoffs::default();
        let news = ["one", "one", "two", "one"].map(|complaint| backoffs.is_news(&of("a"), complaint));
        assert_eq!(news, [true, false, true, true]);
        backoffs.reset("a");
        assert!(backoffs.is_news(&of("a"), "one"));
    }
}
