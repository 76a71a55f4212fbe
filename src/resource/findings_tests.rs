use std::time::SystemTime;

use super::*;
use crate::{mqtt::Version, resource::fixtures::artifact, worker::Phase};

const GENERATION: i64 = 3;

fn progress(artifacts: impl IntoIterator<Item = ArtifactProgress>) -> Progress {
    let artifacts = artifacts.into_iter().enumerate().map(|(n, artifact)| (format!("registry.example/{n}"), artifact));
    Progress { generation: GENERATION, artifacts: artifacts.collect(), ..Progress::default() }
}

fn connected(state: ConnectionState) -> Finding {
    broker_connected(&Progress { broker: Some(state), ..Progress::default() })
}

fn connecting(kind: FailureKind) -> Finding {
    let failure = ConnectFailure { kind, message: "look at the broker".into() };
    connected(ConnectionState::Connecting { failure: Some(failure), attempts: 7 })
}

fn failing(reason: FailureReason, message: &str) -> ArtifactProgress {
    ArtifactProgress { failure: Some(Failure { reason, message: message.into() }), ..artifact(Phase::Failed) }
}

fn published(progress: &Progress) -> (ConditionStatus, Reason) {
    let finding = artifacts_published(progress);
    (finding.status, finding.reason)
}

#[test]
fn a_connection_that_stands_is_true() {
    let state = ConnectionState::Connected { version: Version::V5, since: SystemTime::now(), max_packet_size: None };
    let finding = connected(state);
    assert_eq!((finding.status, finding.reason), (ConditionStatus::True, Reason::Connected));
}

#[test]
fn a_connection_that_carries_no_notices_is_true_and_says_which_topics_to_allow() {
    let state = ConnectionState::Connected { version: Version::V5, since: SystemTime::now(), max_packet_size: None };
    let denied = |state| Progress {
        broker: Some(state),
        denied_notices: ["t/complete", "t/error"].map(str::to_owned).into(),
        ..Progress::default()
    };
    let finding = broker_connected(&denied(state));
    assert_eq!((finding.status, finding.reason), (ConditionStatus::True, Reason::NoticesDenied));
    assert!(finding.message.contains("t/complete and t/error"), "{}", finding.message);
    let lost = broker_connected(&denied(ConnectionState::Connecting { failure: None, attempts: 0 }));
    assert_eq!(lost.reason, Reason::Connecting);
}

#[test]
fn before_the_first_attempt_has_ended_nobody_knows_of_the_broker() {
    for progress in [None, Some(ConnectionState::Connecting { failure: None, attempts: 0 })] {
        let finding = broker_connected(&Progress { broker: progress, ..Progress::default() });
        assert_eq!((finding.status, finding.reason), (ConditionStatus::Unknown, Reason::Connecting));
    }
}

#[test]
fn each_way_of_not_reaching_the_broker_has_its_reason_and_the_brokers_own_message() {
    for (kind, reason) in [
        (FailureKind::Unreachable, Reason::BrokerUnreachable),
        (FailureKind::Lost, Reason::BrokerUnreachable),
        (FailureKind::Unauthorized, Reason::BrokerUnauthorized),
        (FailureKind::SubscriptionDenied, Reason::BrokerUnauthorized),
        (FailureKind::Tls, Reason::BrokerTlsFailed),
        (FailureKind::Protocol, Reason::BrokerProtocolUnsupported),
        (FailureKind::Refused, Reason::BrokerRejected),
        (FailureKind::TakenOver, Reason::SessionTakenOver),
    ] {
        let finding = connecting(kind);
        assert_eq!((finding.status, finding.reason), (ConditionStatus::False, reason));
        assert_eq!(finding.message, "look at the broker");
    }
}

#[test]
fn the_number_of_attempts_is_not_in_the_message() {
    let failure = || Some(ConnectFailure { kind: FailureKind::Unreachable, message: "unreachable".into() });
    let after = |attempts| connected(ConnectionState::Connecting { failure: failure(), attempts });
    assert_eq!(after(1), after(2));
}

#[test]
fn the_registry_is_unknown_until_it_is_asked() {
    let reason = |progress: &Progress| registry_ready(progress).reason;
    assert_eq!(reason(&progress([])), Reason::NothingDeclared);
    assert_eq!(reason(&progress([artifact(Phase::Pending)])), Reason::Progressing);
}

#[test]
fn the_registry_is_what_it_said_last() {
    let registry = |registry| registry_ready(&Progress { registry, ..Progress::default() });
    assert_eq!(registry(RegistryState::Ready).status, ConditionStatus::True);
    let failure = Failure { reason: FailureReason::RegistryUnauthorized, message: "correct the credentials".into() };
    let finding = registry(RegistryState::Failed(failure));
    assert_eq!((finding.status, finding.reason), (ConditionStatus::False, Reason::RegistryUnauthorized));
    assert_eq!(finding.message, "correct the credentials");
}

