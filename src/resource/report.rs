//! A worker's progress, as its part of the resource's status.
//!
//! Pure: the same progress and the same status before give the same part, so that equal parts mean that there is nothing
//! to write. The conditions are in `findings`.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::{api_server::time, findings::findings};
use crate::{
    api::{
        self, ArtifactStatus, BrokerStatus, ChunkStatus, MESSAGE_MAX, ProtocolVersion, STATUS_ARTIFACTS_MAX,
        TransferStatus, WasmProxyStatus,
        conditions::{ConditionType, find},
    },
    mqtt::{ConnectionState, Version},
    worker::{ArtifactProgress, Phase, Progress, Source},
};

/// The conditions that the worker writes.
pub const WORKER_CONDITIONS: [ConditionType; 3] =
    [ConditionType::BrokerConnected, ConditionType::RegistryReady, ConditionType::ArtifactsPublished];

/// The part of the status that a worker writes; every other field is empty.
pub fn report(progress: &Progress, before: &WasmProxyStatus, now: &Time) -> WasmProxyStatus {
    let declared = progress.declared();
    WasmProxyStatus {
        conditions: findings(progress)
            .map(|finding| finding.into_condition(progress.generation, &before.conditions, now))
            .to_vec(),
        progress: chunks(progress),
        published: (declared.1 > 0).then(|| format!("{}/{}", declared.0, declared.1)),
        receipts: Some(progress.artifacts.values().map(|artifact| u64::from(artifact.receipts)).sum()),
        artifacts: artifacts(progress),
        transfers: Some(transfers(progress)),
        broker: broker(progress),
        ..WasmProxyStatus::default()
    }
}

/// The same part of a status as it is.
pub fn worker_part(status: &WasmProxyStatus) -> WasmProxyStatus {
    let conditions = WORKER_CONDITIONS.iter().filter_map(|about| find(&status.conditions, *about));
    WasmProxyStatus {
        observed_generation: None,
        last_handled_reconcile_at: None,
        conditions: conditions.cloned().collect(),
        ..status.clone()
    }
}

/// The same part without the times of its conditions' transitions, which are another each time that they are worked out anew.
pub(super) fn timeless(part: &WasmProxyStatus) -> WasmProxyStatus {
    let mut part = part.clone();
    for condition in &mut part.conditions {
        condition.last_transition_time = Time(Timestamp::UNIX_EPOCH);
    }
    part
}

/// Chunks of the passes under way; at rest, of the declared artifacts.
fn chunks(progress: &Progress) -> Option<String> {
    let (published, total) = match progress.under_way() {
        (_, 0) => progress
            .artifacts
            .values()
            .filter(|artifact| artifact.source == Source::Declared)
            .fold((0, 0), |(p, t), artifact| (p + u64::from(artifact.published), t + u64::from(artifact.total))),
        under_way => under_way,
    };
    (total > 0).then(|| format!("{published}/{total}"))
}

/// Declared ones first, each kind in the order of its references.
fn artifacts(progress: &Progress) -> Vec<ArtifactStatus> {
    let of = |source| progress.artifacts.iter().filter(move |(_, artifact)| artifact.source == source);
    let artifacts = of(Source::Declared).chain(of(Source::Requested)).take(STATUS_ARTIFACTS_MAX);
    artifacts.map(|(reference, artifact)| artifact_status(reference, artifact)).collect()
}

fn artifact_status(reference: &str, artifact: &ArtifactProgress) -> ArtifactStatus {
    ArtifactStatus {
        reference: reference.to_owned(),
        digest: artifact.digest.map(|digest| digest.to_string()),
        size: (artifact.size > 0).then_some(artifact.size),
        phase: match artifact.phase {
            Phase::Pending => api::Phase::Pending,
            Phase::Resolving => api::Phase::Resolving,
            Phase::Streaming => api::Phase::Streaming,
            Phase::Published => api::Phase::Published,
            Phase::Failed => api::Phase::Failed,
        },
        chunks: (artifact.total > 0)
            .then(|| ChunkStatus { total: artifact.total.into(), published: artifact.published.into() }),
        receipts: artifact.receipts.into(),
        target: (!artifact.target.is_empty()).then(|| artifact.target.clone()),
        source: match artifact.source {
            Source::Declared => api::Source::Declared,
            Source::Requested => api::Source::Requested,
        },
        started_at: artifact.started.and_then(time),
        completed_at: artifact.completed.and_then(time),
        message: artifact.failure.as_ref().map(|failure| failure.message.chars().take(MESSAGE_MAX).collect()),
    }
}

fn transfers(progress: &Progress) -> TransferStatus {
    let totals = progress.totals;
    TransferStatus { completed: totals.completed, failed: totals.failed, chunks: totals.chunks, bytes: totals.bytes }
}

fn broker(progress: &Progress) -> Option<BrokerStatus> {
    match &progress.broker {
        Some(ConnectionState::Connected { version, since, .. }) => Some(BrokerStatus {
            protocol: match version {
                Version::V311 => ProtocolVersion::Mqtt311,
                Version::V5 => ProtocolVersion::Mqtt5,
            },
            connected_since: time(*since),
        }),
        Some(ConnectionState::Connecting { .. } | ConnectionState::Closed) | None => None,
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
