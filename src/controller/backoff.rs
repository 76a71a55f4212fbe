//! How long each resource waits before it is tried again. kube has one delay for all.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::backoff::Backoff;

/// From one second, so that who creates a forgotten Secret sees it taken up, to a minute.
const DELAYS: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));

/// Exponential backoff with jitter for each UID.
#[derive(Debug, Default)]
pub(super) struct Backoffs(Mutex<HashMap<String, Backoff>>);

impl Backoffs {
    /// Counts a failure, and says how long to wait.
    pub fn fail(&self, uid: &str) -> Duration {
        self.failing().entry(uid.to_owned()).or_insert(DELAYS).fail(fastrand::f64())
    }

    /// Forgets all failures.
    pub fn reset(&self, uid: &str) {
        self.failing().remove(uid);
    }

    /// Forgets all but these.
    pub fn retain(&self, uids: &HashSet<String>) {
        self.failing().retain(|uid, _| uids.contains(uid));
    }

    fn failing(&self) -> MutexGuard<'_, HashMap<String, Backoff>> {
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
        assert!(delays[0] <= Duration::from_secs(1), "{delays:?}");
        assert!(delays[19] >= Duration::from_secs(30) && delays[19] <= Duration::from_secs(60), "{delays:?}");
        backoffs.reset("a");
        assert!(backoffs.fail("a") <= Duration::from_secs(1));
    }

    #[test]
    fn one_resource_does_not_wait_for_another() {
        let backoffs = Backoffs::default();
        for _ in 0..20 {
            backoffs.fail("a");
        }
        assert!(backoffs.fail("b") <= Duration::from_secs(1));
        backoffs.retain(&HashSet::from(["b".to_owned()]));
        assert!(backoffs.fail("a") <= Duration::from_secs(1));
    }
}
