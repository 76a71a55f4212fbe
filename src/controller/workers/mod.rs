//! Where workers run: in the controller's own process, in Pods of their own, or wherever a resource's owner runs one.
//!
//! What the reconciler asks of a worker is the same wherever it runs: to do what the resource says, to stop, to be gone with
//! its resource.
//!
//! | `worker.management` | `--workers in-process` | `--workers pods` |
//! |---|---|---|
//! | `Managed` | a task (`in_process`) | a Deployment (`pods`) |
//! | `External` | somebody else's (`external`) | the same |
//!
//! A resource may change its place, and so may the controller: whatever runs elsewhere is ended first, so that no two workers
//! take the broker's session from each other. What a worker needs in the cluster are its resource's `children`.

mod board;
mod children;
mod external;
mod in_process;
mod pods;

use std::{sync::Arc, time::Duration};

use kube::ResourceExt as _;

pub use pods::PodOptions;

pub(super) use children::{ChildError, Children, Scope};
pub(super) use in_process::InProcess;
pub(super) use pods::Pods;

use super::{
    error::Error,
    summary::{Problem, Site, Unavailable, WorkerState},
    watch::Departure,
};
use crate::api::{
    Management, WasmProxy,
    conditions::{ConditionStatus, Reason},
};
use children::Family;

/// The workers of all resources.
pub(super) struct Workers {
    managed: Managed,
    children: Arc<Children>,
}

/// Where those run that the controller runs.
pub(super) enum Managed {
    /// Tasks of this process, each keyed by its resource's UID.
    InProcess(InProcess),
    /// Pods.
    Pods(Pods),
}

impl Workers {
    /// `children` are what resources have in the cluster, wherever their workers run.
    pub fn new(managed: Managed, children: Arc<Children>) -> Self {
        Self { managed, children }
    }

    /// Makes the worker of `resource` do what its spec says; starts it where there is none. Says how it stands with it.
    ///
    /// # Errors
    /// Where it cannot know what to do. A worker that runs goes on with what it was told before.
    pub async fn ensure(&self, resource: &Arc<WasmProxy>) -> Result<WorkerState, Error> {
        self.known(resource).await?;
        let state = match (resource.spec.management(), &self.managed) {
            (Management::External, _) => self.ensure_external(resource).await,
            (Management::Managed, Managed::Pods(pods)) => pods.ensure(resource).await,
            (Management::Managed, Managed::InProcess(workers)) => self.ensure_in_process(workers, resource).await,
        };
        state.or_else(leaving)
    }

    /// Stops the worker of a suspended resource, and waits for the end of one in this process.
    ///
    /// # Errors
    /// Where the API server does not do as asked.
    pub async fn suspend(&self, resource: &Arc<WasmProxy>) -> Result<WorkerState, Error> {
        self.known(resource).await?;
        let family = Family::of(resource);
        let suspended = match (resource.spec.management(), &self.managed) {
            (Management::Managed, Managed::Pods(pods)) => pods.suspend(resource).await,
            // Its owner's worker sees for itself that it is suspended.
            (Management::External, _) => {
                self.stop(&family.uid).await;
                self.grant(resource).await.map(|_| ())
            }
            (Management::Managed, Managed::InProcess(workers)) => {
                workers.stop(&family.uid).await;
                self.children.clear(&family).await.map(|_| ()).map_err(Error::from)
            }
        };
        suspended.map(|()| WorkerState::Suspended).or_else(leaving)
    }

    /// Where a worker runs for this resource, if one does.
    pub fn site(&self, resource: &WasmProxy) -> Option<Site> {
        if resource.spec.management() == Management::External {
            return external::reports(resource).then_some(Site::External);
        }
        match &self.managed {
            Managed::InProcess(workers) => workers.is_running(&Family::of(resource).uid).then_some(Site::Process),
            Managed::Pods(pods) => pods.is_available(resource).then_some(Site::Pod),
        }
    }

    /// Whether the controller reads the Secrets of this resource. Other workers see by themselves when one of theirs changes.
    pub fn reads_secrets_of(&self, resource: &WasmProxy) -> bool {
        matches!((resource.spec.management(), &self.managed), (Management::Managed, Managed::InProcess(_)))
    }

    /// Stops a worker for good, and waits for its end, where that is up to this process.
    pub async fn stop(&self, uid: &str) {
        match &self.managed {
            Managed::InProcess(workers) => workers.stop(uid).await,
            Managed::Pods(pods) => pods.forget(uid),
        }
    }

    /// Begins to stop the workers of resources that are gone.
    pub fn depart(&self, departure: &Departure) {
        match &self.managed {
            Managed::InProcess(workers) => workers.depart(departure),
            Managed::Pods(pods) => pods.depart(departure),
        }
    }

    /// Stops all workers of this process for others to go on, within `grace`, and starts none from now on.
    pub async fn shut_down(&self, grace: Duration) {
        match &self.managed {
            Managed::InProcess(workers) => workers.shut_down(grace).await,
            Managed::Pods(_) => {}
        }
    }

    /// Without knowing what is there, one would ask for each child by its name.
    async fn known(&self, resource: &WasmProxy) -> Result<(), Error> {
        let namespace = resource.namespace().unwrap_or_default();
        if self.children.known_in(&namespace).await { Ok(()) } else { Err(Error::ChildrenUnknown) }
    }

    async fn ensure_in_process(&self, workers: &InProcess, resource: &Arc<WasmProxy>) -> Result<WorkerState, Error> {
        if !self.children.clear(&Family::of(resource)).await? {
            return Ok(external::succeeding());
        }
        workers.ensure(resource).await?;
        Ok(WorkerState::Running(Site::Process))
    }

    async fn ensure_external(&self, resource: &Arc<WasmProxy>) -> Result<WorkerState, Error> {
        self.stop(&Family::of(resource).uid).await;
        Ok(if self.grant(resource).await? { external::state(resource) } else { external::succeeding() })
    }

    /// Makes room for an External worker, and grants it its resource. Says whether it is alone.
    async fn grant(&self, resource: &WasmProxy) -> Result<bool, Error> {
        let family = Family::of(resource);
        let is_alone = self.children.retire(&family).await?;
        if let Some(account) = external::account(resource) {
            self.children.grant(&family, account).await?;
        }
        Ok(is_alone)
    }
}

/// What is about to be gone is waited for; its end wakes the resource.
fn leaving(error: Error) -> Result<WorkerState, Error> {
    match error {
        Error::Child(error @ ChildError::Leaving { .. }) => Ok(WorkerState::Unavailable(Unavailable {
            status: ConditionStatus::Unknown,
            problem: Problem { reason: Reason::Starting, message: error.to_string() },
            may_report: true,
        })),
        error => Err(error),
    }
}
