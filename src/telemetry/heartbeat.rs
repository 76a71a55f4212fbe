//! Whether a loop still turns.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// What a loop beats while it turns, and a probe listens to.
///
/// The loop itself has to beat, and not a timer beside it, which would go on while the loop is stuck. Before the first beat,
/// and after [`Self::rest`], nothing is expected.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    what: &'static str,
    limit: Duration,
    last: Arc<Mutex<Option<Instant>>>,
}

impl Heartbeat {
    /// The heartbeat of a loop that must beat once within `limit`. `what` names it, for the one who reads why a probe failed.
    pub fn new(what: &'static str, limit: Duration) -> Self {
        Self { what, limit, last: Arc::default() }
    }

    /// How often to beat, so that a machine which is busy for a moment is not taken for a loop which is stuck.
    pub fn interval(&self) -> Duration {
        self.limit / 6
    }

    /// The loop turns.
    pub fn beat(&self) {
        *self.last() = Some(Instant::now());
    }

    /// The loop is to end: no beat is expected any more.
    pub fn rest(&self) {
        *self.last() = None;
    }

    /// Whether the loop has beaten in time.
    ///
    /// # Errors
    /// One line that says which loop has not, and for how long.
    pub fn check(&self) -> Result<(), String> {
        match self.last().map(|last| last.elapsed()) {
            Some(silence) if silence > self.limit => {
                Err(format!("{} has not turned for {} s", self.what, silence.as_secs()))
            }
            _ => Ok(()),
        }
    }

    fn last(&self) -> MutexGuard<'_, Option<Instant>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_has_not_begun_or_is_at_rest_owes_no_beat() {
        let heart = Heartbeat::new("the loop", Duration::from_secs(30));
        advance(Duration::from_secs(31)).await;
        assert_eq!(heart.check(), Ok(()));
        heart.beat();
        heart.rest();
        advance(Duration::from_secs(31)).await;
        assert_eq!(heart.check(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_stops_is_found_out_and_one_that_goes_on_is_fine_again() {
        let heart = Heartbeat::new("the loop", Duration::from_secs(30));
        heart.beat();
        advance(Duration::from_secs(30)).await;
        assert_eq!(heart.check(), Ok(()));
        advance(Duration::from_secs(1)).await;
        assert_eq!(heart.check(), Err("the loop has not turned for 31 s".into()));
        heart.clone().beat();
        assert_eq!(heart.check(), Ok(()));
    }
}
