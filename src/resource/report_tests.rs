use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;

use super::*;
use crate::{
    api::conditions::{ConditionStatus, Reason},
    digest::Digest,
    resource::fixtures::{artifact, at, condition, resource},
    worker::{Failure, FailureReason, RegistryState, Totals},
};

fn connected() -> ConnectionState {
    let since = UNIX_EPOCH + Duration::from_millis(1_500);
    ConnectionState::Connected { version: Version::V5, since, max_packet_size: None }
}

fn progress(artifacts: impl IntoIterator<Item = (&'static str, ArtifactProgress)>) -> Progress {
    Progress {
        generation: 3,
        broker: Some(connected()),
        registry: RegistryState::Ready,
        artifacts: artifacts.into_iter().map(|(reference, artifact)| (reference.to_owned(), artifact)).collect(),
        totals: Totals { completed: 1, failed: 2, chunks: 3, bytes: 4 },
        ..Progress::default()
    }
}

fn streaming(published: u32, total: u32) -> ArtifactProgress {
    ArtifactProgress { published, total, ..artifact(Phase::Streaming) }
}

fn fresh(progress: &Progress) -> WasmProxyStatus {
    report(progress, &WasmProxyStatus::default(), &at(100))
}

#[test]
fn an_artifact_is_reported_with_all_that_is_known_of_it() {
    let artifact = ArtifactProgress {
        digest: Some(Digest::of(b"abc")),
        size: 6_400_000,
        receipts: 2,
        target: "5d41".into(),
        started: Some(UNIX_EPOCH + Duration::from_millis(10_900)),
        ..streaming(6, 13)
    };
    let status = fresh(&progress([("registry.example/wasm/add:1.2", artifact)]));
    assert_eq!(
        serde_json::to_value(&status.artifacts).unwrap(),
        json!([{
            "reference": "registry.example/wasm/add:1.2",
            "digest": Digest::of(b"abc").to_string(),
            "size": 6_400_000,
            "phase": "Streaming",
            "chunks": {"total": 13, "published": 6},
            "receipts": 2,
            "target": "5d41",
            "source": "Declared",
            "startedAt": "1970-01-01T00:00:10Z",
        }])
    );
    assert_eq!((status.progress.as_deref(), status.published.as_deref()), (Some("6/13"), Some("0/1")));
    assert_eq!((status.receipts, status.transfers.unwrap().bytes), (Some(2), 4));
}

#[test]
fn progress_is_that_of_the_passes_under_way_and_at_rest_that_of_what_is_declared() {
    let done = ArtifactProgress { phase: Phase::Published, ..streaming(5, 5) };
    let text = |artifacts: Vec<_>| fresh(&progress(artifacts)).progress;
    assert_eq!(text(vec![("a", done.clone()), ("b", streaming(6, 13))]).as_deref(), Some("6/13"));
    assert_eq!(text(vec![("a", done)]).as_deref(), Some("5/5"));
    assert_eq!(text(vec![("a", artifact(Phase::Pending))]), None);
}

#[test]
fn declared_artifacts_come_first_and_the_list_is_bounded() {
    let mut progress = progress([("z", artifact(Phase::Published))]);
    for n in 0..100 {
        let requested = ArtifactProgress { source: Source::Requested, ..artifact(Phase::Published) };
        progress.artifacts.insert(format!("a{n}"), requested);
    }
    let artifacts = fresh(&progress).artifacts;
    assert_eq!((artifacts.len(), artifacts[0].reference.as_str()), (STATUS_ARTIFACTS_MAX, "z"));
}

#[test]
fn a_long_message_is_cut_at_a_character() {
    let failure = Failure { reason: FailureReason::ArtifactNotFound, message: "é".repeat(2_000) };
    let status = fresh(&progress([("a", ArtifactProgress { failure: Some(failure), ..artifact(Phase::Failed) })]));
    assert_eq!(status.artifacts[0].message.as_ref().map(|text| text.chars().count()), Some(MESSAGE_MAX));
}

#[test]
fn conditions_are_said_of_the_generation_that_the_worker_acts_on() {
    for condition in fresh(&progress([])).conditions {
        assert_eq!((condition.observed_generation, condition.last_transition_time), (Some(3), at(100)));
    }
}

#[test]
fn the_same_progress_a_moment_later_is_the_same_report() {
    let progress = progress([("a", streaming(6, 13))]);
    let before = fresh(&progress);
    assert_eq!(report(&progress, &before, &at(200)), before);
}

#[test]
fn what_the_api_server_gives_back_is_what_was_written() {
    let status = fresh(&progress([("a", streaming(6, 13))]));
    let returned: WasmProxyStatus = serde_json::from_value(serde_json::to_value(&status).unwrap()).unwrap();
    assert_eq!(worker_part(&returned), status);
}

#[test]
fn the_workers_part_leaves_out_what_is_the_controllers() {
    let ours = condition(ConditionType::BrokerConnected, ConditionStatus::True, Reason::Connected);
    let theirs = condition(ConditionType::Ready, ConditionStatus::True, Reason::Succeeded);
    let mut resource = resource(&json!({}));
    resource.status = Some(WasmProxyStatus {
        observed_generation: Some(3),
        conditions: vec![theirs, ours.clone()],
        progress: Some("6/13".into()),
        ..WasmProxyStatus::default()
    });
    let part = worker_part(resource.status.as_ref().unwrap());
    assert_eq!((part.observed_generation, part.conditions), (None, vec![ours]));
    assert_eq!(part.progress.as_deref(), Some("6/13"));
}

#[test]
fn a_request_that_was_handled_is_repeated() {
    let status = fresh(&Progress { handled: Some("now".to_owned()), ..progress([]) });
    assert_eq!(status.last_handled_reconcile_at.as_deref(), Some("now"));
    assert_eq!(worker_part(&status), status);
}
