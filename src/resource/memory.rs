//! What a resource's status says of an earlier worker's deeds, as the next one's memory.

use std::{collections::HashMap, time::SystemTime};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::translate::qualified;
use crate::{
    api::{
        self, ArtifactStatus, WasmProxy, WasmProxyStatus,
        conditions::{ConditionStatus, ConditionType, find},
    },
    worker::{ArtifactProgress, Phase, Progress, Source, Totals},
};

/// What the worker of `resource` is to remember: what was published, so that it is not sent again, and all counters.
///
/// What was under way, or had failed, is not remembered but done anew. A status that nobody has written, or that cannot be
/// read, is no memory.
pub fn memory(resource: &WasmProxy) -> Progress {
    let Some(status) = &resource.status else { return Progress::default() };
    let names = declared_names(resource);
    // One that was published stays so while it is sent again to who asks.
    let is_published =
        |artifact: &&ArtifactStatus| artifact.phase == api::Phase::Published || artifact.completed_at.is_some();
    let artifacts = status.artifacts.iter().filter(is_published).filter_map(|artifact| {
        let name = names.get(&artifact.reference).copied().unwrap_or(&artifact.reference);
        Some((artifact.reference.clone(), published_artifact(artifact, name)?))
    });
    Progress {
        artifacts: artifacts.collect(),
        totals: totals(status),
        settled: settled(status),
        handled: status.last_handled_reconcile_at.clone(),
        ..Progress::default()
    }
}

/// What the spec calls each artifact, by its fully qualified reference.
fn declared_names(resource: &WasmProxy) -> HashMap<String, &str> {
    let written = resource.spec.artifacts.iter().map(|artifact| artifact.reference.as_str());
    written.filter_map(|text| Some((qualified(text, &resource.spec).ok()?.to_string(), text))).collect()
}

fn published_artifact(status: &ArtifactStatus, app_name: &str) -> Option<ArtifactProgress> {
    let source = match status.source {
        api::Source::Declared => Source::Declared,
        api::Source::Requested => Source::Requested,
    };
    let total = u32::try_from(status.chunks?.total).ok()?;
    Some(ArtifactProgress {
        phase: Phase::Published,
        digest: Some(status.digest.as_ref()?.parse().ok()?),
        size: status.size?,
        total,
        published: total,
        receipts: u32::try_from(status.receipts).unwrap_or(u32::MAX),
        target: status.target.clone().unwrap_or_default(),
        started: status.started_at.as_ref().map(system_time),
        completed: status.completed_at.as_ref().map(system_time),
        ..ArtifactProgress::new(app_name, source)
    })
}

fn totals(status: &WasmProxyStatus) -> Totals {
    let transfers = status.transfers.unwrap_or_default();
    let api::TransferStatus { completed, failed, chunks, bytes } = transfers;
    Totals { completed, failed, chunks, bytes }
}

/// The generation whose artifacts have all been published, so far as the condition says it.
fn settled(status: &WasmProxyStatus) -> Option<i64> {
    find(&status.conditions, ConditionType::ArtifactsPublished)
        .filter(|condition| condition.status == ConditionStatus::True.as_str())?
        .observed_generation
}

