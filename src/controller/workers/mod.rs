//! Where workers run: for now, in the controller's own process.
//!
//! What the reconciler asks of a worker is the same wherever it runs: to do what the resource says, to stop, to be gone with
//! its resource.

mod board;
mod in_process;

use std::{sync::Arc, time::Duration};

pub(super) use in_process::InProcess;

use super::{error::Error, watch::Departure};
use crate::api::WasmProxy;

/// The workers of all resources, each keyed by its resource's UID.
pub(super) enum Workers {
    /// Tasks of this process.
    InProcess(InProcess),
}

impl Workers {
    /// Makes the worker of `resource` do what its spec says; starts it where there is none.
    ///
    /// # Errors
    /// Where it cannot know what to do. A worker that runs goes on with what it was told before.
    pub async fn ensure(&self, resource: &Arc<WasmProxy>) -> Result<(), Error> {
        match self {
            Self::InProcess(workers) => workers.ensure(resource).await,
        }
    }

    /// Whether a worker runs.
    pub fn is_running(&self, uid: &str) -> bool {
        match self {
            Self::InProcess(workers) => workers.is_running(uid),
        }
    }

    /// Stops a worker for good, and waits for its end.
    pub async fn stop(&self, uid: &str) {
        match self {
            Self::InProcess(workers) => workers.stop(uid).await,
        }
    }

    /// Begins to stop the workers of resources that are gone.
    pub fn depart(&self, departure: &Departure) {
        match self {
            Self::InProcess(workers) => workers.depart(departure),
        }
    }

    /// Stops all workers for others to go on, within `grace`, and starts none from now on.
    pub async fn shut_down(&self, grace: Duration) {
        match self {
            Self::InProcess(workers) => workers.shut_down(grace).await,
        }
    }
}
