//! Workers in Pods of their own: a Deployment for each resource, with a service account that may do no more than the worker
//! needs.
//!
//! ```text
//!   spec, image ──► template ──► deployment ──► change ──► children::bring
//!                                                 │             │
//!                                    rollout ◄────┘             ▼
//!                                        ▲          availability ◄── trouble ◄── Pods
//!                                        └──────────────┘
//! ```
//!
//! - Pure: `template` and `deployment` (what a worker's Pod is to be), `memory` (how much it needs), `change` (who has caused a
//!   difference), `rollout` (whose turn it is), `availability` and `trouble` (how it stands with the Pod, and why).
//! - The rest is here.
//!
//! Only what changes the Pod is in its template: the worker watches its own resource, so that another artifact, channel or
//! broker needs no other Pod.

mod availability;
mod change;
mod deployment;
mod memory;
mod rollout;
mod template;
mod trouble;

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::api::apps::v1::Deployment;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

pub(super) use trouble::matters as pod_matters;

use super::children::{Children, Family, controller_of};
use crate::{
    api::{Phase, WasmProxy},
    controller::{error::Error, summary::WorkerState, watch::Departure},
    resource::{credentials::Credentials, translate::worker_config},
};
use change::{Change, Roller};
use rollout::{Rollout, Turn};

/// How workers in Pods are run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodOptions {
    /// The image of the workers. Its entrypoint is this program.
    pub image: String,
    /// How many workers a change of image, or of anything else that no resource's owner has asked for, may keep from working
    /// at the same time.
    pub rollout: NonZeroUsize,
}

impl PodOptions {
    /// The value of [`Self::rollout`] where nobody says.
    pub const ROLLOUT: NonZeroUsize = NonZeroUsize::new(10).unwrap();
}

