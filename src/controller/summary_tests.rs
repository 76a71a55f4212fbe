use serde_json::json;

use super::*;
use crate::resource::fixtures::{at, condition, resource};

use ConditionStatus::{False, True, Unknown};
use ConditionType::{ArtifactsPublished, BrokerConnected, Ready, Reconciling, RegistryReady, Stalled, WorkerAvailable};

fn with(conditions: Vec<Condition>) -> WasmProxy {
    let mut resource = resource(&json!({}));
    resource.status = Some(WasmProxyStatus { conditions, ..WasmProxyStatus::default() });
    resource
}

fn healthy() -> Vec<Condition> {
    vec![
        condition(BrokerConnected, True, Reason::Connected),
        condition(RegistryReady, True, Reason::Succeeded),
        condition(ArtifactsPublished, True, Reason::Succeeded),
    ]
}

/// The healthy conditions with one of them replaced.
fn except(replaced: &Condition) -> Vec<Condition> {
    healthy()
        .into_iter()
        .map(|healthy| if healthy.type_ == replaced.type_ { replaced.clone() } else { healthy })
        .collect()
}

fn summed(conditions: Vec<Condition>) -> Vec<Condition> {
    summary(&with(conditions), &WorkerState::Running(Site::Process), &at(100)).conditions
}

fn said(conditions: &[Condition], about: ConditionType) -> Option<(&str, &str)> {
    find(conditions, about).map(|condition| (condition.status.as_str(), condition.reason.as_str()))
}

fn problem(reason: Reason) -> Problem {
    Problem { reason, message: "do something".into() }
}

#[test]
fn all_is_well_when_all_three_say_so() {
    let conditions = summed(healthy());
    assert_eq!(said(&conditions, Ready), Some(("True", "Succeeded")));
    assert_eq!(said(&conditions, WorkerAvailable), Some(("True", "Succeeded")));
    assert_eq!((said(&conditions, Reconciling), said(&conditions, Stalled)), (None, None));
    assert_eq!(conditions.len(), 2, "the worker's conditions are the worker's");
}

#[test]
fn that_nobody_listens_is_said_of_what_is_ready() {
    let conditions = summed(except(&condition(ArtifactsPublished, True, Reason::NoSubscribers)));
    let ready = find(&conditions, Ready).unwrap();
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("True", "NoSubscribers"));
    assert_eq!(ready.message, "ArtifactsPublished is NoSubscribers");
}

#[test]
fn a_broker_that_carries_no_notices_does_not_matter_to_what_is_ready() {
    let conditions = summed(except(&condition(BrokerConnected, True, Reason::NoticesDenied)));
    assert_eq!(said(&conditions, Ready), Some(("True", "Succeeded")));
}

#[test]
fn a_fresh_object_is_reconciling_and_not_ready() {
    let conditions = summary(&resource(&json!({})), &WorkerState::Running(Site::Process), &at(100)).conditions;
    assert_eq!(said(&conditions, Ready), Some(("Unknown", "Progressing")));
    assert_eq!(said(&conditions, Reconciling), Some(("True", "Progressing")));
}

#[test]
fn what_was_said_of_an_earlier_generation_does_not_count() {
    for index in 0..3 {
        let mut conditions = healthy();
        conditions[index].observed_generation = Some(2);
        assert_eq!(said(&summed(conditions), Ready), Some(("Unknown", "Progressing")), "{index}");
    }
}

#[test]
fn what_is_not_known_yet_is_progressing_with_its_message() {
    for about in [BrokerConnected, RegistryReady, ArtifactsPublished] {
        let conditions = summed(except(&condition(about, Unknown, Reason::Progressing)));
        let ready = find(&conditions, Ready).unwrap();
        assert_eq!((ready.status.as_str(), ready.message.clone()), ("Unknown", format!("{about} is Progressing")));
        assert!(find(&conditions, Reconciling).is_some());
    }
}

