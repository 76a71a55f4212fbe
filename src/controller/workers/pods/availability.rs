//! How it stands with the worker's Pod, by what its Deployment says.

use std::sync::Arc;

use k8s_openapi::api::{
    apps::v1::{Deployment, DeploymentCondition},
    core::v1::Pod,
};

use super::trouble::{may_run, trouble};
use crate::{
    api::conditions::{ConditionStatus, Reason},
    controller::summary::{Problem, Site, Unavailable, WorkerState},
};

/// What to say of the worker of this Deployment; its Pods matter only where it is not available.
pub(super) fn availability(deployment: &Deployment, pods: impl FnOnce() -> Vec<Arc<Pod>>) -> WorkerState {
    if is_available(deployment) {
        return WorkerState::Running(Site::Pod);
    }
    let pods = pods();
    let trouble = refused(deployment).or_else(|| trouble(&pods, image(deployment))).or_else(|| overdue(deployment));
    let (status, problem) = match trouble {
        Some(problem) => (ConditionStatus::False, problem),
        None => {
            let message = "the worker's Pod is being started".to_owned();
            (ConditionStatus::Unknown, Problem { reason: Reason::Starting, message })
        }
    };
    WorkerState::Unavailable(Unavailable { status, problem, may_report: pods.iter().any(|pod| may_run(pod)) })
}

/// Whether its Pod is ready, and as the Deployment says by now.
pub(super) fn is_available(deployment: &Deployment) -> bool {
    let Some(status) = &deployment.status else { return false };
    is_observed(deployment)
        && status.available_replicas.unwrap_or_default() > 0
        && status.updated_replicas.unwrap_or_default() > 0
}

/// Whether its Pod has been ready since its template last changed.
pub(super) fn has_come_up(deployment: &Deployment) -> bool {
    let progress = condition(deployment, "Progressing").and_then(|progress| progress.reason.as_deref());
    is_available(deployment) || is_observed(deployment) && progress == Some("NewReplicaSetAvailable")
}

/// Whether its status is about what it says by now.
fn is_observed(deployment: &Deployment) -> bool {
    let observed = deployment.status.as_ref().and_then(|status| status.observed_generation);
    observed >= deployment.metadata.generation
}

/// Where no Pod may be made at all.
fn refused(deployment: &Deployment) -> Option<Problem> {
    let failure = condition(deployment, "ReplicaFailure").filter(|failure| failure.status == "True")?;
    let said = failure.message.as_deref().unwrap_or_default();
    // Without the name of the Pod, which is another one each time.
    let why = said.split_once(" is forbidden: ").map_or(said, |(_, why)| why);
    Some(Problem { reason: Reason::PodRefused, message: format!("no Pod can be made for the worker: {why}") })
}

/// Where nothing is known to be wrong, and it still takes too long.
fn overdue(deployment: &Deployment) -> Option<Problem> {
    let progress = condition(deployment, "Progressing")?;
    let name = deployment.metadata.name.as_deref().unwrap_or_default();
    let message =
        format!("the worker's Pod does not become ready; see the events and the log of Deployment {name}'s Pod");
    (progress.status == "False").then_some(Problem { reason: Reason::WorkerNotReady, message })
}

fn condition<'a>(deployment: &'a Deployment, about: &str) -> Option<&'a DeploymentCondition> {
    let conditions = deployment.status.as_ref()?.conditions.as_deref()?;
    conditions.iter().find(|condition| condition.type_ == about)
}

/// The image that the worker is to have.
fn image(deployment: &Deployment) -> &str {
    let pod = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    pod.and_then(|pod| pod.containers.first()?.image.as_deref()).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value, reason = "`json!` reads better without a reference in front")]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn deployment(status: Value) -> Deployment {
        let template = json!({"spec": {"containers": [{"name": "worker", "image": "image:1"}]}});
        serde_json::from_value(json!({
            "metadata": {"name": "line-wasmproxy", "generation": 3},
            "spec": {"selector": {}, "template": template},
            "status": status,
        }))
        .unwrap()
    }

    fn unavailable(status: Value) -> (ConditionStatus, Problem) {
        match availability(&deployment(status), Vec::new) {
            WorkerState::Unavailable(Unavailable { status, problem, may_report: false }) => (status, problem),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_pod_that_is_ready_runs_the_worker() {
        let status = json!({"observedGeneration": 3, "availableReplicas": 1, "updatedReplicas": 1});
        assert_eq!(availability(&deployment(status), Vec::new), WorkerState::Running(Site::Pod));
    }

    #[test]
    fn a_pod_of_an_earlier_template_does_not_count() {
        for status in [
            json!({"observedGeneration": 2, "availableReplicas": 1, "updatedReplicas": 1}),
            json!({"observedGeneration": 3, "availableReplicas": 1}),
            json!({"observedGeneration": 3, "updatedReplicas": 1}),
            json!({}),
        ] {
            let (status, problem) = unavailable(status);
            assert_eq!((status, problem.reason), (ConditionStatus::Unknown, Reason::Starting));
        }
    }

    #[test]
    fn a_pod_that_may_not_be_made_is_said_with_its_reason_and_without_its_name() {
        let message = "pods \"line-wasmproxy-5d4f-x7k2p\" is forbidden: exceeded quota: pods, used: 1, limited: 1";
        let failure = json!({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message});
        let (status, problem) = unavailable(json!({"observedGeneration": 3, "conditions": [failure]}));
        assert_eq!((status, problem.reason), (ConditionStatus::False, Reason::PodRefused));
        assert_eq!(problem.message, "no Pod can be made for the worker: exceeded quota: pods, used: 1, limited: 1");
    }

    #[test]
    fn a_pod_that_takes_too_long_is_said_to() {
        let overdue = json!({"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"});
        let (status, problem) = unavailable(json!({"observedGeneration": 3, "conditions": [overdue]}));
        assert_eq!((status, problem.reason), (ConditionStatus::False, Reason::WorkerNotReady));
        assert!(problem.message.contains("line-wasmproxy"), "{}", problem.message);
    }

    #[test]
    fn a_pod_has_come_up_once_its_replica_set_has_been_available() {
        let status = |generation: i64, reason: &str| {
            let progress = json!({"type": "Progressing", "status": "True", "reason": reason});
            deployment(json!({"observedGeneration": generation, "conditions": [progress]}))
        };
        assert!(has_come_up(&status(3, "NewReplicaSetAvailable")));
        assert!(!has_come_up(&status(2, "NewReplicaSetAvailable")));
        assert!(!has_come_up(&status(3, "ReplicaSetUpdated")));
    }
}
