//! What a worker says of itself in numbers.
//!
//! - `roster`: who works in this process, and what is to be read of them;
//! - `counts`: what they count for this alone;
//! - here: what that is called.
//!
//! A process may have hundreds of workers, each of which is another one by the labels `namespace` and `name` of its resource. So a
//! worker has few samples, some twenty, and what would multiply them (devices, references) is left to its resource's status.
//! They are there for as long as the worker is.

mod counts;
mod roster;

use std::fmt;

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, registry::Unit};

pub use roster::{Name, Presence, Roster, Vitals};

pub(super) use counts::{Answer, Counts};

use super::progress::{Phase, Totals};
use crate::{
    mqtt::ConnectionState,
    telemetry::metrics::family::{Family, Kind, Samples},
};

/// All that a worker says.
pub const FAMILIES: [&Family; 9] =
    [&BROKER_CONNECTED, &BROKER_RECONNECTS, &CHUNKS, &BYTES, &TRANSFERS, &ARTIFACTS, &REQUESTS, &RECEIPTS, &FAILURES];

const WHO: &[&str] = &["namespace", "name"];

const BROKER_CONNECTED: Family = Family {
    name: "broker_connected",
    help: "Whether the worker is connected to its broker: 1, or 0.",
    unit: None,
    kind: Kind::Gauge,
    labels: WHO,
};
const BROKER_RECONNECTS: Family = Family {
    name: "broker_reconnects",
    help: "Connections to the broker after the worker's first.",
    unit: None,
    kind: Kind::Counter,
    labels: WHO,
};
const CHUNKS: Family = Family {
    name: "chunks_published",
    help: "Chunks that the broker has acknowledged.",
    unit: None,
    kind: Kind::Counter,
    labels: WHO,
};
const BYTES: Family = Family {
    name: "published",
    help: "The modules' bytes in chunks that the broker has acknowledged.",
    unit: Some(Unit::Bytes),
    kind: Kind::Counter,
    labels: WHO,
};
const TRANSFERS: Family = Family {
    name: "transfers",
    help: "Modules that were sent to everyone: published whole, or failed, also where the registry was asked in vain.",
    unit: None,
    kind: Kind::Counter,
    labels: &["namespace", "name", "result"],
};
const ARTIFACTS: Family = Family {
    name: "artifacts",
    help: "Artifacts that are declared, and the sixteen asked for last, by phase.",
    unit: None,
    kind: Kind::Gauge,
    labels: &["namespace", "name", "phase"],
};
const REQUESTS: Family = Family {
    name: "requests",
    help: "Requests of devices, by what they were answered.",
    unit: None,
    kind: Kind::Counter,
    labels: &["namespace", "name", "result"],
};
const RECEIPTS: Family = Family {
    name: "receipts",
    help: "Devices that have said that they hold a verified module, once for each module.",
    unit: None,
    kind: Kind::Counter,
    labels: WHO,
};
const FAILURES: Family = Family {
    name: "failures",
    help: "Modules, and chunks that a device asked for, that could not be sent, by the reason that conditions give. A reason appears with its first failure.",
    unit: None,
    kind: Kind::Counter,
    labels: &["namespace", "name", "reason"],
};

/// The words of [`ARTIFACTS`], as the status of a resource has them.
const PHASES: [(Phase, &str); 5] = [
    (Phase::Pending, "Pending"),
    (Phase::Resolving, "Resolving"),
    (Phase::Streaming, "Streaming"),
    (Phase::Published, "Published"),
    (Phase::Failed, "Failed"),
];

/// One worker, as it is at one moment.
struct Reading {
    name: Name,
    vitals: Vitals,
    is_connected: bool,
    done: Totals,
    /// In the order of [`PHASES`].
    artifacts: [u64; PHASES.len()],
}

impl Reading {
    fn of(name: Name, vitals: Vitals) -> Self {
        // Nothing is written while this is held.
        let progress = vitals.progress.borrow();
        let is_connected = matches!(progress.broker, Some(ConnectionState::Connected { .. }));
        let done = vitals.done(progress.totals);
        let artifacts = PHASES.map(|(phase, _)| {
            progress
                .artifacts
                .values()
                .filter(|artifact| artifact.phase == phase)
                .count()
                .try_into()
                .unwrap_or(u64::MAX)
        });
        drop(progress);
        Self { name, vitals, is_connected, done, artifacts }
    }
}

impl Collector for Roster {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let workers: Vec<_> = self.all().into_iter().map(|(name, vitals)| Reading::of(name, vitals)).collect();
        let mut say = |family, of: &dyn Fn(&Reading, &mut Line<'_, '_>) -> fmt::Result| -> fmt::Result {
            let mut samples = Family::samples(family, &mut encoder)?;
            workers.iter().try_for_each(|worker| of(worker, &mut Line { name: &worker.name, samples: &mut samples }))
        };
        say(&BROKER_CONNECTED, &|worker, line| line.put(worker.is_connected.into()))?;
        say(&BROKER_RECONNECTS, &|worker, line| line.put(worker.vitals.counts.reconnects()))?;
        say(&CHUNKS, &|worker, line| line.put(worker.done.chunks))?;
        say(&BYTES, &|worker, line| line.put(worker.done.bytes))?;
        say(&TRANSFERS, &|worker, line| {
            line.put_as("published", worker.done.completed)?;
            line.put_as("failed", worker.done.failed)
        })?;
        say(&ARTIFACTS, &|worker, line| {
            PHASES.iter().zip(worker.artifacts).try_for_each(|((_, phase), count)| line.put_as(phase, count))
        })?;
        say(&REQUESTS, &|worker, line| {
            let counts = &worker.vitals.counts;
            Answer::ALL.iter().try_for_each(|answer| line.put_as(answer.as_str(), counts.requests(*answer)))
        })?;
        say(&RECEIPTS, &|worker, line| line.put(worker.vitals.counts.receipts()))?;
        say(&FAILURES, &|worker, line| {
            worker.vitals.counts.failures_by_reason().try_for_each(|(reason, count)| line.put_as(&reason, count))
        })
    }
}

/// Samples of one worker.
struct Line<'a, 's> {
    name: &'a Name,
    samples: &'a mut Samples<'s>,
}

impl Line<'_, '_> {
    fn put(&mut self, value: u64) -> fmt::Result {
        self.samples.put(&[&self.name.namespace, &self.name.name], value)
    }

    /// One of several, told apart by a further label.
    fn put_as(&mut self, which: &str, value: u64) -> fmt::Result {
        self.samples.put(&[&self.name.namespace, &self.name.name, which], value)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;
    use crate::{telemetry::metrics::Exposition, worker::Progress};

    #[test]
    fn hundreds_of_workers_have_some_samples_each_under_one_description_for_all() {
        let (roster, progress) = (Roster::default(), watch::channel(Progress::default()).1);
        let enter = |i| {
            let name = Name { namespace: "edge".to_owned(), name: format!("line-{i}") };
            roster.enter(name, Vitals::waiting(progress.clone()))
        };
        let _present: Vec<_> = (0..500).map(enter).collect();
        let text = Exposition::default().with(roster.clone()).text().unwrap();
        let lines = |beginning: &str| text.lines().filter(|line| line.starts_with(beginning)).count();
        assert_eq!(lines("# TYPE "), 1 + FAMILIES.len());
        assert_eq!(lines("wasmproxy_"), 1 + 500 * 16);
    }
}