#[test]
fn a_registry_that_nobody_has_asked_does_not_matter() {
    let conditions = summed(except(&condition(RegistryReady, Unknown, Reason::NothingDeclared)));
    assert_eq!(said(&conditions, Ready), Some(("True", "Succeeded")));
}

#[test]
fn what_is_wrong_is_said_with_its_reason_and_message() {
    for (about, reason) in [
        (BrokerConnected, Reason::BrokerUnauthorized),
        (RegistryReady, Reason::RegistryUnreachable),
        (ArtifactsPublished, Reason::ArtifactNotFound),
    ] {
        let conditions = summed(except(&condition(about, False, reason)));
        let ready = find(&conditions, Ready).unwrap();
        assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", reason.as_str()));
        assert_eq!(ready.message, format!("{about} is {reason}"));
        assert_eq!((said(&conditions, Reconciling), said(&conditions, Stalled)), (None, None));
    }
}

#[test]
fn the_broker_comes_before_the_registry_and_that_before_the_artifacts() {
    let all = vec![
        condition(ArtifactsPublished, False, Reason::ArtifactNotFound),
        condition(RegistryReady, False, Reason::RegistryUnreachable),
        condition(BrokerConnected, False, Reason::BrokerUnreachable),
    ];
    assert_eq!(said(&summed(all.clone()), Ready), Some(("False", "BrokerUnreachable")));
    assert_eq!(said(&summed(all[..2].to_vec()), Ready), Some(("False", "RegistryUnreachable")));
}

#[test]
fn only_what_no_retry_can_mend_is_stalled() {
    let conditions = summed(except(&condition(ArtifactsPublished, False, Reason::UnsupportedArtifact)));
    assert_eq!(said(&conditions, Stalled), Some(("True", "UnsupportedArtifact")));
    let conditions = summary(&with(vec![]), &WorkerState::Absent(problem(Reason::InvalidSpec)), &at(100)).conditions;
    assert_eq!(said(&conditions, Stalled), Some(("True", "InvalidSpec")));
}

#[test]
fn a_suspended_resource_is_not_ready_and_its_worker_knows_nothing() {
    let conditions = summary(&with(healthy()), &WorkerState::Suspended, &at(100)).conditions;
    assert_eq!(said(&conditions, Ready), Some(("False", "Suspended")));
    assert_eq!(said(&conditions, WorkerAvailable), Some(("False", "Suspended")));
    for about in [BrokerConnected, RegistryReady, ArtifactsPublished] {
        assert_eq!(said(&conditions, about), Some(("Unknown", "WorkerUnavailable")), "{about}");
    }
}

#[test]
fn a_worker_that_cannot_start_says_why() {
    let worker = WorkerState::Absent(problem(Reason::SecretNotFound));
    let conditions = summary(&with(healthy()), &worker, &at(100)).conditions;
    assert_eq!(said(&conditions, Ready), Some(("False", "SecretNotFound")));
    assert_eq!(said(&conditions, WorkerAvailable), Some(("False", "SecretNotFound")));
    assert_eq!(said(&conditions, BrokerConnected), Some(("Unknown", "WorkerUnavailable")));
    assert_eq!(said(&conditions, Stalled), None);
}

#[test]
fn a_worker_that_goes_on_with_what_it_has_is_available_and_not_ready() {
    let worker = WorkerState::Outdated(Site::Process, problem(Reason::SecretNotFound));
    let conditions = summary(&with(healthy()), &worker, &at(100)).conditions;
    assert_eq!(said(&conditions, Ready), Some(("False", "SecretNotFound")));
    assert_eq!(said(&conditions, WorkerAvailable), Some(("True", "Succeeded")));
    assert_eq!(said(&conditions, BrokerConnected), None, "the worker's conditions are the worker's");
}

#[test]
fn nothing_is_to_be_written_once_it_has_been() {
    let mut resource = with(healthy());
    let part = summary(&resource, &WorkerState::Running(Site::Process), &at(100));
    assert!(!is_said(&part, resource.status.as_ref().unwrap()));
    let status = resource.status.as_mut().unwrap();
    status.observed_generation = part.observed_generation;
    status.conditions.extend(part.conditions);
    assert!(is_said(
        &summary(&resource, &WorkerState::Running(Site::Process), &at(200)),
        resource.status.as_ref().unwrap()
    ));
}

