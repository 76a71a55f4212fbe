//! One channel: requests in, transfers, chunks out, progress.
//!
//! A [`Worker`] is told what to do by a [`WorkerConfig`], whoever makes it: the environment, the controller, or a
//! resource that the worker watches. It reports by a [`Progress`], which is its memory when it starts again.
//!
//! Inside, from the outside in:
//!
//! - `supervisor`: opens the channel, and opens it anew when another one is needed;
//! - `channel`: the one task that decides: hears requests, begins passes, says why not;
//! - `wish`, `schedule`, `holds`, `declared`, `again`, `pull`: what goes next, pure but for the clock;
//! - `look`: what a reference means, and how that is cut (`cut`);
//! - `pass`, `publisher`, `source`, `known`: a module on its way from the registry to the broker's acknowledgement, chunk by
//!   chunk, within one budget for all (`turns`);
//! - `tracker`: the one place that changes the progress;
//! - [`metrics`]: what a worker says of itself in numbers.

mod again;
mod allow;
mod channel;
mod config;
mod cut;
mod declared;
mod fingerprint;
mod holds;
pub(crate) mod hot;
mod known;
mod link;
mod look;
pub mod metrics;
mod notices;
mod pace;
mod pass;
mod progress;
mod publisher;
mod pull;
mod receipts;
mod schedule;
mod seats;
mod slots;
mod source;
mod starving;
mod supervisor;
mod tracker;
mod turns;
mod wish;

use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};
use tracing::Instrument as _;

pub use allow::{AllowList, InvalidPattern};
pub use config::{Artifact, BrokerConfig, WorkerConfig};
pub use progress::{
    ArtifactProgress, Failure, FailureReason, MAX_REQUESTED, Phase, Progress, RegistryState, Source, Totals,
};
pub(crate) use supervisor::session_end;

use crate::mqtt::SessionEnd;
use metrics::Vitals;
use tracker::Tracker;

/// A running worker.
pub struct Worker {
    config: watch::Sender<WorkerConfig>,
    progress: watch::Receiver<Progress>,
    vitals: Vitals,
    stop: oneshot::Sender<SessionEnd>,
    task: JoinHandle<()>,
}

impl Worker {
    /// Starts a worker; `memory` is what an earlier one reported, or nothing.
    ///
    /// What it logs is within the caller's span. What is wrong with the configuration shows in the progress. A worker that is dropped stops, and keeps its
    /// session with the broker.
    pub fn start(config: WorkerConfig, memory: Progress) -> Self {
        let tracker = Tracker::new(memory);
        let progress = tracker.subscribe();
        let vitals = Vitals::new(progress.clone(), tracker.counts());
        let (config, configured) = watch::channel(config);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(supervisor::supervise(configured, tracker, stopped).in_current_span());
        Self { config, progress, vitals, stop, task }
    }

    /// Tells the worker to do something else. Passes that the change does not touch go on; so do all where only credentials or
    /// certificates are others.
    pub fn reconfigure(&self, config: WorkerConfig) {
        self.config.send_if_modified(|current| {
            let changed = *current != config;
            *current = config;
            changed
        });
    }

    /// How far it is.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// What its metrics are read from.
    pub fn vitals(&self) -> Vitals {
        self.vitals.clone()
    }

    /// Finishes the chunks in flight, ends or keeps the MQTT session, and ends: within 10 s, whatever it is doing and whoever does
    /// not answer; within 5 s where the session is kept and no other channel is being opened just then.
    pub async fn stop(self, end: SessionEnd) {
        let _ = self.stop.send(end);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the worker broke down");
        }
    }
}
