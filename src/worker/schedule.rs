//! Which module goes next: pure bookkeeping, with the time as an argument.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{progress::Source, seats::Seats};
use crate::{protocol::Format, registry::Reference};

/// Passes under way at once.
const MAX_ACTIVE: usize = 4;

/// The longest rest between two passes of the same.
const MAX_REST: Duration = Duration::from_secs(20);

/// A module that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    /// The reference as it was written.
    pub(super) app_name: String,
    pub(super) reference: Reference,
    pub(super) formats: Vec<Format>,
    pub(super) source: Source,
    /// A device wants it too, whoever declared it.
    pub(super) asked: bool,
}

/// What becomes of a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// A pass under way, or one that waits, serves it.
    Joined,
    /// It waits for its turn.
    Queued,
    /// Too much is waiting.
    Busy,
}

/// The number of a pass.
pub(super) type PassId = u64;

/// A pass under way.
#[derive(Debug, Clone)]
pub(super) struct Active {
    /// Which pass this is: no two are the same.
    pub(super) id: PassId,
    pub(super) wish: Wish,
    pub(super) seats: Seats,
    pub(super) stop: CancellationToken,
}

/// The passes that wait, are under way, or rest.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    waiting: VecDeque<Wish>,
    active: Vec<Active>,
    begun: PassId,
    /// Until when a module that was sent is not sent again because somebody asks.
    resting: HashMap<(String, Format), Instant>,
}

impl Wish {
    /// Whether a pass for `self` serves `other` too.
    fn serves(&self, other: &Self) -> bool {
        self.app_name == other.app_name && other.formats.iter().all(|format| self.formats.contains(format))
    }

    /// Whether both would say the same on the same topic.
    fn overlaps(&self, other: &Self) -> bool {
        self.app_name == other.app_name && self.formats.iter().any(|format| other.formats.contains(format))
    }
}

