//! Who works in this process.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::counts::Counts;
use crate::worker::progress::{Progress, Totals};

/// The workers of a process, for its metrics: none, one, or hundreds. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Roster(Arc<Mutex<BTreeMap<Name, Present>>>);

/// Whom a worker works for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Name {
    /// The resource's namespace; empty without a resource.
    pub namespace: String,
    /// The resource's name; empty without a resource.
    pub name: String,
}

#[derive(Debug)]
struct Present {
    /// Tells two apart that work for the same, one after the other.
    id: u64,
    vitals: Vitals,
}

/// What there is to be read of a worker. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Vitals {
    pub(super) progress: watch::Receiver<Progress>,
    /// What was done before this process had to do with it.
    before: Totals,
    pub(super) counts: Arc<Counts>,
}

/// A worker is present, for as long as this is kept.
#[derive(Debug)]
#[must_use]
pub struct Presence {
    roster: Roster,
    name: Name,
    id: u64,
}

impl Roster {
    /// A worker is present; it takes the place of another one for the same, which may still be about to end.
    pub fn enter(&self, name: Name, vitals: Vitals) -> Presence {
        let id = fastrand::u64(..);
        self.present().insert(name.clone(), Present { id, vitals });
        Presence { roster: self.clone(), name, id }
    }

    /// Whoever is present now, in the order of their names.
    pub(super) fn all(&self) -> Vec<(Name, Vitals)> {
        self.present().iter().map(|(name, present)| (name.clone(), present.vitals.clone())).collect()
    }

    fn present(&self) -> MutexGuard<'_, BTreeMap<Name, Present>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut present = self.roster.present();
        if present.get(&self.name).is_some_and(|present| present.id == self.id) {
            present.remove(&self.name);
        }
    }
}

impl Vitals {
    /// Those of a worker that starts with this progress.
    pub(in crate::worker) fn new(progress: watch::Receiver<Progress>, counts: Arc<Counts>) -> Self {
        let before = progress.borrow().totals;
        Self { progress, before, counts }
    }

    /// Those of one that has to wait for something before it can do anything.
    pub fn waiting(progress: watch::Receiver<Progress>) -> Self {
        Self::new(progress, Arc::default())
    }

    /// What was done since it started. A resource's status goes on counting; metrics do not, for what it says after a crash may be a
    /// little less than what was counted before, and that would be taken for a counter that began anew.
    pub(super) fn done(&self, now: Totals) -> Totals {
        let before = self.before;
        Totals {
            completed: now.completed.saturating_sub(before.completed),
            failed: now.failed.saturating_sub(before.failed),
            chunks: now.chunks.saturating_sub(before.chunks),
            bytes: now.bytes.saturating_sub(before.bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vitals(generation: i64) -> Vitals {
        Vitals::waiting(watch::channel(Progress { generation, ..Progress::default() }).1)
    }

    fn generations(roster: &Roster) -> Vec<i64> {
        roster.all().iter().map(|(_, vitals)| vitals.progress.borrow().generation).collect()
    }

    #[test]
    fn who_leaves_late_does_not_take_a_successor_along() {
        let roster = Roster::default();
        let first = roster.enter(Name::default(), vitals(1));
        let second = roster.enter(Name::default(), vitals(2));
        assert_eq!(generations(&roster), [2]);
        drop(first);
        assert_eq!(generations(&roster), [2]);
        drop(second);
        assert_eq!(generations(&roster), [0; 0]);
    }

    #[test]
    fn what_was_done_before_is_not_counted() {
        let before = Totals { completed: 40, failed: 1, chunks: 520, bytes: 1000 };
        let vitals = Vitals::waiting(watch::channel(Progress { totals: before, ..Progress::default() }).1);
        let now = Totals { completed: 41, failed: 1, chunks: 533, bytes: 1500 };
        assert_eq!(vitals.done(now), Totals { completed: 1, failed: 0, chunks: 13, bytes: 500 });
    }
}
