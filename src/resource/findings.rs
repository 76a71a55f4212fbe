//! What a worker's progress means for its three conditions. Pure.

use crate::{
    api::conditions::{ConditionStatus, ConditionType, Finding, Reason},
    mqtt::{ConnectFailure, ConnectionState, FailureKind},
    worker::{ArtifactProgress, Failure, FailureReason, Progress, RegistryState, Source},
};

/// What cannot mend itself is said before what may.
const WORST_FIRST: [FailureReason; 13] = [
    FailureReason::InvalidConfiguration,
    FailureReason::CacheUnusable,
    FailureReason::UnsupportedArtifact,
    FailureReason::DigestMismatch,
    FailureReason::ArtifactTooLarge,
    FailureReason::ArtifactNotFound,
    FailureReason::ChunkTooLarge,
    FailureReason::BrokerUnauthorized,
    FailureReason::BrokerRejected,
    FailureReason::BrokerQuotaExceeded,
    FailureReason::RegistryUnauthorized,
    FailureReason::RegistryTlsFailed,
    FailureReason::RegistryUnreachable,
];

/// Why nobody knows how it stands with broker and registry.
pub const NO_WORKER: &str = "no worker runs";

/// `BrokerConnected`, `RegistryReady` and `ArtifactsPublished`.
pub fn findings(progress: &Progress) -> [Finding; 3] {
    [broker_connected(progress), registry_ready(progress), artifacts_published(progress)]
}

/// The worker's three conditions where there is none.
pub fn without_worker(why: &str) -> [Finding; 3] {
    [ConditionType::BrokerConnected, ConditionType::RegistryReady, ConditionType::ArtifactsPublished]
        .map(|about| unknown(about, Reason::WorkerUnavailable, why))
}

fn broker_connected(progress: &Progress) -> Finding {
    let about = ConditionType::BrokerConnected;
    match &progress.broker {
        Some(ConnectionState::Connected { .. }) if !progress.denied_notices.is_empty() => {
            let topics = progress.denied_notices.iter().map(String::as_str).collect::<Vec<_>>().join(" and ");
            let message = format!(
                "the broker has accepted the worker, but not its notices to devices: give the user write access to {topics}"
            );
            yes(about, Reason::NoticesDenied, &message)
        }
        Some(ConnectionState::Connected { .. }) => yes(about, Reason::Connected, "the broker has accepted the worker"),
        Some(ConnectionState::Connecting { failure: Some(failure), .. }) => {
            no(about, connect_reason(failure), &failure.message)
        }
        Some(ConnectionState::Closed) => unknown(about, Reason::WorkerUnavailable, "the worker is ending"),
        Some(ConnectionState::Connecting { failure: None, .. }) | None => {
            unknown(about, Reason::Connecting, "the connection to the broker is being made")
        }
    }
}

fn connect_reason(failure: &ConnectFailure) -> Reason {
    match failure.kind {
        FailureKind::Unreachable | FailureKind::Lost => Reason::BrokerUnreachable,
        FailureKind::Unauthorized | FailureKind::SubscriptionDenied => Reason::BrokerUnauthorized,
        FailureKind::Tls => Reason::BrokerTlsFailed,
        FailureKind::Protocol => Reason::BrokerProtocolUnsupported,
        FailureKind::Refused => Reason::BrokerRejected,
        FailureKind::TakenOver => Reason::SessionTakenOver,
    }
}

fn registry_ready(progress: &Progress) -> Finding {
    let about = ConditionType::RegistryReady;
    match &progress.registry {
        RegistryState::Ready => yes(about, Reason::Succeeded, "the registry answers"),
        RegistryState::Failed(failure) => no(about, failure_reason(failure.reason), &failure.message),
        RegistryState::Unknown if declared(progress).next().is_none() => {
            unknown(about, Reason::NothingDeclared, "the registry is asked once a device asks for something")
        }
        RegistryState::Unknown => unknown(about, Reason::Progressing, "the registry has not been asked yet"),
    }
}

