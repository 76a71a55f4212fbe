//! How long each resource waits before it is tried again. kube has one delay for all.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};

/// From one second, so that who creates a forgotten Secret sees it taken up, to a minute.
const DELAYS: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_secs(1))
    .with_max_delay(Duration::from_secs(60))
    .without_max_times()
    .with_jitter();

/// Exponential backoff with jitter for each UID.
#[derive(Debug, Default)]
pub(super) struct Backoffs(Mutex<HashMap<String, ExponentialBackoff>>);

impl Backoffs {
    /// Counts a failure, and says how long to wait.
    pub fn fail(&self, uid: &str) -> Duration {
        let mut failing = self.failing();
        let delays = failing.entry(uid.to_owned()).or_insert_with(|| DELAYS.build());
        delays.next().unwrap_or(Duration::from_secs(60))
    }

    /// Forgets all failures.
    pub fn reset(&self, uid: &str) {
        self.failing().remove(uid);
    }

    /// Forgets all but these.
    pub fn retain(&self, uids: &HashSet<String>) {
        self.failing().retain(|uid, _| uids.contains(uid));
    }

    fn failing(&self) -> MutexGuard<'_, HashMap<String, ExponentialBackoff>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_minute_and_start_again_after_a_success() {
        let backoffs = Backoffs::default();
        let delays: Vec<_> = (0..20).map(|_| backoffs.fail("a")).collect();
        assert!(delays[0] < Duration::from_secs(3), "{delays:?}");
        assert!(delays[19] >= Duration::from_secs(60) && delays[19] <= Duration::from_secs(120), "{delays:?}");
        backoffs.reset("a");
        assert!(backoffs.fail("a") < Duration::from_secs(3));
    }

    #[test]
    fn one_resource_does_not_wait_for_another() {
        let backoffs = Backoffs::default();
        for _ in 0..20 {
            backoffs.fail("a");
        }
        assert!(backoffs.fail("b") < Duration::from_secs(3));
        backoffs.retain(&HashSet::from(["b".to_owned()]));
        assert!(backoffs.fail("a") < Duration::from_secs(3));
    }
}
