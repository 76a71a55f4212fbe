//! When each declared artifact is looked at: its tag may have moved.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::config::Artifact;
use crate::backoff::Backoff;

/// The first wait after a failure; each further one doubles it, up to the artifact's interval.
const FIRST_RETRY: Duration = Duration::from_secs(5);

/// The longest wait after a failure, where the interval is longer.
const LAST_RETRY: Duration = Duration::from_secs(300);

/// The declared artifacts, and when to look at each.
#[derive(Debug, Default)]
pub(super) struct Declared(HashMap<String, Look>);

#[derive(Debug)]
struct Look {
    artifact: Artifact,
    /// `None` while it is being looked at, and once there is nothing more to see.
    at: Option<Instant>,
    backoff: Backoff,
}

impl Look {
    fn new(artifact: &Artifact, now: Instant) -> Self {
        let longest = LAST_RETRY.min(artifact.interval.max(FIRST_RETRY));
        Self { artifact: artifact.clone(), at: Some(now), backoff: Backoff::new(FIRST_RETRY, longest) }
    }
}

impl Declared {
    /// Takes in what is declared now: all of it is looked at, what is new and what is not.
    pub(super) fn declare(&mut self, artifacts: &[Artifact], now: Instant) {
        self.0 = artifacts.iter().map(|artifact| (artifact.app_name.clone(), Look::new(artifact, now))).collect();
    }

    /// The artifact of that name.
    pub(super) fn get(&self, app_name: &str) -> Option<&Artifact> {
        self.0.get(app_name).map(|look| &look.artifact)
    }

    /// Takes out what is to be looked at now.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Artifact> {
        let due = self.0.values_mut().filter(|look| look.at.is_some_and(|at| at <= now));
        due.map(|look| {
            look.at = None;
            look.artifact.clone()
        })
        .collect()
    }

    /// When something will be due.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.0.values().filter_map(|look| look.at).min()
    }

    /// It was looked at, and is published: what a tag names may change, what a digest names may not.
    pub(super) fn seen(&mut self, app_name: &str, now: Instant) {
        if let Some(look) = self.0.get_mut(app_name) {
            look.backoff.reset();
            look.at = look.artifact.reference.digest().is_none().then(|| now + look.artifact.interval);
        }
    }

    /// It is looked at anew then: a look was broken off, or somebody has asked for it.
    pub(super) fn look_at(&mut self, app_name: &str, at: Instant) {
        if let Some(look) = self.0.get_mut(app_name) {
            look.at = Some(at);
        }
    }

    /// It was looked at in vain; `jitter` between 0 and 1 keeps many workers from asking at once.
    pub(super) fn failed(&mut self, app_name: &str, now: Instant, jitter: f64) {
        if let Some(look) = self.0.get_mut(app_name) {
            look.at = Some(now + look.backoff.fail(jitter));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{digest::Digest, registry::Reference};

    const MINUTE: Duration = Duration::from_secs(60);

    fn declared(reference: &str) -> Declared {
        let artifact = Artifact {
            app_name: "a".to_owned(),
            reference: Reference::parse(reference, "registry.example").unwrap(),
            interval: MINUTE,
            plain: false,
        };
        let mut declared = Declared::default();
        declared.declare(&[artifact], Instant::now());
        assert_eq!(declared.take_due(Instant::now()).len(), 1);
        declared
    }

    fn wait(declared: &Declared) -> Option<Duration> {
        declared.wake_at().map(|at| at - Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn a_tag_is_looked_at_again_after_its_interval() {
        let mut declared = declared("a:1");
        assert_eq!(wait(&declared), None);
        declared.seen("a", Instant::now());
        assert_eq!(wait(&declared), Some(MINUTE));
    }

    #[tokio::test(start_paused = true)]
    async fn a_digest_is_never_looked_at_again() {
        let mut declared = declared(&format!("a@{}", Digest::of(b"a")));
        declared.seen("a", Instant::now());
        assert_eq!(wait(&declared), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_failed_is_tried_again_ever_later_up_to_its_interval() {
        let mut declared = declared("a:1");
        let waits: Vec<_> = (0..6)
            .map(|_| {
                declared.failed("a", Instant::now(), 0.0);
                wait(&declared).unwrap().as_secs()
            })
            .collect();
        assert_eq!(waits, [5, 10, 20, 40, 60, 60]);
        declared.seen("a", Instant::now());
        declared.failed("a", Instant::now(), 1.0);
        assert_eq!(wait(&declared), Some(Duration::from_millis(2500)));
    }
}
