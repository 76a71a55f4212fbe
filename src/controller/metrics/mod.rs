//! What the controller says of itself, and of the resources, in numbers.
//!
//! - `reconciles`: how often something was reconciled, with what result, in what time;
//! - `resources`: how many there are, by what `Ready` says of them;
//! - here: who leads, and all of it together.
//!
//! Workers in the controller's process say what those elsewhere say, on the controller's port.

mod reconciles;
mod resources;

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use kube::runtime::reflector::Store;
use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

use super::{health::Health, watch::Watched};
use crate::{
    telemetry::metrics::family::{Family, Kind},
    worker::metrics::Roster,
};

pub(super) use reconciles::Reconciles;

use reconciles::{DURATION, RECONCILES};
use resources::{RESOURCES, Readiness, readiness};

/// All that the controller says, besides what its workers do.
pub const FAMILIES: [&Family; 4] = [&LEADER, &RECONCILES, &DURATION, &RESOURCES];

const LEADER: Family =
    Family { name: "leader", help: "Whether this replica leads: 1, or 0.", unit: None, kind: Kind::Gauge, labels: &[] };

/// What a controller says in numbers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    health: Health,
    pub(super) reconciles: Reconciles,
    pub(super) workers: Roster,
    /// The resources, once they are watched.
    resources: Arc<OnceLock<Store<Watched>>>,
}

impl Metrics {
    /// Those of the controller that is as `health` says.
    pub fn of(health: &Health) -> Self {
        Self {
            health: health.clone(),
            reconciles: Reconciles::default(),
            workers: Roster::default(),
            resources: Arc::default(),
        }
    }

    /// These are the resources. Said once.
    pub(super) fn watch(&self, resources: Store<Watched>) {
        let _ = self.resources.set(resources);
    }

    /// How many resources are as ready as that. The leader alone says it, so that the sum over all replicas is true.
    fn readiness(&self) -> Readiness {
        match self.resources.get() {
            Some(resources) if self.health.leads() => readiness(&resources.state()),
            _ => Readiness::new(),
        }
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        LEADER.samples(&mut encoder)?.put(&[], self.health.leads().into())?;
        self.reconciles.encode(&mut encoder)?;
        let mut samples = RESOURCES.samples(&mut encoder)?;
        for ((ready, reason), count) in self.readiness() {
            samples.put(&[ready, reason], count)?;
        }
        self.workers.encode(encoder)
    }
}
