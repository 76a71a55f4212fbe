//! How often something may be told of one resource.

use std::time::Duration;

use tokio::time::Instant;

/// So often in a row, which is more than a resource takes from its creation until all is well.
const BURST: u32 = 10;

/// And then once in this time.
const REFILL: Duration = Duration::from_secs(60);

/// A bucket of tokens, as the time at which it will be full.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    full_at: Instant,
}

impl Budget {
    /// A full one.
    pub fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// When there is a token.
    pub fn ready_at(&self, now: Instant) -> Instant {
        now.max(self.full_at.checked_sub(REFILL * (BURST - 1)).unwrap_or(now))
    }

    /// Takes a token.
    pub fn spend(&mut self, now: Instant) {
        self.full_at = self.full_at.max(now) + REFILL;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_burst_there_is_one_a_minute() {
        let mut now = Instant::now();
        let mut budget = Budget::new(now);
        for _ in 0..BURST {
            assert_eq!(budget.ready_at(now), now);
            budget.spend(now);
        }
        for _ in 0..3 {
            assert_eq!(budget.ready_at(now), now + REFILL);
            now += REFILL;
            budget.spend(now);
        }
        now += REFILL * (BURST + 7);
        for _ in 0..BURST {
            assert_eq!(budget.ready_at(now), now);
            budget.spend(now);
        }
        assert!(budget.ready_at(now) > now, "no more than a burst is saved up");
    }
}
