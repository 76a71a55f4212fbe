//! Keeps the worker's progress: the one place that changes it.

use std::{sync::Arc, time::SystemTime};

use tokio::sync::watch;

use super::progress::{ArtifactProgress, Failure, Phase, Progress, RegistryState, Source, Totals};
use crate::{
    digest::Digest,
    protocol::ChunkHead,
    registry::{Reference, RegistryError},
};

/// Changes the progress; cheap to clone.
#[derive(Clone)]
pub(super) struct Tracker(Arc<watch::Sender<Progress>>);

impl Tracker {
    pub(super) fn new(memory: Progress) -> Self {
        Self(Arc::new(watch::Sender::new(memory)))
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Progress> {
        self.0.subscribe()
    }

    /// A copy of what is known of `reference`.
    pub(super) fn artifact(&self, reference: &Reference) -> Option<ArtifactProgress> {
        self.0.borrow().artifacts.get(&reference.to_string()).cloned()
    }

    /// Changes anything; nobody is told where it changes nothing.
    pub(super) fn update(&self, change: impl FnOnce(&mut Progress)) {
        self.0.send_if_modified(|progress| {
            let before = progress.clone();
            change(progress);
            *progress != before
        });
    }

    /// Changes one artifact, which is known from then on.
    fn artifact_mut(&self, reference: &Reference, app_name: &str, change: impl FnOnce(&mut ArtifactProgress)) {
        self.both_mut(reference, app_name, |artifact, _| change(artifact));
    }

    /// Changes one artifact and the totals at once.
    fn both_mut(&self, reference: &Reference, app_name: &str, change: impl FnOnce(&mut ArtifactProgress, &mut Totals)) {
        self.update(|Progress { artifacts, totals, .. }| {
            let artifact = artifacts
                .entry(reference.to_string())
                .or_insert_with(|| ArtifactProgress::new(app_name, Source::Requested));
            change(artifact, totals);
        });
    }

    /// A device asked for it, and it waits for its turn.
    pub(super) fn pending(&self, reference: &Reference, app_name: &str) {
        self.artifact_mut(reference, app_name, |artifact| {
            if artifact.phase == Phase::Failed && artifact.source == Source::Requested {
                (artifact.phase, artifact.failure) = (Phase::Pending, None);
            }
        });
        self.update(Progress::forget_old_requests);
    }

    /// The registry is asked what it is. What is published stays so until something else is streamed, and what failed
    /// until something better is known: else each attempt would unsettle whoever watches.
    pub(super) fn resolving(&self, reference: &Reference, app_name: &str) {
        self.artifact_mut(reference, app_name, |artifact| {
            if artifact.phase == Phase::Pending {
                artifact.phase = Phase::Resolving;
            }
        });
    }

    /// What the registry said.
    pub(super) fn registry<T>(&self, answer: &Result<T, RegistryError>) {
        let state = match answer {
            Err(
                error @ (RegistryError::Unavailable { .. }
                | RegistryError::InvalidResponse { .. }
                | RegistryError::Unauthorized { .. }
                | RegistryError::Forbidden { .. }
                | RegistryError::InvalidCredentials { .. }
                | RegistryError::InvalidHost(_)
                | RegistryError::Tls(_)
                | RegistryError::Handshake { .. }),
            ) => RegistryState::Failed(error.into()),
            // Anything else it answers well, though perhaps not what was hoped for.
            _ => RegistryState::Ready,
        };
        self.update(|progress| progress.registry = state);
    }

    /// It is what was published already.
    pub(super) fn unchanged(&self, reference: &Reference, app_name: &str) {
        self.artifact_mut(reference, app_name, |artifact| {
            (artifact.phase, artifact.failure) = (Phase::Published, None);
        });
    }

    /// Its chunks are on their way; `target` where this is all that was declared of it.
    pub(super) fn streaming(&self, reference: &Reference, head: &ChunkHead, target: Option<&str>) {
        self.artifact_mut(reference, &head.app_name, |artifact| {
            if artifact.digest != Some(head.digest) {
                (artifact.completed, artifact.receipts) = (None, 0);
            }
            if let Some(target) = target
                && artifact.target != target
            {
                artifact.completed = None;
                target.clone_into(&mut artifact.target);
            }
            artifact.phase = Phase::Streaming;
            artifact.digest = Some(head.digest);
            artifact.size = head.layout.size();
            artifact.total = head.layout.total();
            artifact.published = 0;
            artifact.started = Some(SystemTime::now());
            artifact.failure = None;
            artifact.no_subscribers = false;
        });
        self.update(Progress::forget_old_requests);
    }

    /// The broker has acknowledged a chunk of `len` bytes; `first` where it was not sent before in this pass.
    pub(super) fn acknowledged(&self, reference: &Reference, len: usize, first: bool, no_subscribers: bool) {
        self.0.send_modify(|progress| {
            progress.totals.chunks += 1;
            progress.totals.bytes += len as u64;
            if let Some(artifact) = progress.artifacts.get_mut(&reference.to_string()) {
                artifact.published += u32::from(first);
                artifact.no_subscribers = no_subscribers;
            }
        });
    }

    /// All its chunks are acknowledged; `whole` where that is all that was declared of it.
    pub(super) fn published(&self, reference: &Reference, app_name: &str, whole: bool) {
        self.both_mut(reference, app_name, |artifact, totals| {
            artifact.phase = Phase::Published;
            if whole {
                artifact.completed.get_or_insert_with(SystemTime::now);
            }
            totals.completed += 1;
        });
    }

    /// It did not work. What was published before stays so, with a word on why it could not be looked at.
    pub(super) fn failed(&self, reference: &Reference, app_name: &str, failure: Failure) {
        self.both_mut(reference, app_name, |artifact, totals| {
            artifact.phase = if artifact.completed.is_some() { Phase::Published } else { Phase::Failed };
            artifact.failure = Some(failure);
            totals.failed += 1;
        });
    }

    /// It was broken off by our own doing, and waits again.
    pub(super) fn broken_off(&self, reference: &Reference, app_name: &str) {
        self.artifact_mut(reference, app_name, |artifact| {
            if matches!(artifact.phase, Phase::Resolving | Phase::Streaming) {
                artifact.phase = Phase::Pending;
            }
        });
    }

    /// One more device says that it holds the module `digest`.
    pub(super) fn received(&self, reference: &Reference, digest: Digest) {
        self.update(|progress| {
            if let Some(artifact) = progress.artifacts.get_mut(&reference.to_string())
                && artifact.digest == Some(digest)
            {
                artifact.receipts = artifact.receipts.saturating_add(1);
            }
        });
    }
}
