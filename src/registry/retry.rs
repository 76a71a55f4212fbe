//! When a request is tried again, and when it is not.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

use super::{error::RegistryError, reference::Reference};

/// A registry that asks for more patience than this gets it from whoever asked for the module.
const MAX_PATIENCE: Duration = Duration::from_secs(30);

/// No attempt begins later than this after the first has failed: whoever waits wants to know.
const MAX_TIME: Duration = Duration::from_secs(60);

/// The attempts that are left. There are six altogether, some three to six seconds apart in sum, or as far as the
/// registry asks for; fewer of a registry that does not answer in time.
#[derive(Debug)]
pub(super) struct Retry {
    delays: ExponentialBackoff,
    first_failure: Option<Instant>,
}

impl Retry {
    pub(super) fn new() -> Self {
        let delays = ExponentialBuilder::new().with_min_delay(Duration::from_millis(100)).with_factor(2.0);
        Self { delays: delays.with_max_times(5).with_jitter().build(), first_failure: None }
    }

    /// Waits before the next attempt at what a reference names. Where there is none, or none would help, gives back the
    /// error that would have made it necessary, and begins anew.
    pub(super) async fn wait(&mut self, reference: &Reference, error: RegistryError) -> Result<(), RegistryError> {
        let asked = match &error {
            RegistryError::Unavailable { retry_after, .. } => retry_after.unwrap_or_default(),
            _ => return Err(error),
        };
        let now = Instant::now();
        let since = now - *self.first_failure.get_or_insert(now);
        let delay = self.delays.next().map(|delay| delay.max(asked));
        let Some(delay) = delay.filter(|delay| asked <= MAX_PATIENCE && since + *delay <= MAX_TIME) else {
            *self = Self::new();
            return Err(error);
        };
        tracing::debug!(%reference, %error, "trying again");
        tokio::time::sleep(delay).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unavailable(retry_after: Option<u64>) -> RegistryError {
        let retry_after = retry_after.map(Duration::from_secs);
        RegistryError::Unavailable { host: "registry.example".to_owned(), reason: "it is busy".to_owned(), retry_after }
    }

    /// How often `error` is tried again, and how long that takes.
    async fn exhaust(retry: &mut Retry, error: impl Fn() -> RegistryError) -> (u32, Duration) {
        let (mut times, began) = (0, Instant::now());
        let reference = Reference::parse("add:1", "registry.example").unwrap();
        while retry.wait(&reference, error()).await.is_ok() {
            times += 1;
        }
        (times, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_succeed_is_tried_five_times_more() {
        let mut retry = Retry::new();
        for _ in 0..2 {
            let (times, took) = exhaust(&mut retry, || unavailable(None)).await;
            assert_eq!(times, 5);
            assert!(took >= Duration::from_millis(3100) && took < Duration::from_secs(7), "{took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_registry_says_how_long_to_wait_up_to_a_bound() {
        let (times, took) = exhaust(&mut Retry::new(), || unavailable(Some(30))).await;
        assert_eq!((times, took.as_secs()), (2, 60));
        assert_eq!(exhaust(&mut Retry::new(), || unavailable(Some(31))).await, (0, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_does_not_answer_is_given_up_after_a_minute() {
        let (mut retry, mut times) = (Retry::new(), 0);
        let reference = Reference::parse("add:1", "registry.example").unwrap();
        while retry.wait(&reference, unavailable(None)).await.is_ok() {
            times += 1;
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
        assert_eq!(times, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_succeed_is_not_tried_again() {
        let forbidden = || RegistryError::Forbidden { host: String::new(), repository: String::new() };
        assert_eq!(exhaust(&mut Retry::new(), forbidden).await, (0, Duration::ZERO));
    }
}
