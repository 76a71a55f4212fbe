//! How often something was reconciled, with what result, in what time.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use prometheus_client::{encoding::DescriptorEncoder, metrics::histogram::Histogram, registry::Unit};
use tokio::time::Instant;

use crate::{
    controller::error::Error,
    telemetry::metrics::family::{Family, Kind},
};

pub(super) const RECONCILES: Family = Family {
    name: "reconciles",
    help: "Reconciliations: success, blocked by what the resource's Ready condition says, or an error that it says nothing of, as of the API server.",
    unit: None,
    kind: Kind::Counter,
    labels: &["result"],
};
pub(super) const DURATION: Family = Family {
    name: "reconcile_duration",
    help: "How long reconciliations took.",
    unit: Some(Unit::Seconds),
    kind: Kind::Histogram,
    labels: &[],
};

/// From a look at what is known already to the longest that a reconciliation may take.
const BUCKETS: [f64; 11] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 25.0];

/// Counts reconciliations. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::controller) struct Reconciles(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    success: AtomicU64,
    blocked: AtomicU64,
    error: AtomicU64,
    duration: Histogram,
}

impl Default for Reconciles {
    fn default() -> Self {
        let [success, blocked, error] = Default::default();
        Self(Arc::new(Counts { success, blocked, error, duration: Histogram::new(BUCKETS) }))
    }
}

impl Reconciles {
    /// Counts and times one.
    pub async fn measure<T>(&self, reconciliation: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let began = Instant::now();
        let outcome = reconciliation.await;
        self.0.duration.observe(began.elapsed().as_secs_f64());
        self.0.of(&outcome).fetch_add(1, Relaxed);
        outcome
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder) -> Result<(), fmt::Error> {
        let mut samples = RECONCILES.samples(encoder)?;
        for (result, count) in [("success", &self.0.success), ("blocked", &self.0.blocked), ("error", &self.0.error)] {
            samples.put(&[result], count.load(Relaxed))?;
        }
        DURATION.samples(encoder)?.put_histogram(&self.0.duration)
    }
}

impl Counts {
    fn of<T>(&self, outcome: &Result<T, Error>) -> &AtomicU64 {
        match outcome {
            // What is gone needs nothing.
            Ok(_) | Err(Error::GoingAway) => &self.success,
            Err(error) if error.reason().is_some() => &self.blocked,
            Err(_) => &self.error,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        controller::{Health, Metrics},
        telemetry::metrics::Exposition,
    };

    #[tokio::test(start_paused = true)]
    async fn what_keeps_a_resource_is_not_what_keeps_the_controller() {
        let metrics = Metrics::of(&Health::default());
        let rival = "edge/line".to_owned();
        let outcomes = [
            Ok(()),
            Err(Error::GoingAway),
            Err(Error::ChannelConflict { rival }),
            Err(Error::TooLong(Duration::from_secs(25))),
        ];
        for outcome in outcomes {
            let _ = metrics.reconciles.measure(async { outcome }).await;
        }
        let said = Exposition::default().with(metrics).text().unwrap();
        for (result, count) in [("success", 2), ("blocked", 1), ("error", 1)] {
            let line = format!("\nwasmproxy_reconciles_total{{result=\"{result}\"}} {count}\n");
            assert!(said.contains(&line), "{said}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_takes_its_time_is_measured_whole() {
        let metrics = Metrics::of(&Health::default());
        let slow = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            Ok(())
        };
        metrics.reconciles.measure(slow).await.unwrap();
        let said = Exposition::default().with(metrics).text().unwrap();
        for sample in ["_sum 3.0", "_count 1", "_bucket{le=\"2.5\"} 0", "_bucket{le=\"10.0\"} 1"] {
            assert!(said.contains(&format!("\nwasmproxy_reconcile_duration_seconds{sample}\n")), "{said}");
        }
    }
}
