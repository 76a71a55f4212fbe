//! How far a worker is: what it reports, and what it remembers when it starts again.

mod declare;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use crate::{digest::Digest, mqtt::ConnectionState, registry::RegistryError};

/// How far a worker is.
///
/// Given to [`Worker::start`](super::Worker::start), it is the worker's memory: artifacts that are
/// [`Phase::Published`] with the digest that the registry still names, to the same target, are not sent again, and
/// counters go on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Progress {
    /// The configuration that the worker acts on.
    pub generation: i64,
    /// The connection to the broker.
    pub broker: Option<ConnectionState>,
    /// Topics of notices that the broker does not let the worker publish to: none is published there until the configuration
    /// changes.
    pub denied_notices: BTreeSet<String>,
    /// What the registry said last.
    pub registry: RegistryState,
    /// By fully qualified reference: declared artifacts always, the [`MAX_REQUESTED`] requested last.
    pub artifacts: BTreeMap<String, ArtifactProgress>,
    /// What was done since the worker's first day.
    pub totals: Totals,
    /// The last configuration whose declared artifacts were all published; a tag that moves later does not unsettle
    /// it.
    pub settled: Option<i64>,
    /// The last [`WorkerConfig::requested`](super::WorkerConfig::requested) of which every declared artifact was streamed again,
    /// or has failed once.
    pub handled: Option<String>,
}

/// How many artifacts that devices asked for are remembered.
pub const MAX_REQUESTED: usize = 16;

/// What the registry said last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RegistryState {
    /// It was not asked yet.
    #[default]
    Unknown,
    /// It answers.
    Ready,
    /// It does not, or not as it should.
    Failed(Failure),
}

/// Why something did not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// For programs.
    pub reason: FailureReason,
    /// For people: one sentence that says what to do; no counters, no credentials.
    pub message: String,
}

/// Why something did not work, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureReason {
    /// The registry cannot be reached, or does not answer as it should.
    RegistryUnreachable,
    /// The registry refuses the worker's credentials, or wants some.
    RegistryUnauthorized,
    /// The registry's certificate, or ours, is not accepted.
    RegistryTlsFailed,
    /// The registry has no such artifact.
    ArtifactNotFound,
    /// The artifact holds no WebAssembly module that can be told.
    UnsupportedArtifact,
    /// The module is larger than allowed.
    ArtifactTooLarge,
    /// What the registry sent is not what its digest says.
    DigestMismatch,
    /// A chunk is larger than the broker takes.
    ChunkTooLarge,
    /// The broker refuses what the worker publishes.
    BrokerUnauthorized,
    /// A quota of the broker is used up.
    BrokerQuotaExceeded,
    /// The broker refuses a chunk for another reason.
    BrokerRejected,
    /// The artifact has to be unpacked, and there is no room for it, or the cache cannot be written to.
    CacheUnusable,
    /// The configuration of the worker cannot be used.
    InvalidConfiguration,
}

/// How far one artifact is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactProgress {
    /// The reference as it was written.
    pub app_name: String,
    /// Who wants it.
    pub source: Source,
    /// How far it is.
    pub phase: Phase,
    /// The module's digest, once it is known.
    pub digest: Option<Digest>,
    /// The module's size in bytes; 0 until it is known.
    pub size: u64,
    /// How many chunks it has; 0 until that is known.
    pub total: u32,
    /// How many different chunks the broker has acknowledged in this pass, at most `total`.
    pub published: u32,
    /// Devices that say they hold the verified module. Where the worker has no [`notes`](super::WorkerConfig::notes), one that
    /// says so again after a restart counts again.
    pub receipts: u32,
    /// What it is published to: see [`WorkerConfig::target`](super::WorkerConfig::target).
    pub target: String,
    /// When the pass began.
    pub started: Option<SystemTime>,
    /// When this digest was first published whole to this target; it stays when the same is sent again on request.
    pub completed: Option<SystemTime>,
    /// Why it failed, why it is not streamed yet, or what holds it up.
    pub failure: Option<Failure>,
    /// The broker said that nobody is subscribed.
    pub no_subscribers: bool,
}

/// Who wants an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The configuration.
    Declared,
    /// A device.
    Requested,
}

/// How far an artifact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It waits for its turn.
    Pending,
    /// The registry is asked what its reference means.
    Resolving,
    /// Its chunks are on their way.
    Streaming,
    /// The broker has acknowledged all of them.
    Published,
    /// It did not work; `failure` says why.
    Failed,
}

/// What a worker has done, over all its restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Passes whose every chunk was acknowledged.
    pub completed: u64,
    /// Passes that were not, and requests that came to nothing.
    pub failed: u64,
    /// Chunks acknowledged.
    pub chunks: u64,
    /// The modules' bytes in those chunks.
    pub bytes: u64,
}

impl Phase {
    /// Nothing is about to change by itself.
    pub(super) fn is_at_rest(self) -> bool {
        matches!(self, Self::Published | Self::Failed)
    }
}

