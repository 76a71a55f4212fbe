//! Whose Pod is replaced when, where nobody has asked for it: after an upgrade of the controller every worker needs another
//! Pod, and only so many may be without one at a time. Pure.
//!
//! A worker holds its slot until its new Pod works. So an image that does not work stops at so many workers.

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroUsize,
    time::Duration,
};

use kube::runtime::reflector::ObjectRef;
use tokio::time::Instant;

use crate::controller::watch::Watched;

/// How long all have to ask before the first gets a slot: a controller that starts hears of one after the other, and those
/// that are idle are to be first.
const GATHERING: Duration = Duration::from_secs(3);

/// Whether it is a worker's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is: the worker has a slot until it [leaves](Rollout::leave).
    Now,
    /// It is the first to ask. Those who come [next](Rollout::next) are to be woken then.
    Gathering(Instant),
    /// Others come first.
    Later,
}

/// Who has a slot, and who waits for one.
#[derive(Debug)]
pub(super) struct Rollout {
    slots: usize,
    rolling: HashSet<String>,
    waiting: HashMap<String, Waiting>,
    /// When the first slot is given, since the first has asked.
    opens: Option<Instant>,
    asked: u64,
}

#[derive(Debug, Clone)]
struct Waiting {
    resource: ObjectRef<Watched>,
    /// Those that are idle first, then those that have asked first.
    rank: (bool, u64),
}

impl Rollout {
    /// So many at a time.
    pub fn new(slots: NonZeroUsize) -> Self {
        Self { slots: slots.get(), rolling: HashSet::new(), waiting: HashMap::new(), opens: None, asked: 0 }
    }

    /// Whether it is the turn of the worker of this UID. Whoever asks again keeps its place, but for what it says of
    /// being busy.
    pub fn ask(&mut self, uid: &str, resource: ObjectRef<Watched>, is_busy: bool, now: Instant) -> Turn {
        if self.rolling.contains(uid) {
            return Turn::Now;
        }
        self.asked += 1;
        let asked = self.waiting.get(uid).map_or(self.asked, |waiting| waiting.rank.1);
        self.waiting.insert(uid.to_owned(), Waiting { resource, rank: (is_busy, asked) });
        let Some(opens) = self.opens else {
            self.opens = Some(now + GATHERING);
            return Turn::Gathering(now + GATHERING);
        };
        if now < opens || !self.first(self.free()).iter().any(|(first, _)| *first == uid) {
            return Turn::Later;
        }
        self.occupy(uid);
        Turn::Now
    }

    /// Gives the worker a slot, even where none is free: it is being rolled already.
    pub fn occupy(&mut self, uid: &str) {
        self.waiting.remove(uid);
        self.rolling.insert(uid.to_owned());
    }

    /// The worker has its new Pod, or needs none. Says whether it held a slot, or a place.
    pub fn leave(&mut self, uid: &str) -> bool {
        let held = self.rolling.remove(uid);
        let waited = self.waiting.remove(uid).is_some();
        self.close();
        held || waited
    }

    /// The worker does not wait any more, but keeps its slot if it has one. Says whether it has waited.
    pub fn give_way(&mut self, uid: &str) -> bool {
        let waited = self.waiting.remove(uid).is_some();
        self.close();
        waited
    }

    /// All others leave. Says whether one of them held a slot, or a place.
    pub fn retain(&mut self, uids: &HashSet<String>) -> bool {
        let before = self.rolling.len() + self.waiting.len();
        self.rolling.retain(|uid| uids.contains(uid));
        self.waiting.retain(|uid, _| uids.contains(uid));
        self.close();
        self.rolling.len() + self.waiting.len() < before
    }

    /// Those who get a slot if they ask now.
    pub fn next(&self, now: Instant) -> Vec<ObjectRef<Watched>> {
        if self.opens.is_none_or(|opens| now < opens) {
            return Vec::new();
        }
        self.first(self.free()).into_iter().map(|(_, waiting)| waiting.resource.clone()).collect()
    }

    fn free(&self) -> usize {
        self.slots.saturating_sub(self.rolling.len())
    }

    fn first(&self, count: usize) -> Vec<(&str, &Waiting)> {
        if count == 0 {
            return Vec::new();
        }
        let mut waiting: Vec<_> = self.waiting.iter().map(|(uid, waiting)| (uid.as_str(), waiting)).collect();
        waiting.sort_by_key(|(_, waiting)| waiting.rank);
        waiting.truncate(count);
        waiting
    }