/// The workers in Pods.
pub struct Pods {
    children: Arc<Children>,
    image: String,
    rollout: Arc<Mutex<Rollout>>,
    /// Wakes those whose turn it is once all have asked.
    gathering: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl Pods {
    /// Whatever is there already.
    pub fn new(children: Arc<Children>, options: PodOptions) -> Self {
        let PodOptions { image, rollout } = options;
        Self { children, image, rollout: Arc::new(Mutex::new(Rollout::new(rollout))), gathering: Mutex::default() }
    }

    /// See [`Workers::ensure`](super::Workers::ensure).
    pub async fn ensure(&self, resource: &WasmProxy) -> Result<WorkerState, Error> {
        let started = self.start(resource).await;
        let deployment = started.inspect_err(|error| self.give_way(resource, error))?;
        Ok(availability::availability(&deployment, || self.children.pods(&Family::of(resource))))
    }

    /// Ends the worker's Pod, and leaves everything else as it is.
    pub async fn suspend(&self, resource: &WasmProxy) -> Result<(), Error> {
        let brought = self.bring(resource, 0).await;
        brought.map(|_| ()).inspect_err(|error| self.give_way(resource, error))
    }

    /// Whether the worker's Pod is available, whatever may be wrong with other objects.
    pub fn is_available(&self, resource: &WasmProxy) -> bool {
        let deployment = self.children.ours::<Deployment>(&Family::of(resource));
        deployment.is_some_and(|deployment| availability::is_available(&deployment))
    }

    /// Takes the resource out of any rollout.
    pub fn forget(&self, uid: &str) {
        if lock(&self.rollout).leave(uid) {
            wake_next(&self.rollout, &self.children);
        }
    }

    /// See [`Workers::depart`](super::Workers::depart).
    pub fn depart(&self, departure: &Departure) {
        let has_gone = match departure {
            Departure::Of(uid) => lock(&self.rollout).leave(uid),
            Departure::AllBut(uids) => lock(&self.rollout).retain(uids),
        };
        if has_gone {
            wake_next(&self.rollout, &self.children);
        }
    }

    async fn start(&self, resource: &WasmProxy) -> Result<Arc<Deployment>, Error> {
        // The worker would find out, too; but nobody should have to wait for a Pod to hear of it.
        worker_config(resource, Credentials::default())?;
        self.bring(resource, 1).await
    }

    async fn bring(&self, resource: &WasmProxy, replicas: i32) -> Result<Arc<Deployment>, Error> {
        let family = Family::of(resource);
        self.children.identify(&family).await?;
        let found = self.children.find::<Deployment>(&family).await?;
        let mut desired = deployment::deployment(resource, &family, &self.image, replicas)?;
        let change = Change::between(&desired, found.as_deref());
        // A worker that does not work, or is not to, loses nothing.
        let takes_turn =
            change == Change::ByOperator && replicas > 0 && found.as_deref().is_some_and(availability::is_available);
        if let Some(found) = found.as_ref().filter(|_| takes_turn && !self.has_turn(resource, &family)) {
            return Ok(found.clone());
        }
        change.sign(&mut desired, found.as_deref(), takes_turn);
        let brought = self.children.put(desired, found, &family).await?;
        self.account(&family.uid, &brought);
        Ok(brought)
    }

    fn has_turn(&self, resource: &WasmProxy, family: &Family) -> bool {
        let turn = lock(&self.rollout).ask(&family.uid, family.object(), is_busy(resource), Instant::now());
        match turn {
            Turn::Now => {
                info!(resource = %family, "the worker's Pod is replaced, as the controller has changed");
            }
            Turn::Gathering(until) => self.gather(until),
            Turn::Later => wake_next(&self.rollout, &self.children),
        }
        turn == Turn::Now
    }

    /// Keeps the books on who is being rolled.
    fn account(&self, uid: &str, deployment: &Deployment) {
        if is_down(deployment) || !is_operators(deployment) || availability::is_available(deployment) {
            self.forget(uid);
        } else if is_being_rolled(deployment) {
            // Known again after a restart, too, so that a broken image does not get another ten workers then.
            lock(&self.rollout).occupy(uid);
        }
    }

    /// A resource with which something is wrong keeps no other waiting: it asks again once it is tried again.
    fn give_way(&self, resource: &WasmProxy, error: &Error) {
        let family = Family::of(resource);
        let has_waited = lock(&self.rollout).give_way(&family.uid);
        if has_waited {
            wake_next(&self.rollout, &self.children);
        }
        // Where only the API server is at fault, a slot that was given is not used yet.
        if error.reason().is_some() {
            match self.children.ours::<Deployment>(&family) {
                Some(deployment) => self.account(&family.uid, &deployment),
                None => self.forget(&family.uid),
            }
        }
    }

    fn gather(&self, until: Instant) {
        let (rollout, children) = (self.rollout.clone(), self.children.clone());
        let gathering = tokio::spawn(async move {
            sleep_until(until).await;
            // Those that an earlier controller began with have slots already, whether they were reconciled by now or not.
            children.deployments().for_each(|deployment| keep_slot(&rollout, &deployment));
            wake_next(&rollout, &children);
        });
        *self.gathering.lock().unwrap_or_else(PoisonError::into_inner) = Some(AbortOnDropHandle::new(gathering));
    }
}

fn is_down(deployment: &Deployment) -> bool {
    deployment.spec.as_ref().and_then(|spec| spec.replicas) == Some(0)
}

fn is_operators(deployment: &Deployment) -> bool {
    change::roller(deployment) == Some(Roller::Operator)
}

/// Whether its Pod was replaced in a rollout, and has not come up since.
fn is_being_rolled(deployment: &Deployment) -> bool {
    !is_down(deployment)
        && is_operators(deployment)
        && !availability::is_available(deployment)
        && !availability::has_come_up(deployment)
}

/// Gives a worker that is being rolled the slot that it holds.
fn keep_slot(rollout: &Mutex<Rollout>, deployment: &Deployment) {
    if let Some(owner) = controller_of(deployment).filter(|_| is_being_rolled(deployment)) {
        lock(rollout).occupy(&owner.uid);
    }
}

/// Has those reconciled whose turn it is.
fn wake_next(rollout: &Mutex<Rollout>, children: &Children) {
    let next = lock(rollout).next(Instant::now());
    next.into_iter().for_each(|resource| children.wake(resource));
}

fn lock(rollout: &Mutex<Rollout>) -> MutexGuard<'_, Rollout> {
    rollout.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether something is being sent, or about to be.
fn is_busy(resource: &WasmProxy) -> bool {
    let artifacts = resource.status.iter().flat_map(|status| &status.artifacts);
    artifacts.into_iter().any(|artifact| matches!(artifact.phase, Phase::Pending | Phase::Resolving | Phase::Streaming))
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector::ObjectRef;
    use serde_json::{Value, json};

    use super::*;

    /// Whether another worker has to wait for the only slot.
    async fn holds_the_slot(change: impl FnOnce(&mut Value)) -> bool {
        let mut deployment = json!({
            "metadata": {
                "name": "line-wasmproxy", "namespace": "edge", "generation": 2,
                "annotations": {"wasmproxy.io/rolled-by": "operator"},
                "ownerReferences": [{
                    "apiVersion": "wasmproxy.io/v1alpha1", "kind": "WasmProxy", "name": "line", "uid": "1", "controller": true,
                }],
            },
            "spec": {"replicas": 1, "selector": {}, "template": {}},
            "status": {"observedGeneration": 2},
        });
        change(&mut deployment);
        let rollout = Mutex::new(Rollout::new(NonZeroUsize::MIN));
        let other = || ObjectRef::new("other").within("edge");
        lock(&rollout).ask("2", other(), false, Instant::now());
        keep_slot(&rollout, &serde_json::from_value(deployment).unwrap());
        tokio::time::advance(std::time::Duration::from_secs(60)).await;
        lock(&rollout).ask("2", other(), false, Instant::now()) != Turn::Now
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_an_earlier_controller_has_begun_to_roll_keeps_its_slot() {
        assert!(holds_the_slot(|_| {}).await);
        let available = json!({"observedGeneration": 2, "availableReplicas": 1, "updatedReplicas": 1});
        assert!(!holds_the_slot(|deployment| deployment["status"] = available).await);
        assert!(!holds_the_slot(|deployment| deployment["spec"]["replicas"] = json!(0)).await);
        assert!(!holds_the_slot(|deployment| deployment["metadata"]["annotations"] = json!({})).await);
        assert!(!holds_the_slot(|deployment| deployment["metadata"]["ownerReferences"] = json!([])).await);
    }
}