impl ArtifactProgress {
    /// An artifact that nothing was done for yet.
    pub fn new(app_name: impl Into<String>, source: Source) -> Self {
        Self {
            app_name: app_name.into(),
            source,
            phase: Phase::Pending,
            digest: None,
            size: 0,
            total: 0,
            published: 0,
            receipts: 0,
            target: String::new(),
            started: None,
            completed: None,
            failure: None,
            no_subscribers: false,
        }
    }
}

impl Progress {
    /// Chunks acknowledged and chunks in all, of the passes under way.
    pub fn under_way(&self) -> (u64, u64) {
        let streaming = self.artifacts.values().filter(|artifact| artifact.phase == Phase::Streaming);
        streaming.fold((0, 0), |(published, total), artifact| {
            (published + u64::from(artifact.published), total + u64::from(artifact.total))
        })
    }

    /// Declared artifacts that are published, and declared artifacts in all.
    pub fn declared(&self) -> (usize, usize) {
        let declared = self.artifacts.values().filter(|artifact| artifact.source == Source::Declared);
        declared.fold((0, 0), |(published, total), artifact| {
            (published + usize::from(artifact.completed.is_some()), total + 1)
        })
    }

    /// Forgets what devices asked for and did not get.
    pub(super) fn forget_unserved(&mut self) {
        self.artifacts.retain(|_, artifact| artifact.source == Source::Declared || artifact.phase.is_at_rest());
    }

    /// Forgets requested artifacts beyond [`MAX_REQUESTED`], those first that were streamed longest ago; says whether there
    /// were any.
    pub(super) fn forget_old_requests(&mut self) -> bool {
        let mut requested: Vec<_> = self
            .artifacts
            .iter()
            .filter(|(_, artifact)| artifact.source == Source::Requested)
            .map(|(reference, artifact)| {
                // What is under way goes last: there are never as many of these as are kept.
                let rank = match artifact.phase {
                    Phase::Published | Phase::Failed => 0,
                    Phase::Pending | Phase::Resolving => 1,
                    Phase::Streaming => 2,
                };
                (rank, artifact.started, reference.clone())
            })
            .collect();
        requested.sort();
        let surplus = requested.len().saturating_sub(MAX_REQUESTED);
        for (_, _, reference) in requested.into_iter().take(surplus) {
            self.artifacts.remove(&reference);
        }
        surplus > 0
    }
}

impl From<&RegistryError> for Failure {
    fn from(error: &RegistryError) -> Self {
        let reason = match error {
            RegistryError::NotFound { .. } => FailureReason::ArtifactNotFound,
            RegistryError::Unauthorized { .. }
            | RegistryError::Forbidden { .. }
            | RegistryError::InvalidCredentials { .. } => FailureReason::RegistryUnauthorized,
            RegistryError::UnsupportedArtifact { .. } => FailureReason::UnsupportedArtifact,
            RegistryError::TooLarge { .. } => FailureReason::ArtifactTooLarge,
            RegistryError::DigestMismatch { .. }
            | RegistryError::ChunkMismatch { .. }
            | RegistryError::SizeMismatch { .. } => FailureReason::DigestMismatch,
            RegistryError::Tls(_) | RegistryError::Handshake { .. } => FailureReason::RegistryTlsFailed,
            RegistryError::InvalidHost(_) => FailureReason::InvalidConfiguration,
            RegistryError::Unavailable { .. }
            | RegistryError::InvalidResponse { .. }
            | RegistryError::CacheChanged { .. } => FailureReason::RegistryUnreachable,
            RegistryError::NotUnpacked { .. } => FailureReason::CacheUnusable,
        };
        Self { reason, message: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn requested(phase: Phase, started: u64) -> ArtifactProgress {
        let started = Some(UNIX_EPOCH + Duration::from_secs(started));
        ArtifactProgress { phase, started, ..ArtifactProgress::new("a", Source::Requested) }
    }

    #[test]
    fn what_was_requested_longest_ago_is_forgotten_first_and_what_is_declared_never() {
        let mut progress = Progress::default();
        progress.artifacts.insert("declared".to_owned(), ArtifactProgress::new("a", Source::Declared));
        progress.artifacts.insert("streaming".to_owned(), requested(Phase::Streaming, 0));
        for i in 0..20 {
            progress.artifacts.insert(format!("{i:02}"), requested(Phase::Published, i));
        }
        progress.forget_old_requests();
        assert_eq!(progress.artifacts.len(), MAX_REQUESTED + 1);
        assert!(progress.artifacts.contains_key("declared") && progress.artifacts.contains_key("streaming"));
        assert!(!progress.artifacts.contains_key("04") && progress.artifacts.contains_key("05"));
    }

    #[test]
    fn chunks_are_counted_over_all_that_is_under_way() {
        let mut progress = Progress::default();
        for (name, phase) in [("a", Phase::Streaming), ("b", Phase::Streaming), ("c", Phase::Published)] {
            let artifact = ArtifactProgress { total: 10, published: 3, ..requested(phase, 0) };
            progress.artifacts.insert(name.to_owned(), artifact);
        }
        assert_eq!(progress.under_way(), (6, 20));
    }
}