    /// After the last one the next rollout begins anew.
    fn close(&mut self) {
        if self.rolling.is_empty() && self.waiting.is_empty() {
            self.opens = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Clock(Instant);

    impl Clock {
        fn later(&self) -> Instant {
            self.0 + GATHERING
        }
    }

    fn start(slots: usize) -> (Rollout, Clock) {
        (Rollout::new(NonZeroUsize::new(slots).unwrap()), Clock(Instant::now()))
    }

    fn ask(rollout: &mut Rollout, uid: &str, is_busy: bool, now: Instant) -> Turn {
        rollout.ask(uid, ObjectRef::new(uid).within("edge"), is_busy, now)
    }

    fn next(rollout: &Rollout, now: Instant) -> Vec<String> {
        rollout.next(now).into_iter().map(|resource| resource.name).collect()
    }

    #[test]
    fn nobody_gets_a_slot_before_all_have_asked_and_then_those_that_are_idle_do() {
        let (mut rollout, clock) = start(2);
        assert_eq!(ask(&mut rollout, "a", true, clock.0), Turn::Gathering(clock.later()));
        for (uid, is_busy) in [("b", true), ("c", false), ("d", false), ("e", false)] {
            assert_eq!(ask(&mut rollout, uid, is_busy, clock.0), Turn::Later);
        }
        assert_eq!(next(&rollout, clock.0), [] as [&str; 0]);
        assert_eq!(next(&rollout, clock.later()), ["c", "d"]);
        assert_eq!(ask(&mut rollout, "a", true, clock.later()), Turn::Later);
        assert_eq!(ask(&mut rollout, "c", false, clock.later()), Turn::Now);
        assert_eq!(ask(&mut rollout, "d", false, clock.later()), Turn::Now);
        assert_eq!(ask(&mut rollout, "e", false, clock.later()), Turn::Later);
        assert_eq!(next(&rollout, clock.later()), [] as [&str; 0]);
    }

    #[test]
    fn a_slot_is_free_again_when_its_worker_has_left_and_the_busy_ones_come_last() {
        let (mut rollout, clock) = start(1);
        for (uid, is_busy) in [("a", false), ("b", true), ("c", false)] {
            ask(&mut rollout, uid, is_busy, clock.0);
        }
        for uid in ["a", "c", "b"] {
            assert_eq!(next(&rollout, clock.later()), [uid]);
            assert_eq!(ask(&mut rollout, uid, uid == "b", clock.later()), Turn::Now);
            assert_eq!(ask(&mut rollout, uid, true, clock.later()), Turn::Now, "it has its slot");
            assert!(rollout.leave(uid));
        }
        assert!(!rollout.leave("a"));
    }

    #[test]
    fn who_has_become_busy_lets_others_go_first() {
        let (mut rollout, clock) = start(1);
        ask(&mut rollout, "a", false, clock.0);
        ask(&mut rollout, "b", false, clock.0);
        assert_eq!(ask(&mut rollout, "a", true, clock.later()), Turn::Later);
        assert_eq!(next(&rollout, clock.later()), ["b"]);
    }

    #[test]
    fn what_is_being_rolled_already_takes_its_slot() {
        let (mut rollout, clock) = start(2);
        for uid in ["x", "y", "z"] {
            rollout.occupy(uid);
        }
        assert_eq!(ask(&mut rollout, "a", false, clock.0), Turn::Gathering(clock.later()));
        assert_eq!(ask(&mut rollout, "a", false, clock.later()), Turn::Later);
        assert!(rollout.leave("x"));
        assert_eq!(next(&rollout, clock.later()), [] as [&str; 0]);
        assert!(rollout.leave("y"));
        assert_eq!(next(&rollout, clock.later()), ["a"]);
    }

    #[test]
    fn who_is_gone_leaves() {
        let (mut rollout, clock) = start(1);
        ask(&mut rollout, "a", false, clock.0);
        ask(&mut rollout, "b", false, clock.0);
        assert_eq!(ask(&mut rollout, "a", false, clock.later()), Turn::Now);
        assert!(rollout.retain(&HashSet::from(["b".to_owned()])));
        assert!(!rollout.retain(&HashSet::from(["b".to_owned()])));
        assert_eq!(next(&rollout, clock.later()), ["b"]);
    }

    #[test]
    fn who_gives_way_lets_the_next_one_go_and_keeps_a_slot() {
        let (mut rollout, clock) = start(1);
        for uid in ["a", "b", "c"] {
            ask(&mut rollout, uid, false, clock.0);
        }
        assert!(rollout.give_way("a") && !rollout.give_way("a"));
        assert_eq!(next(&rollout, clock.later()), ["b"]);
        assert_eq!(ask(&mut rollout, "b", false, clock.later()), Turn::Now);
        assert!(!rollout.give_way("b"));
        assert_eq!(ask(&mut rollout, "c", false, clock.later()), Turn::Later, "b has its slot");
    }

    #[test]
    fn the_next_rollout_begins_anew() {
        let (mut rollout, clock) = start(1);
        ask(&mut rollout, "a", false, clock.0);
        assert_eq!(ask(&mut rollout, "a", false, clock.later()), Turn::Now);
        rollout.leave("a");
        assert_eq!(ask(&mut rollout, "a", false, clock.later()), Turn::Gathering(clock.later() + GATHERING));
    }
}
