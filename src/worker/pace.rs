//! How fast a pass may go.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// Chunks of a pass that go as fast as the broker acknowledges them: what brokers queue for a slow device at least.
pub(super) const UNPACED: u32 = 500;

/// Holds a pass to a number of bytes a second after its first [`UNPACED`] chunks.
#[derive(Debug)]
pub(super) struct Pace {
    rate: watch::Receiver<Option<u64>>,
    chunks: u32,
    /// When the last chunk that was held went, and its size in bytes.
    last: Option<(Instant, usize)>,
}

impl Pace {
    /// A pass at `rate` bytes a second, or without a limit. A change holds from the next chunk on.
    pub(super) fn new(rate: watch::Receiver<Option<u64>>) -> Self {
        Self { rate, chunks: 0, last: None }
    }

    /// Waits until a chunk of `bytes` may go.
    pub(super) async fn wait(&mut self, bytes: usize) {
        if self.chunks < UNPACED {
            self.chunks += 1;
            return;
        }
        while let Some(due) = self.due().filter(|due| Instant::now() < *due) {
            tokio::select! {
                () = sleep_until(due) => {}
                Ok(()) = self.rate.changed() => {}
            }
        }
        // Time that was lost waiting for the broker is not made up for: the devices' queues would overflow.
        self.last = Some((Instant::now(), bytes));
    }

    /// When the next chunk may go, where that is not at once.
    fn due(&mut self) -> Option<Instant> {
        let rate = (*self.rate.borrow_and_update())?;
        let (went, bytes) = self.last?;
        Some(went + Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn duration(chunks: u32, rate: Option<u64>) -> Duration {
        let start = Instant::now();
        let mut pace = Pace::new(watch::Sender::new(rate).subscribe());
        for _ in 0..chunks {
            pace.wait(1000).await;
        }
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_chunks_go_at_once() {
        assert_eq!(duration(UNPACED + 1, Some(1)).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn the_others_keep_to_the_rate() {
        // The first of the paced ones goes at once, so ten intervals lie between eleven.
        assert_eq!(duration(UNPACED + 11, Some(1000)).await, Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_all_go_at_once() {
        assert_eq!(duration(UNPACED * 10, None).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn another_rate_holds_for_the_chunk_that_is_waited_for() {
        let rate = watch::Sender::new(Some(1));
        let mut pace = Pace::new(rate.subscribe());
        for _ in 0..=UNPACED {
            pace.wait(1000).await;
        }
        let start = Instant::now();
        let sooner = async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            rate.send_replace(Some(50));
        };
        tokio::join!(pace.wait(1000), sooner);
        assert_eq!(start.elapsed(), Duration::from_secs(20));
        rate.send_replace(None);
        pace.wait(1000).await;
        assert_eq!(start.elapsed(), Duration::from_secs(20));
    }
}