/// Once true of a generation it stays so while a tag that has moved is streamed again; only a failure ends it.
fn artifacts_published(progress: &Progress) -> Finding {
    let about = ConditionType::ArtifactsPublished;
    let failed = worst(declared(progress).filter_map(failure));
    let published = declared(progress).all(|artifact| artifact.completed.is_some());
    // Also while it is streamed again, until a chunk finds somebody: the condition is not to flap with each pass.
    let unheard = |artifact: &ArtifactProgress| artifact.no_subscribers;
    if let Some((failure, alone)) = failed {
        let more = if alone { "" } else { "; it is not the only one, see status.artifacts" };
        no(about, failure_reason(failure.reason), &format!("{}{more}", failure.message))
    } else if declared(progress).next().is_none() {
        yes(about, Reason::NothingDeclared, "nothing is declared; devices ask for what they need")
    } else if !published && progress.settled != Some(progress.generation) {
        let message = if matches!(progress.broker, Some(ConnectionState::Connected { .. })) {
            "artifacts are on their way to the broker, see status.artifacts"
        } else {
            "artifacts wait for the connection to the broker"
        };
        unknown(about, Reason::Progressing, message)
    } else if declared(progress).any(unheard) {
        let message = "the broker has acknowledged every artifact, but says that nobody is subscribed: \
                       check the channel and the devices";
        yes(about, Reason::NoSubscribers, message)
    } else {
        yes(about, Reason::Succeeded, "the broker has acknowledged every artifact")
    }
}

fn declared(progress: &Progress) -> impl Iterator<Item = &ArtifactProgress> {
    progress.artifacts.values().filter(|artifact| artifact.source == Source::Declared)
}

/// Said while it is tried again, too, so that the condition does not flap with each attempt; not where what was published
/// can only not be looked at again.
fn failure(artifact: &ArtifactProgress) -> Option<&Failure> {
    artifact.failure.as_ref().filter(|_| artifact.completed.is_none())
}

/// The worst failure, and whether it is the only one.
fn worst<'a>(failures: impl Iterator<Item = &'a Failure>) -> Option<(&'a Failure, bool)> {
    let mut failures: Vec<_> = failures.collect();
    failures.sort_by_key(|failure| WORST_FIRST.iter().position(|reason| *reason == failure.reason));
    failures.first().map(|worst| (*worst, failures.len() == 1))
}

fn failure_reason(reason: FailureReason) -> Reason {
    match reason {
        FailureReason::RegistryUnreachable => Reason::RegistryUnreachable,
        FailureReason::RegistryUnauthorized => Reason::RegistryUnauthorized,
        FailureReason::RegistryTlsFailed => Reason::RegistryTlsFailed,
        FailureReason::ArtifactNotFound => Reason::ArtifactNotFound,
        FailureReason::UnsupportedArtifact => Reason::UnsupportedArtifact,
        FailureReason::ArtifactTooLarge => Reason::ArtifactTooLarge,
        FailureReason::DigestMismatch => Reason::DigestMismatch,
        FailureReason::ChunkTooLarge => Reason::ChunkTooLarge,
        FailureReason::BrokerUnauthorized => Reason::BrokerUnauthorized,
        FailureReason::BrokerQuotaExceeded => Reason::BrokerQuotaExceeded,
        FailureReason::BrokerRejected => Reason::BrokerRejected,
        FailureReason::CacheUnusable => Reason::CacheUnusable,
        FailureReason::InvalidConfiguration => Reason::InvalidSpec,
    }
}

fn yes(about: ConditionType, reason: Reason, message: &str) -> Finding {
    Finding { about, status: ConditionStatus::True, reason, message: message.to_owned() }
}

fn no(about: ConditionType, reason: Reason, message: &str) -> Finding {
    Finding { about, status: ConditionStatus::False, reason, message: message.to_owned() }
}

fn unknown(about: ConditionType, reason: Reason, message: &str) -> Finding {
    Finding { about, status: ConditionStatus::Unknown, reason, message: message.to_owned() }
}

#[cfg(test)]
#[path = "findings_tests.rs"]
mod tests;
