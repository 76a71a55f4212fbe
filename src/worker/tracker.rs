//! Keeps the worker's progress: the one place that changes it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use tokio::sync::watch;

use super::{
    metrics::Counts,
    progress::{ArtifactProgress, Failure, Phase, Progress, RegistryState, Source, Totals},
    receipts::Count,
    wish::{PassId, Ticket},
};
use crate::{
    digest::Digest,
    mqtt::ConnectionState,
    protocol::ChunkHead,
    registry::{Reference, RegistryError},
};

/// Changes the progress; cheap to clone.
///
/// Several passes may be about one artifact, in different formats or under different names. Its entry shows one of them:
/// the first, or else the one that says all that was declared of it.
#[derive(Clone)]
pub(super) struct Tracker {
    progress: Arc<watch::Sender<Progress>>,
    /// The pass that each entry shows, while there is one.
    shown: Arc<Mutex<HashMap<String, PassId>>>,
    counts: Arc<Counts>,
}

impl Tracker {
    /// Goes on from what an earlier worker reported: what it had not finished is done anew, or forgotten with the device
    /// that asked.
    pub(super) fn new(mut memory: Progress) -> Self {
        memory.forget_unserved();
        for artifact in memory.artifacts.values_mut().filter(|artifact| !artifact.phase.is_at_rest()) {
            // What was only being sent again is none the less published.
            artifact.phase = if artifact.completed.is_some() { Phase::Published } else { Phase::Pending };
        }
        Self { progress: Arc::new(watch::Sender::new(memory)), shown: Arc::default(), counts: Arc::default() }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// What is counted for the metrics alone.
    pub(super) fn counts(&self) -> Arc<Counts> {
        self.counts.clone()
    }

    /// The request to stream everything again that was handled last.
    pub(super) fn handled(&self) -> Option<String> {
        self.progress.borrow().handled.clone()
    }

    /// A copy of what is known of `reference`.
    pub(super) fn artifact(&self, reference: &Reference) -> Option<ArtifactProgress> {
        self.progress.borrow().artifacts.get(&reference.to_string()).cloned()
    }

    /// Changes anything; nobody is told where it changes nothing.
    pub(super) fn update(&self, change: impl FnOnce(&mut Progress)) {
        self.progress.send_if_modified(|progress| {
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
        // There may be hundreds, and each pass changes its own a few times.
        self.progress.send_if_modified(|Progress { artifacts, totals, .. }| {
            let (name, before) = (reference.to_string(), *totals);
            let known = artifacts.get(&name).cloned();
            let artifact = artifacts.entry(name).or_insert_with(|| ArtifactProgress::new(app_name, Source::Requested));
            change(artifact, totals);
            known.as_ref() != Some(artifact) || before != *totals
        });
    }

    /// A device asked for it, and it waits for its turn.
    pub(super) fn pending(&self, reference: &Reference, app_name: &str) {
        self.artifact_mut(reference, app_name, |artifact| {
            if artifact.phase == Phase::Failed && artifact.source == Source::Requested {
                (artifact.phase, artifact.failure) = (Phase::Pending, None);
            }
        });
        self.progress.send_if_modified(Progress::forget_old_requests);
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

    /// How the connection to the broker stands.
    pub(super) fn connection(&self, state: ConnectionState) {
        let since = |state: &ConnectionState| match state {
            ConnectionState::Connected { since, .. } => Some(*since),
            _ => None,
        };
        // By when it was made: where nobody looked while there was none, two connections look like one.
        let before = self.progress.borrow().broker.as_ref().and_then(since);
        if since(&state).is_some_and(|made| before != Some(made)) {
            self.counts.connected();
        }
        self.update(|progress| progress.broker = Some(state));
    }

    /// The registry has answered, well or not.
    pub(super) fn registry(&self, error: Option<&RegistryError>) {
        let state = match error {
            Some(
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
        self.progress.send_if_modified(|progress| {
            let changed = progress.registry != state;
            progress.registry = state;
            changed
        });
    }

    /// It is what was published already.
    pub(super) fn unchanged(&self, reference: &Reference, app_name: &str) {
        self.artifact_mut(reference, app_name, |artifact| {
            (artifact.phase, artifact.failure) = (Phase::Published, None);
        });
    }

    /// The chunks of a pass are on their way; `target` where it says all that was declared. Why the same did not work before is
    /// said until the first of them gets through: else each attempt would unsettle whoever watches.
    pub(super) fn streaming(&self, pass: &Ticket, head: &ChunkHead, target: Option<&str>) {
        let reference = &pass.wish.reference;
        {
            let mut shown = self.shown();
            let shows_another = shown.contains_key(&reference.to_string());
            if shows_another && target.is_none() {
                return;
            }
            shown.insert(reference.to_string(), pass.id);
        }
        self.artifact_mut(reference, &head.app_name, |artifact| {
            if artifact.digest != Some(head.digest) {
                (artifact.completed, artifact.receipts, artifact.failure) = (None, 0, None);
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
        });
        self.progress.send_if_modified(Progress::forget_old_requests);
    }

    /// Something holds a pass up that will pass.
    pub(super) fn held_up(&self, reference: &Reference, pass: PassId, failure: Failure) {
        let reference = reference.to_string();
        if self.shown().get(&reference) == Some(&pass) {
            self.update(|progress| {
                if let Some(artifact) = progress.artifacts.get_mut(&reference) {
                    artifact.failure = Some(failure);
                }
            });
        }
    }

    /// The broker takes notices on `topic`.
    pub(super) fn allowed(&self, topic: &str) {
        self.progress.send_if_modified(|progress| progress.denied_notices.remove(topic));
    }

    /// The broker denies notices on `topic`; says whether that is news.
    pub(super) fn denied(&self, topic: &str) -> bool {
        self.progress.send_if_modified(|progress| progress.denied_notices.insert(topic.to_owned()))
    }

    /// The broker has acknowledged a chunk of `len` bytes; `pass` where it counts as one of that pass.
    pub(super) fn acknowledged(&self, reference: &Reference, pass: Option<PassId>, len: usize, no_subscribers: bool) {
        let reference = reference.to_string();
        let counts = pass.is_some() && self.shown().get(&reference) == pass.as_ref();
        self.progress.send_modify(|progress| {
            progress.totals.chunks += 1;
            progress.totals.bytes += len as u64;
            let Some(artifact) = progress.artifacts.get_mut(&reference) else { return };
            if counts {
                artifact.published += 1;
                artifact.no_subscribers = no_subscribers;
                artifact.failure = None;
            } else if !no_subscribers {
                artifact.no_subscribers = false;
            }
        });
    }

    /// All chunks of a pass are acknowledged; `target` where that is all that was declared.
    pub(super) fn published(&self, pass: &Ticket, target: Option<&str>) {
        let speaks = self.leave(pass);
        self.both_mut(&pass.wish.reference, &pass.wish.app_name, |artifact, totals| {
            totals.completed += 1;
            if !speaks {
                return;
            }
            (artifact.phase, artifact.failure) = (Phase::Published, None);
            if let Some(target) = target {
                target.clone_into(&mut artifact.target);
            }
            if target.is_some() || artifact.source == Source::Requested {
                artifact.completed.get_or_insert_with(SystemTime::now);
            }
        });
    }

    /// A pass did not work, or did not come about. What was published before stays so, with a word on why it could not be looked at.
    pub(super) fn failed(&self, pass: &Ticket, failure: Failure) {
        self.counts.failed(failure.reason);
        let speaks = self.leave(pass);
        self.both_mut(&pass.wish.reference, &pass.wish.app_name, |artifact, totals| {
            totals.failed += 1;
            if speaks {
                artifact.phase = if artifact.completed.is_some() { Phase::Published } else { Phase::Failed };
                artifact.failure = Some(failure);
            }
        });
    }

    /// A pass was broken off by our own doing; what it was about waits again, if somebody does.
    pub(super) fn broken_off(&self, pass: &Ticket) {
        if !self.leave(pass) {
            return;
        }
        self.artifact_mut(&pass.wish.reference, &pass.wish.app_name, |artifact| {
            if matches!(artifact.phase, Phase::Resolving | Phase::Streaming) {
                artifact.phase = Phase::Pending;
            }
        });
    }

    /// Nobody waits any more for what devices asked for and did not get.
    pub(super) fn forget_unserved(&self) {
        self.shown().clear();
        self.update(Progress::forget_unserved);
    }

    /// Whether the worker knows `reference` as this module.
    pub(super) fn knows(&self, reference: &Reference, digest: Digest) -> bool {
        self.artifact(reference).is_some_and(|artifact| artifact.digest == Some(digest))
    }

    /// A device says that it holds the module that `reference` means. What an earlier worker counted goes on; where it has
    /// lost count, what is known by name is the least.
    pub(super) fn received(&self, reference: &Reference, count: Count) {
        if count.is_first {
            self.counts.received();
        }
        self.update(|progress| {
            if let Some(artifact) = progress.artifacts.get_mut(&reference.to_string()) {
                artifact.receipts = artifact.receipts.saturating_add(u32::from(count.is_first)).max(count.devices);
                artifact.no_subscribers = false;
            }
        });
    }

    /// A pass has ended; says whether its artifact's entry is its own to change.
    fn leave(&self, pass: &Ticket) -> bool {
        let (mut shown, reference) = (self.shown(), pass.wish.reference.to_string());
        match shown.get(&reference) {
            Some(&id) if id != pass.id => false,
            _ => {
                shown.remove(&reference);
                true
            }
        }
    }

    fn shown(&self) -> MutexGuard<'_, HashMap<String, PassId>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