#[test]
fn a_condition_that_is_over_is_taken_back() {
    for about in [Reconciling, Stalled] {
        let mut resource = with(healthy());
        let part = summary(&resource, &WorkerState::Running(Site::Process), &at(100));
        let status = resource.status.as_mut().unwrap();
        status.observed_generation = part.observed_generation;
        status.conditions.extend(part.conditions.clone());
        status.conditions.push(condition(about, True, Reason::Progressing));
        assert!(!is_said(&part, resource.status.as_ref().unwrap()), "{about}");
    }
}

fn unavailable(status: ConditionStatus, reason: Reason, may_report: bool) -> WorkerState {
    WorkerState::Unavailable(Unavailable { status, problem: problem(reason), may_report })
}

#[test]
fn a_worker_that_is_being_started_is_reconciling_and_one_that_does_not_come_up_is_not() {
    let starting = unavailable(Unknown, Reason::Starting, false);
    let conditions = summary(&with(vec![]), &starting, &at(100)).conditions;
    assert_eq!(said(&conditions, WorkerAvailable), Some(("Unknown", "Starting")));
    assert_eq!(said(&conditions, Ready), Some(("Unknown", "Progressing")));
    assert_eq!(said(&conditions, Reconciling), Some(("True", "Progressing")));

    let failing = unavailable(False, Reason::ImagePullFailed, false);
    let conditions = summary(&with(vec![]), &failing, &at(100)).conditions;
    assert_eq!(said(&conditions, WorkerAvailable), Some(("False", "ImagePullFailed")));
    assert_eq!(said(&conditions, Ready), Some(("False", "ImagePullFailed")));
    assert_eq!((said(&conditions, Reconciling), said(&conditions, Stalled)), (None, None));
}

#[test]
fn a_worker_that_goes_knows_nothing_until_it_says_something_again() {
    let mut before = healthy();
    before.push(condition(WorkerAvailable, True, Reason::Succeeded));
    let takes = |conditions: Vec<Condition>, may_report| {
        let worker = unavailable(Unknown, Reason::Starting, may_report);
        find(&summary(&with(conditions), &worker, &at(100)).conditions, BrokerConnected).is_some()
    };
    assert!(takes(before.clone(), true), "it was there a moment ago");
    before[3] = condition(WorkerAvailable, Unknown, Reason::Starting);
    assert!(takes(before.clone(), false), "nobody is there to say this");
    assert!(!takes(before, true), "it has said this since");
    let silent = [BrokerConnected, RegistryReady, ArtifactsPublished]
        .map(|about| condition(about, Unknown, Reason::WorkerUnavailable));
    assert!(takes(silent.to_vec(), true), "what was taken stays so");
}

#[test]
fn an_external_worker_that_reports_is_summed_up_like_any_other() {
    let conditions = summary(&with(healthy()), &WorkerState::Running(Site::External), &at(100)).conditions;
    assert_eq!(said(&conditions, Ready), Some(("True", "Succeeded")));
    assert_eq!(said(&conditions, WorkerAvailable), Some(("True", "ExternalWorker")));
}

#[test]
fn what_was_taken_is_said_on_until_the_worker_takes_it_back() {
    let taken = |about| condition(about, Unknown, Reason::WorkerUnavailable);
    let before =
        vec![taken(BrokerConnected), condition(RegistryReady, True, Reason::Succeeded), taken(ArtifactsPublished)];
    let conditions = summed(before.clone());
    assert_eq!(find(&conditions, BrokerConnected), Some(&before[0]));
    assert_eq!((find(&conditions, RegistryReady), find(&conditions, ArtifactsPublished)), (None, Some(&before[2])));
    let ready = find(&conditions, Ready).unwrap();
    assert_eq!((ready.status.as_str(), ready.message.as_str()), ("Unknown", "the worker has not reported yet"));
}
