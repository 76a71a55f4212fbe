//! When to ask, when to ask again, and when to give up. Time comes in as an argument.

use std::time::Duration;

use tokio::time::Instant;

/// After so long without a chunk a device asks for what it misses, unless it is told another time. Up to half as much is
/// added at random, so that devices that fell silent together do not ask together.
pub const SILENCE: Duration = Duration::from_secs(10);

/// Chunks that are here already put asking off for so many silences at most: others may need them, or somebody may keep
/// us waiting.
const MAX_DUPLICATES: u32 = 4;

/// Up to so long a device waits where it might ask at once: for the same reason, and for chunks that a notice overtook.
const GRACE: Duration = Duration::from_millis(500);

/// The wait after a first refusal; it doubles with each one that follows.
const BACKOFF: Duration = Duration::from_secs(2);

/// The longest wait after a refusal.
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// A device's patience with the other end.
#[derive(Debug)]
pub struct Patience {
    give_up_after: Duration,
    silence: Duration,
    random: fastrand::Rng,
    /// None while a request is on its way to the broker, and nothing has happened since.
    ask_at: Option<Instant>,
    /// When to ask whatever is heard that is no progress.
    ask_by: Instant,
    give_up_at: Instant,
    refusals: u32,
    /// Until when the last refusal is heeded.
    refused_until: Option<Instant>,
    heard_at: Option<Instant>,
    /// How long the next chunk may well take, by those before it: on a slow link a single one takes longer than any
    /// silence.
    pace: Duration,
}

impl Patience {
    /// Asks at once, again after such a silence, and gives up after so long without progress.
    pub fn new(give_up_after: Duration, silence: Duration, random: fastrand::Rng, now: Instant) -> Self {
        Self {
            give_up_after,
            silence,
            random,
            ask_at: Some(now),
            ask_by: now,
            give_up_at: after(now, give_up_after),
            refusals: 0,
            refused_until: None,
            heard_at: None,
            pace: Duration::ZERO,
        }
    }

    /// When to ask next, unless something is heard before; `None` from [`Self::asking`] to [`Self::asked`].
    pub fn ask_at(&self) -> Option<Instant> {
        self.ask_at
    }

    /// When to give up, unless there is progress before.
    pub fn give_up_at(&self) -> Instant {
        self.give_up_at
    }

    /// The time up to here does not count.
    pub fn begin(&mut self, now: Instant) {
        self.give_up_at = after(now, self.give_up_after);
    }

    /// A request goes out.
    pub fn asking(&mut self) {
        self.ask_at = None;
        self.refused_until = None;
    }

    /// The broker has taken the request: the silence begins, unless the answer was faster than the broker's word.
    pub fn asked(&mut self, now: Instant) {
        self.ask_by = after(now, self.wait().saturating_mul(MAX_DUPLICATES));
        self.heard_at = Some(now);
        if self.ask_at.is_none() {
            self.silence(now);
        }
    }

    /// Somebody is sending what is here already: the silence begins anew, but not for ever.
    pub fn heard(&mut self, now: Instant) {
        self.refusals = 0;
        self.refused_until = None;
        if let Some(before) = self.heard_at.replace(now) {
            self.pace = (now - before).max(self.pace * 7 / 8);
        }
        self.silence(now);
        self.ask_at = self.ask_at.map(|at| at.min(self.ask_by));
    }

    /// Something was heard that was missing.
    pub fn progressed(&mut self, now: Instant) {
        self.heard(now);
        self.silence(now);
        self.ask_by = after(now, self.wait().saturating_mul(MAX_DUPLICATES));
        self.begin(now);
    }

    /// Asking has become worth while.
    pub fn ask_soon(&mut self, now: Instant) {
        let soon = now + self.up_to(GRACE);
        // Who says so again and again does not put it off.
        self.ask_at = Some(self.ask_at.map_or(soon, |at| at.min(soon)));
    }

    /// All that was asked for is here: there is nothing to wait for.
    pub fn ask_now(&mut self, now: Instant) {
        self.ask_at = Some(now);
    }

    /// The other end cannot help right now. Returns how long to wait: longer each time, and never quite the same.
    pub fn refused(&mut self, now: Instant) -> Duration {
        // Who says so again and again does not put it off.
        if let Some(until) = self.refused_until.filter(|until| *until > now) {
            return until - now;
        }
        let longest = BACKOFF.saturating_mul(1 << self.refusals.min(16)).min(MAX_BACKOFF);
        self.refusals += 1;
        let wait = longest / 2 + self.up_to(longest / 2);
        self.ask_at = Some(now + wait);
        self.refused_until = self.ask_at;
        wait
    }

    fn silence(&mut self, now: Instant) {
        let wait = self.wait();
        self.ask_at = Some(after(now, wait.saturating_add(self.up_to(wait / 2))));
    }

    /// How long a silence is; as much as a slow link needs, but short enough to ask before giving up.
    fn wait(&self) -> Duration {
        self.silence.max(self.pace.saturating_mul(2).min(self.give_up_after / 2))
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.random.f64())
    }
}

