//! How long to wait before the next attempt.

use std::time::Duration;

/// Exponential backoff with jitter: each wait is twice the one before, up to the longest, and is cut by a random part of up
/// to its half, so that many who failed together do not come back as one.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Waits from `first` to `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// How many attempts have failed in a row.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Counts a failure and says how long to wait. `jitter` is between 0 and 1.
    pub fn fail(&mut self, jitter: f64) -> Duration {
        let doubled = self.first.saturating_mul(1u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1);
        doubled.min(self.longest).mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
    }

    /// Forgets all failures.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIRST: Duration = Duration::from_millis(250);
    const LONGEST: Duration = Duration::from_secs(30);

    #[test]
    fn it_doubles_to_the_longest_and_starts_again_after_a_reset() {
        let mut backoff = Backoff::new(FIRST, LONGEST);
        let waits: Vec<_> = (0..9).map(|_| backoff.fail(0.0).as_millis()).collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        assert_eq!(backoff.failures(), 9);
        backoff.reset();
        assert_eq!(backoff.fail(0.0), FIRST);
    }

    proptest! {
        #[test]
        fn jitter_takes_at_most_half(failures in 0u32..100, jitter in 0.0..=1.0) {
            let mut plain = Backoff { failures, ..Backoff::new(FIRST, LONGEST) };
            let mut jittered = plain.clone();
            let (full, wait) = (plain.fail(0.0), jittered.fail(jitter));
            prop_assert!(wait <= full && wait >= full / 2 && full <= LONGEST);
        }
    }
}
