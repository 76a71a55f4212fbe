//! How fast a pass may go.

use std::time::Duration;

use tokio::time::Instant;

/// Chunks of a pass that go as fast as the broker acknowledges them: what brokers queue for a slow device at least.
pub(super) const UNPACED: u32 = 500;

/// Holds a pass to a number of bytes a second after its first [`UNPACED`] chunks.
#[derive(Debug)]
pub(super) struct Pace {
    rate: Option<u64>,
    chunks: u32,
    /// When the next chunk may go.
    due: Option<Instant>,
}

impl Pace {
    /// A pass at `rate` bytes a second, or without a limit.
    pub(super) fn new(rate: Option<u64>) -> Self {
        Self { rate, chunks: 0, due: None }
    }

    /// Waits until a chunk of `bytes` may go.
    pub(super) async fn wait(&mut self, bytes: usize) {
        let Some(rate) = self.rate else { return };
        if self.chunks < UNPACED {
            self.chunks += 1;
            return;
        }
        let due = self.due.unwrap_or_else(Instant::now);
        tokio::time::sleep_until(due).await;
        // Time that was lost waiting for the broker is not made up for: the devices' queues would overflow.
        let cost = Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        self.due = Some(due.max(Instant::now()) + cost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn duration(chunks: u32, rate: Option<u64>) -> Duration {
        let start = Instant::now();
        let mut pace = Pace::new(rate);
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
}