/// `now + wait`, or a time that never comes where there is no such time.
fn after(now: Instant, wait: Duration) -> Instant {
    const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);
    now + wait.min(NEVER)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(120);

    fn patience(seed: u64) -> (Patience, Instant) {
        let now = Instant::now();
        (Patience::new(TIMEOUT, SILENCE, fastrand::Rng::with_seed(seed), now), now)
    }

    #[test]
    fn the_first_request_does_not_wait() {
        let (patience, now) = patience(1);
        assert_eq!(patience.ask_at(), Some(now));
    }

    #[test]
    fn only_progress_puts_giving_up_off() {
        let (mut patience, start) = patience(1);
        let now = start + Duration::from_secs(30);
        patience.asked(now);
        patience.heard(now);
        patience.refused(now);
        assert_eq!(patience.give_up_at(), start + TIMEOUT);
        patience.progressed(now);
        assert_eq!(patience.give_up_at(), now + TIMEOUT);
    }

    #[test]
    fn an_answer_that_overtakes_the_brokers_word_is_not_forgotten() {
        let (mut patience, now) = patience(1);
        patience.asking();
        patience.ask_now(now);
        patience.asked(now);
        assert_eq!(patience.ask_at(), Some(now));
    }

    #[test]
    fn patience_may_be_endless() {
        let now = Instant::now();
        let mut patience = Patience::new(Duration::MAX, Duration::MAX, fastrand::Rng::with_seed(1), now);
        patience.progressed(now);
        patience.asked(now);
        assert!(patience.give_up_at() > now);
    }

    #[test]
    fn what_is_heard_ends_a_backoff() {
        let (mut patience, now) = patience(1);
        for _ in 0..10 {
            patience.refused(now);
        }
        patience.heard(now);
        assert!(patience.refused(now) <= BACKOFF);
    }

    #[test]
    fn devices_that_fell_silent_together_do_not_ask_together() {
        let now = Instant::now();
        let asks = |seed| {
            let mut patience = Patience::new(TIMEOUT, SILENCE, fastrand::Rng::with_seed(seed), now);
            patience.progressed(now);
            patience.ask_at()
        };
        assert_ne!(asks(1), asks(2));
    }

    #[test]
    fn who_sends_what_is_here_already_does_not_keep_us_waiting_for_ever() {
        let (mut patience, start) = patience(1);
        patience.asking();
        patience.asked(start);
        let mut now = start;
        while now < patience.ask_at().unwrap() {
            now += Duration::from_secs(1);
            patience.heard(now);
        }
        assert_eq!(now, start + SILENCE * MAX_DUPLICATES);
    }

    #[test]
    fn who_says_again_that_asking_is_worth_while_does_not_put_it_off() {
        let (mut patience, now) = patience(1);
        patience.asking();
        patience.asked(now);
        patience.ask_soon(now);
        let at = patience.ask_at();
        for _ in 0..100 {
            patience.ask_soon(now + GRACE);
        }
        assert_eq!(patience.ask_at(), at);
    }

    #[test]
    fn a_link_on_which_a_chunk_takes_long_is_given_its_time() {
        let (mut patience, start) = patience(1);
        let mut now = start;
        patience.asked(now);
        for seconds in [20, 20, 20] {
            now += Duration::from_secs(seconds);
            patience.progressed(now);
            assert!(patience.ask_at().unwrap() - now >= Duration::from_secs(40));
        }
        for _ in 0..20 {
            patience.progressed(now);
        }
        assert!(patience.ask_at().unwrap() - now <= SILENCE * 3 / 2, "it was the link's only for a while");
        now += TIMEOUT;
        patience.progressed(now);
        assert!(patience.ask_at().unwrap() < patience.give_up_at());
    }

    #[test]
    fn who_says_again_that_he_cannot_help_does_not_put_it_off() {
        let (mut patience, now) = patience(7);
        patience.asking();
        let wait = patience.refused(now);
        let later = now + wait / 2;
        assert_eq!(patience.refused(later), now + wait - later);
        assert_eq!(patience.ask_at(), Some(now + wait));
    }

    proptest! {
        #[test]
        fn silence_lasts_ten_to_fifteen_seconds(seed in any::<u64>()) {
            let (mut patience, now) = patience(seed);
            patience.asking();
            for begin in [Patience::asked, Patience::heard, Patience::progressed] {
                begin(&mut patience, now);
                prop_assert!((SILENCE..=SILENCE * 3 / 2).contains(&(patience.ask_at().unwrap() - now)));
            }
        }

        #[test]
        fn waits_after_refusals_grow_up_to_a_minute(seed in any::<u64>(), refusals in 1u32..40) {
            let (mut patience, now) = patience(seed);
            let mut longest = BACKOFF;
            for _ in 0..refusals {
                patience.asking();
                let wait = patience.refused(now);
                prop_assert!((longest / 2..=longest).contains(&wait));
                prop_assert_eq!(patience.ask_at(), Some(now + wait));
                longest = (longest * 2).min(MAX_BACKOFF);
            }
        }
    }
}