fn system_time(time: &Time) -> SystemTime {
    time.0.into()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::resource::{api_server::now, fixtures::resource, report::report};

    const DIGEST: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn remembered(status: &Value) -> Progress {
        let mut resource = resource(&json!({"artifacts": [{"reference": "wasm/add:1.2"}]}));
        resource.status = Some(serde_json::from_value(status.clone()).unwrap());
        memory(&resource)
    }

    fn published() -> Value {
        json!({
            "reference": "registry.example/wasm/add:1.2",
            "digest": DIGEST,
            "size": 6_400_000,
            "phase": "Published",
            "chunks": {"total": 13, "published": 13},
            "receipts": 2,
            "target": "5d41",
            "source": "Declared",
            "startedAt": "2026-11-01T10:00:00Z",
            "completedAt": "2026-11-01T10:00:07Z",
        })
    }

    #[test]
    fn what_was_published_is_remembered_with_all_that_is_known_of_it() {
        let progress = remembered(&json!({
            "artifacts": [published()],
            "transfers": {"completed": 41, "failed": 1, "chunks": 533, "bytes": 272_891_904},
        }));
        let artifact = &progress.artifacts["registry.example/wasm/add:1.2"];
        assert_eq!((artifact.app_name.as_str(), artifact.source), ("wasm/add:1.2", Source::Declared));
        assert_eq!((artifact.phase, artifact.digest), (Phase::Published, DIGEST.parse().ok()));
        assert_eq!((artifact.size, artifact.total, artifact.published), (6_400_000, 13, 13));
        assert_eq!((artifact.receipts, artifact.target.as_str()), (2, "5d41"));
        let took = artifact.completed.unwrap().duration_since(artifact.started.unwrap()).unwrap();
        assert_eq!(took.as_secs(), 7);
        assert_eq!(progress.totals, Totals { completed: 41, failed: 1, chunks: 533, bytes: 272_891_904 });
    }

    #[test]
    fn what_a_worker_reports_is_what_the_next_one_remembers() {
        let before = remembered(&json!({
            "artifacts": [published()],
            "transfers": {"completed": 41, "failed": 1, "chunks": 533, "bytes": 272_891_904},
        }));
        let reported = report(&before, &WasmProxyStatus::default(), &now());
        let after = remembered(&serde_json::to_value(reported).unwrap());
        assert_eq!((after.artifacts, after.totals), (before.artifacts, before.totals));
    }

    #[test]
    fn a_reference_that_is_written_otherwise_by_now_is_the_same_artifact() {
        let mut resource = resource(&json!({"artifacts": [{"reference": "registry.example/wasm/add:1.2"}]}));
        resource.status = serde_json::from_value(json!({"artifacts": [published()]})).unwrap();
        let remembered = memory(&resource);
        let artifact = &remembered.artifacts["registry.example/wasm/add:1.2"];
        assert_eq!((artifact.app_name.as_str(), artifact.target.as_str()), ("registry.example/wasm/add:1.2", "5d41"));
    }

    #[test]
    fn what_a_device_asked_for_goes_by_its_full_name() {
        let mut requested = published();
        requested["reference"] = json!("registry.example/wasm/sub:1");
        requested["source"] = json!("Requested");
        let progress = remembered(&json!({"artifacts": [requested]}));
        let artifact = &progress.artifacts["registry.example/wasm/sub:1"];
        assert_eq!((artifact.app_name.as_str(), artifact.source), ("registry.example/wasm/sub:1", Source::Requested));
    }

    #[test]
    fn what_was_not_published_is_done_anew() {
        for phase in ["Pending", "Resolving", "Streaming", "Failed"] {
            let mut artifact = published();
            artifact["phase"] = json!(phase);
            artifact.as_object_mut().unwrap().remove("completedAt");
            assert!(remembered(&json!({"artifacts": [artifact]})).artifacts.is_empty(), "{phase}");
        }
    }

    #[test]
    fn what_was_published_stays_so_while_it_is_sent_again() {
        let mut artifact = published();
        artifact["phase"] = json!("Streaming");
        artifact["chunks"]["published"] = json!(6);
        let progress = remembered(&json!({"artifacts": [artifact]}));
        let artifact = &progress.artifacts["registry.example/wasm/add:1.2"];
        assert_eq!((artifact.phase, artifact.published, artifact.completed.is_some()), (Phase::Published, 13, true));
    }

    #[test]
    fn what_cannot_be_told_apart_from_something_else_is_done_anew() {
        for field in ["digest", "size", "chunks"] {
            let mut artifact = published();
            artifact.as_object_mut().unwrap().remove(field);
            assert!(remembered(&json!({"artifacts": [artifact]})).artifacts.is_empty(), "{field}");
        }
        let mut artifact = published();
        artifact["digest"] = json!("md5:00");
        assert!(remembered(&json!({"artifacts": [artifact]})).artifacts.is_empty());
    }

    #[test]
    fn a_generation_that_was_published_once_stays_so() {
        let settled = |status: &str| {
            let condition = json!({
                "type": "ArtifactsPublished", "status": status, "reason": "Succeeded", "message": "",
                "observedGeneration": 3, "lastTransitionTime": "2026-11-01T10:00:00Z",
            });
            remembered(&json!({"conditions": [condition]})).settled
        };
        assert_eq!((settled("True"), settled("False"), settled("Unknown")), (Some(3), None, None));
    }

    #[test]
    fn a_request_that_was_handled_is_not_handled_again() {
        assert_eq!(remembered(&json!({"lastHandledReconcileAt": "now"})).handled.as_deref(), Some("now"));
    }

    #[test]
    fn a_status_that_nobody_has_written_is_no_memory() {
        assert_eq!(memory(&resource(&json!({}))), Progress::default());
        assert_eq!(remembered(&json!({"observedGeneration": -1})), Progress::default());
    }
}