#[test]
fn every_failure_has_a_reason_and_its_place_among_the_worst() {
    for reason in WORST_FIRST {
        let (status, said) = published(&progress([failing(reason, "")]));
        assert_eq!(status, ConditionStatus::False, "{reason:?}");
        let expected = if reason == FailureReason::InvalidConfiguration {
            "InvalidSpec".to_owned()
        } else {
            format!("{reason:?}")
        };
        assert_eq!(said.as_str(), expected);
    }
}

#[test]
fn the_worst_failure_is_said_and_that_there_are_more() {
    let progress = progress([
        artifact(Phase::Published),
        failing(FailureReason::RegistryUnreachable, "registry.example is not available"),
        failing(FailureReason::ArtifactNotFound, "wasm/add:1.2 was not found: push it"),
    ]);
    let finding = artifacts_published(&progress);
    assert_eq!((finding.status, finding.reason), (ConditionStatus::False, Reason::ArtifactNotFound));
    assert!(finding.message.starts_with("wasm/add:1.2 was not found: push it; it is not the only one"));
}

#[test]
fn a_failure_is_said_while_it_is_tried_again_but_not_of_what_was_published_before() {
    let failure = failing(FailureReason::ArtifactNotFound, "").failure;
    for phase in [Phase::Pending, Phase::Resolving, Phase::Streaming] {
        let retried = ArtifactProgress { failure: failure.clone(), ..artifact(phase) };
        assert_eq!(published(&progress([retried])), (ConditionStatus::False, Reason::ArtifactNotFound));
    }
    let published_before = ArtifactProgress { failure, ..artifact(Phase::Published) };
    assert_eq!(published(&progress([published_before])), (ConditionStatus::True, Reason::Succeeded));
}

#[test]
fn artifacts_are_published_when_all_declared_ones_are() {
    assert_eq!(published(&progress([])), (ConditionStatus::True, Reason::NothingDeclared));
    assert_eq!(published(&progress([artifact(Phase::Published)])), (ConditionStatus::True, Reason::Succeeded));
    for phase in [Phase::Pending, Phase::Resolving, Phase::Streaming] {
        let progress = progress([artifact(Phase::Published), artifact(phase)]);
        assert_eq!(published(&progress), (ConditionStatus::Unknown, Reason::Progressing), "{phase:?}");
    }
}

#[test]
fn an_artifact_counts_as_published_while_it_is_sent_again_and_not_while_its_target_is_another() {
    let again = ArtifactProgress { phase: Phase::Streaming, ..artifact(Phase::Published) };
    assert_eq!(published(&progress([again])), (ConditionStatus::True, Reason::Succeeded));
    let elsewhere = ArtifactProgress { completed: None, ..artifact(Phase::Published) };
    assert_eq!(published(&progress([elsewhere])), (ConditionStatus::Unknown, Reason::Progressing));
}

#[test]
fn what_devices_asked_for_does_not_matter() {
    let requested = ArtifactProgress { source: Source::Requested, ..failing(FailureReason::ArtifactNotFound, "") };
    let progress = progress([artifact(Phase::Published), requested]);
    assert_eq!(published(&progress), (ConditionStatus::True, Reason::Succeeded));
}

#[test]
fn a_tag_that_moves_leaves_it_true_and_a_new_generation_does_not() {
    let settled = |generation| Progress { settled: Some(generation), ..progress([artifact(Phase::Streaming)]) };
    assert_eq!(published(&settled(GENERATION)), (ConditionStatus::True, Reason::Succeeded));
    assert_eq!(published(&settled(GENERATION - 1)), (ConditionStatus::Unknown, Reason::Progressing));
}

#[test]
fn a_broker_that_knows_of_no_subscriber_says_so() {
    for phase in [Phase::Published, Phase::Streaming] {
        let unheard = ArtifactProgress { no_subscribers: true, ..artifact(phase) };
        let progress = Progress { settled: Some(GENERATION), ..progress([unheard]) };
        assert_eq!(published(&progress), (ConditionStatus::True, Reason::NoSubscribers), "{phase:?}");
    }
}

#[test]
fn metrics_call_a_failure_what_conditions_call_it() {
    // A configuration that cannot be used fails before anything is sent.
    for reason in WORST_FIRST.into_iter().filter(|reason| *reason != FailureReason::InvalidConfiguration) {
        assert_eq!(format!("{reason:?}"), failure_reason(reason).as_str());
    }
}