impl Schedule {
    /// Takes a wish in; at most `capacity` wishes of devices wait.
    pub(super) fn ask(&mut self, wish: Wish, capacity: usize) -> Admission {
        let serves = |active: &Active| active.wish.serves(&wish) && !active.stop.is_cancelled();
        if self.active.iter().any(|active| serves(active) && (!wish.asked || active.seats.join())) {
            return Admission::Joined;
        }
        if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.serves(&wish)) {
            waiting.asked |= wish.asked;
            return Admission::Joined;
        }
        let requested = self.waiting.iter().filter(|waiting| waiting.source == Source::Requested).count();
        if wish.source == Source::Requested && requested >= capacity {
            return Admission::Busy;
        }
        self.waiting.push_back(wish);
        Admission::Queued
    }

    /// Begins the next pass, if there is one whose turn it is.
    pub(super) fn begin(&mut self, now: Instant, stop: &CancellationToken) -> Option<Active> {
        self.resting.retain(|_, until| *until > now);
        if self.active.len() >= MAX_ACTIVE {
            return None;
        }
        let next = self.waiting.iter().position(|wish| {
            self.rests_until(wish).is_none() && !self.active.iter().any(|active| active.wish.overlaps(wish))
        })?;
        let wish = self.waiting.remove(next)?;
        self.begun += 1;
        let active = Active { id: self.begun, wish, seats: Seats::default(), stop: stop.child_token() };
        if active.wish.asked {
            active.seats.join();
        }
        self.active.push(active.clone());
        Some(active)
    }

    /// A pass has ended; what it said is not said again for a `rest`, because a device asks.
    pub(super) fn end(&mut self, pass: &Active, rest: Duration, now: Instant) {
        self.active.retain(|active| active.id != pass.id);
        let Wish { app_name, formats, .. } = &pass.wish;
        let until = now + rest.min(MAX_REST);
        self.resting.extend(formats.iter().map(|&format| ((app_name.clone(), format), until)));
    }

    /// What devices have asked for and still wait for.
    pub(super) fn take_asked(&mut self) -> Vec<Wish> {
        self.waiting.drain(..).filter(|wish| wish.asked).collect()
    }

    /// When a wish that waits has rested enough.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.waiting.iter().filter_map(|wish| self.rests_until(wish)).min()
    }

    /// Calls off what was declared and is no more; what devices asked for goes on.
    pub(super) fn withdraw(&mut self, declared: impl Fn(&Wish) -> bool) {
        let gone = |wish: &Wish| wish.source == Source::Declared && !declared(wish);
        self.waiting.retain(|wish| wish.asked || !gone(wish));
        for wish in self.waiting.iter_mut().filter(|wish| gone(wish)) {
            wish.source = Source::Requested;
        }
        for active in &self.active {
            if gone(&active.wish) && !active.seats.is_taken() {
                active.stop.cancel();
            }
        }
    }

    /// Until when a device's wish has to wait because the same was just sent; a declared artifact never has to.
    fn rests_until(&self, wish: &Wish) -> Option<Instant> {
        if wish.source == Source::Declared {
            return None;
        }
        wish.formats.iter().filter_map(|&format| self.resting.get(&(wish.app_name.clone(), format))).max().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(app_name: &str, source: Source, formats: &[Format]) -> Wish {
        let reference = Reference::parse(app_name, "registry.example").unwrap();
        let asked = source == Source::Requested;
        Wish { app_name: app_name.to_owned(), reference, formats: formats.to_vec(), source, asked }
    }

    fn requested(app_name: &str) -> Wish {
        wish(app_name, Source::Requested, &[Format::Full])
    }

    fn begin(schedule: &mut Schedule) -> Option<Active> {
        schedule.begin(Instant::now(), &CancellationToken::new())
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_wish_twice_is_one_pass() {
        let mut schedule = Schedule::default();
        assert_eq!(schedule.ask(requested("a"), 10), Admission::Queued);
        assert_eq!(schedule.ask(requested("a"), 10), Admission::Joined);
        let active = begin(&mut schedule).unwrap();
        assert_eq!(schedule.ask(requested("a"), 10), Admission::Joined);
        assert!(begin(&mut schedule).is_none());
        active.seats.close();
        assert_eq!(schedule.ask(requested("a"), 10), Admission::Queued);
        assert!(begin(&mut schedule).is_none(), "not beside the first one");
        schedule.end(&active, Duration::ZERO, Instant::now());
        assert!(begin(&mut schedule).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_plain_wish_is_not_served_by_a_full_pass() {
        let mut schedule = Schedule::default();
        schedule.ask(requested("a"), 10);
        begin(&mut schedule).unwrap();
        schedule.ask(wish("a", Source::Requested, &[Format::Plain]), 10);
        assert_eq!(begin(&mut schedule).unwrap().wish.formats, [Format::Plain]);
    }

    #[tokio::test(start_paused = true)]
    async fn four_passes_are_under_way_at_most() {
        let mut schedule = Schedule::default();
        for i in 0..6 {
            schedule.ask(requested(&format!("a{i}")), 10);
        }
        let mut active: Vec<_> = std::iter::from_fn(|| begin(&mut schedule)).collect();
        assert_eq!(active.len(), MAX_ACTIVE);
        schedule.end(&active.remove(2), Duration::ZERO, Instant::now());
        assert_eq!(begin(&mut schedule).unwrap().wish.app_name, "a4");
    }

    #[tokio::test(start_paused = true)]
    async fn devices_find_a_full_queue_busy_and_declared_artifacts_do_not() {
        let mut schedule = Schedule::default();
        schedule.ask(requested("a"), 1);
        assert_eq!(schedule.ask(requested("b"), 1), Admission::Busy);
        assert_eq!(schedule.ask(wish("c", Source::Declared, &[Format::Full]), 1), Admission::Queued);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_just_sent_rests_as_long_as_it_took_and_at_most_twenty_seconds() {
        for (took, rest) in [(3, 3), (60, 20)] {
            let mut schedule = Schedule::default();
            schedule.ask(requested("a"), 10);
            let active = begin(&mut schedule).unwrap();
            active.seats.close();
            schedule.end(&active, Duration::from_secs(took), Instant::now());
            schedule.ask(requested("a"), 10);
            assert_eq!(schedule.ask(requested("a"), 10), Admission::Joined);
            assert!(begin(&mut schedule).is_none());
            assert_eq!(schedule.wake_at(), Some(Instant::now() + Duration::from_secs(rest)));
            tokio::time::advance(Duration::from_secs(rest)).await;
            assert!(begin(&mut schedule).is_some());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_declared_artifact_that_moved_does_not_wait_for_the_rest() {
        let mut schedule = Schedule::default();
        let declared = wish("a", Source::Declared, &[Format::Full]);
        schedule.ask(declared.clone(), 10);
        let active = begin(&mut schedule).unwrap();
        schedule.end(&active, Duration::from_secs(5), Instant::now());
        schedule.ask(declared, 10);
        assert!(begin(&mut schedule).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_declared_no_more_is_called_off_unless_a_device_joined() {
        let mut schedule = Schedule::default();
        for name in ["a", "b", "c"] {
            schedule.ask(wish(name, Source::Declared, &[Format::Full]), 10);
        }
        let (a, b) = (begin(&mut schedule).unwrap(), begin(&mut schedule).unwrap());
        schedule.ask(requested("b"), 10);
        schedule.withdraw(|_| false);
        assert!(a.stop.is_cancelled());
        assert!(!b.stop.is_cancelled());
        assert!(begin(&mut schedule).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_that_joins_a_declared_artifact_in_the_queue_has_a_seat() {
        let mut schedule = Schedule::default();
        schedule.ask(wish("a", Source::Declared, &[Format::Full]), 10);
        assert_eq!(schedule.ask(requested("a"), 10), Admission::Joined);
        assert!(!begin(&mut schedule).unwrap().seats.close_if_empty(), "it is served even where nothing has changed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_waits_on_where_what_it_joined_is_withdrawn() {
        let mut schedule = Schedule::default();
        schedule.ask(wish("a", Source::Declared, &[Format::Full]), 10);
        schedule.ask(requested("a"), 10);
        schedule.withdraw(|_| false);
        assert_eq!(begin(&mut schedule).unwrap().wish.source, Source::Requested);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pass_that_was_called_off_is_joined_by_nobody() {
        let mut schedule = Schedule::default();
        let declared = wish("a", Source::Declared, &[Format::Full]);
        schedule.ask(declared.clone(), 10);
        let active = begin(&mut schedule).unwrap();
        schedule.withdraw(|_| false);
        assert_eq!(schedule.ask(declared, 10), Admission::Queued);
        assert_eq!(schedule.ask(requested("a"), 10), Admission::Joined, "the one that waits");
        assert!(begin(&mut schedule).is_none(), "not beside the one that ends");
        schedule.end(&active, Duration::ZERO, Instant::now());
        assert!(begin(&mut schedule).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn declared_artifacts_take_no_place_of_devices() {
        let mut schedule = Schedule::default();
        for name in ["a", "b"] {
            schedule.ask(wish(name, Source::Declared, &[Format::Full]), 1);
        }
        assert_eq!(schedule.ask(requested("c"), 1), Admission::Queued);
    }
}
