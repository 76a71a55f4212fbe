//! How slowly a blob may come.

use std::time::Duration;

/// The least bytes a second, on average over a window.
const LEAST: u64 = 1024;

/// Watches that bytes come faster than a registry would send them that wants to hold a transfer for ever.
///
/// Only the time in which somebody waited for the registry counts: a slow broker is not its fault.
#[derive(Debug)]
pub(super) struct Floor {
    window: Duration,
    waited: Duration,
    came: u64,
}

impl Floor {
    pub(super) fn new(window: Duration) -> Self {
        Self { window, waited: Duration::ZERO, came: 0 }
    }

    /// What must come in a window, in bytes.
    pub(super) fn least(window: Duration) -> u64 {
        window.as_secs().saturating_mul(LEAST) + u64::from(window.subsec_millis()) * LEAST / 1000
    }

    /// What is left of the window.
    pub(super) fn left(&self) -> Duration {
        self.window.saturating_sub(self.waited)
    }

    /// Takes in how long a read took, and what it brought; `false` where that was too little, at the end of a window.
    pub(super) fn read(&mut self, waited: Duration, bytes: usize) -> bool {
        self.waited += waited;
        self.came += bytes as u64;
        if self.waited < self.window {
            return true;
        }
        let is_enough = self.came >= Self::least(self.window).max(1);
        *self = Self::new(self.window);
        is_enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_millis(1500);

    #[test]
    fn a_window_wants_a_kibibyte_a_second() {
        for (bytes, is_enough) in [(0, false), (1535, false), (1536, true)] {
            assert_eq!(Floor::new(WINDOW).read(WINDOW, bytes), is_enough, "{bytes}");
        }
    }

    #[test]
    fn each_window_is_judged_by_itself_when_it_is_over() {
        let mut floor = Floor::new(WINDOW);
        assert!(floor.read(Duration::from_millis(1499), 0));
        assert_eq!(floor.left(), Duration::from_millis(1));
        assert!(floor.read(Duration::from_millis(1), 10_000));
        assert_eq!(floor.left(), WINDOW);
        assert!(!floor.read(WINDOW, 1000), "what came before does not count");
    }

    #[test]
    fn silence_is_too_slow_in_any_window() {
        assert!(!Floor::new(Duration::from_nanos(1)).read(Duration::from_nanos(1), 0));
    }
}
