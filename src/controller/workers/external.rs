//! Workers that somebody else runs, as a sidecar say: the controller grants them their resource, and believes what they
//! report there.

use kube::ResourceExt as _;

use crate::{
    api::{
        WasmProxy,
        conditions::{ConditionStatus, ConditionType, Reason, find},
    },
    controller::summary::{Problem, Site, Unavailable, WorkerState, has_spoken},
};

/// The service account that an External worker runs as.
pub(super) fn account(resource: &WasmProxy) -> Option<&str> {
    resource.spec.worker.as_ref()?.service_account_name.as_deref()
}

/// Whether the worker reports. What is in the status from before it was External says nothing about it; it is taken away
/// first, and a worker that is there says it again.
pub(super) fn reports(resource: &WasmProxy) -> bool {
    let conditions = resource.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let was_external = find(conditions, ConditionType::WorkerAvailable).is_some_and(|available| {
        [Reason::ExternalWorker, Reason::WorkerUnavailable].iter().any(|reason| reason.as_str() == available.reason)
    });
    was_external && has_spoken(conditions)
}

/// How it stands with the External worker of `resource`.
pub(super) fn state(resource: &WasmProxy) -> WorkerState {
    if reports(resource) {
        return WorkerState::Running(Site::External);
    }
    let (name, account) = (resource.name_any(), account(resource).unwrap_or_default());
    let message = format!(
        "no External worker reports: run `wasmproxy worker --resource {name}` in a Pod of this namespace, \
         as service account {account}"
    );
    let problem = Problem { reason: Reason::WorkerUnavailable, message };
    WorkerState::Unavailable(Unavailable { status: ConditionStatus::Unknown, problem, may_report: false })
}

/// While a worker that the controller has run is still there.
pub(super) fn succeeding() -> WorkerState {
    let message = "the worker that the controller has run in a Pod is being stopped".to_owned();
    let problem = Problem { reason: Reason::Starting, message };
    WorkerState::Unavailable(Unavailable { status: ConditionStatus::Unknown, problem, may_report: true })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
    use serde_json::json;

    use super::*;
    use crate::{
        api::WasmProxyStatus,
        resource::fixtures::{condition, resource},
    };
    use ConditionStatus::{True, Unknown};
    use ConditionType::{BrokerConnected, WorkerAvailable};

    fn with(conditions: Vec<Condition>) -> WasmProxy {
        let worker = json!({"management": "External", "serviceAccountName": "gateway"});
        let mut resource = resource(&json!({"worker": worker}));
        resource.status = Some(WasmProxyStatus { conditions, ..WasmProxyStatus::default() });
        resource
    }

    #[test]
    fn nobody_has_reported_to_a_fresh_resource_and_it_says_what_to_run() {
        let WorkerState::Unavailable(unavailable) = state(&with(vec![])) else { panic!() };
        assert_eq!((unavailable.status, unavailable.problem.reason), (Unknown, Reason::WorkerUnavailable));
        let message = unavailable.problem.message;
        assert!(message.contains("wasmproxy worker --resource factory-floor"), "{message}");
        assert!(message.ends_with("service account gateway"), "{message}");
    }

    #[test]
    fn what_a_worker_of_ours_has_left_behind_is_no_report() {
        let connected = condition(BrokerConnected, True, Reason::Connected);
        for reason in [Reason::Succeeded, Reason::Starting, Reason::Suspended] {
            let before = condition(WorkerAvailable, True, reason);
            assert!(!reports(&with(vec![before, connected.clone()])), "{reason}");
        }
        assert!(!reports(&with(vec![connected])));
    }

    #[test]
    fn a_worker_that_reports_is_there_until_it_says_that_it_goes() {
        for (status, reason) in [(Unknown, Reason::WorkerUnavailable), (True, Reason::ExternalWorker)] {
            let before = condition(WorkerAvailable, status, reason);
            let connected = condition(BrokerConnected, True, Reason::Connected);
            let reporting = with(vec![before.clone(), connected]);
            assert_eq!(state(&reporting), WorkerState::Running(Site::External));
            let gone = condition(BrokerConnected, Unknown, Reason::WorkerUnavailable);
            assert!(!reports(&with(vec![before, gone])), "{reason}");
        }
    }
}
