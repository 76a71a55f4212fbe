//! What a worker's memory is worth once it is told what to do.

use super::{ArtifactProgress, Phase, Progress, Source};
use crate::{digest::Digest, worker::WorkerConfig};

impl Progress {
    /// Takes up what is declared, and what is not any more. What was published stays so only where the same would be said now, to
    /// the same devices.
    pub fn declare(&mut self, config: &WorkerConfig) {
        self.generation = config.generation;
        self.denied_notices.clear();
        let mut before = std::mem::take(&mut self.artifacts);
        for artifact in &config.artifacts {
            let reference = artifact.reference.to_string();
            let new = || ArtifactProgress::new(&artifact.app_name, Source::Declared);
            let mut known = before.remove(&reference).unwrap_or_else(new);
            // What a device has asked for was not said as it is declared now.
            if known.source == Source::Requested || known.target != config.target(artifact) {
                known.forget_completion();
            }
            known.source = Source::Declared;
            known.app_name.clone_from(&artifact.app_name);
            self.artifacts.insert(reference, known);
        }
        before.values_mut().for_each(|artifact| artifact.source = Source::Requested);
        self.artifacts.append(&mut before);
        self.forget_old_requests();
    }
}

impl ArtifactProgress {
    /// Whether the module with this digest was published whole to `target`.
    pub(in crate::worker) fn is_published(&self, digest: Digest, target: &str) -> bool {
        self.completed.is_some() && self.digest == Some(digest) && self.target == target
    }

    fn forget_completion(&mut self) {
        self.completed = None;
        if self.phase == Phase::Published {
            self.phase = Phase::Pending;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::{
        mqtt::{Qos, VersionPreference},
        protocol::{ChunkSize, TopicPrefix},
        registry::{Credentials, Reference, RegistryOptions},
        tls::TlsOptions,
        worker::{Artifact, BrokerConfig, Failure, FailureReason, tracker::Tracker},
    };

    const MODULE: &[u8] = b"module";

    fn config() -> WorkerConfig {
        WorkerConfig {
            generation: 1,
            broker: BrokerConfig {
                url: "mqtt://broker.example".parse().unwrap(),
                client_id: "worker".to_owned(),
                credentials: None,
                tls: TlsOptions::default(),
                version: VersionPreference::Auto,
                qos: Qos::AtLeastOnce,
                timeout: Duration::from_secs(30),
            },
            registry: RegistryOptions {
                host: "registry.example".to_owned(),
                plain_http: false,
                credentials: Credentials::Anonymous,
                tls: TlsOptions::default(),
                max_module_size: 1 << 30,
                timeout: RegistryOptions::DEFAULT_TIMEOUT,
                cache: None,
            },
            prefix: TopicPrefix::of_channel("floor-1").unwrap(),
            artifacts: vec![artifact("wasm/add:1")],
            requests: None,
            chunk_size: ChunkSize::new(1000).unwrap(),
            pace: None,
            queue: 16,
            notes: None,
            requested: None,
        }
    }

    fn artifact(app_name: &str) -> Artifact {
        let reference = Reference::parse(app_name, "registry.example").unwrap();
        Artifact { app_name: app_name.to_owned(), reference, interval: Duration::from_secs(60), plain: false }
    }

    /// What a worker with this configuration reports once all is published.
    fn published(config: &WorkerConfig) -> Progress {
        let mut progress = Progress::default();
        progress.declare(config);
        for artifact in &config.artifacts {
            let known = progress.artifacts.get_mut(&artifact.reference.to_string()).unwrap();
            known.phase = Phase::Published;
            known.digest = Some(Digest::of(MODULE));
            known.target = config.target(artifact);
            known.completed = Some(SystemTime::UNIX_EPOCH);
        }
        progress.totals.completed = 41;
        progress
    }

    /// Whether a worker that starts with this memory and is told that sends its first artifact again, where the tag means
    /// `module` by now.
    fn sends_again(memory: Progress, config: &WorkerConfig, module: &[u8]) -> bool {
        let tracker = Tracker::new(memory);
        tracker.update(|progress| progress.declare(config));
        let artifact = &config.artifacts[0];
        let known = tracker.artifact(&artifact.reference).unwrap();
        assert_eq!(known.app_name, artifact.app_name);
        assert_eq!(known.phase == Phase::Published, known.completed.is_some(), "{known:?}");
        !known.is_published(Digest::of(module), &config.target(artifact))
    }

    fn sends_again_after(change: impl FnOnce(&mut WorkerConfig)) -> bool {
        let (memory, mut config) = (published(&config()), config());
        change(&mut config);
        config.generation += 1;
        sends_again(memory, &config, MODULE)
    }

    #[test]
    fn what_was_published_is_not_sent_again_and_counters_go_on() {
        let (memory, config) = (published(&config()), config());
        assert!(!sends_again(memory.clone(), &config, MODULE));
        assert_eq!(Tracker::new(memory).subscribe().borrow().totals.completed, 41);
    }

    #[test]
    fn what_devices_would_not_notice_sends_nothing_again() {
        assert!(!sends_again_after(|config| config.artifacts[0].interval = Duration::from_secs(1)));
        assert!(!sends_again_after(|config| config.artifacts.push(artifact("wasm/sub:1"))));
        assert!(!sends_again_after(|config| config.pace = Some(1)));
        assert!(!sends_again_after(|config| config.registry.credentials = Credentials::Token("another".to_owned())));
        assert!(!sends_again_after(|config| config.broker.client_id = "another".to_owned()));
        assert!(!sends_again_after(|config| config.broker.version = VersionPreference::V311));
    }

    #[test]
    fn what_is_said_otherwise_or_to_others_is_sent_again() {
        assert!(sends_again_after(|config| config.chunk_size = ChunkSize::new(2000).unwrap()));
        assert!(sends_again_after(|config| config.artifacts[0].plain = true));
        assert!(sends_again_after(|config| config.prefix = TopicPrefix::of_channel("floor-2").unwrap()));
        assert!(sends_again_after(|config| config.broker.url = "mqtt://another.example".parse().unwrap()));
        // The same artifact, but devices know it by what is written.
        assert!(sends_again_after(|config| config.artifacts[0] = artifact("registry.example/wasm/add:1")));
    }

    #[test]
    fn a_tag_that_has_moved_while_the_worker_was_away_is_sent() {
        assert!(sends_again(published(&config()), &config(), b"another module"));
    }

    #[test]
    fn what_is_declared_anew_is_sent_again() {
        let (mut memory, config) = (published(&config()), config());
        memory.declare(&WorkerConfig { artifacts: Vec::new(), ..config.clone() });
        assert!(sends_again(memory, &config, MODULE));
    }

    #[test]
    fn what_was_being_sent_again_when_the_worker_was_killed_stays_published() {
        let (mut memory, config) = (published(&config()), config());
        memory.artifacts.values_mut().for_each(|artifact| artifact.phase = Phase::Streaming);
        assert!(!sends_again(memory, &config, MODULE));
    }

    #[test]
    fn what_has_failed_stays_so_until_it_is_tried_again() {
        let config = config();
        let mut progress = Progress::default();
        progress.declare(&config);
        let failure = Failure { reason: FailureReason::ArtifactNotFound, message: "push it".to_owned() };
        let known = progress.artifacts.values_mut().next().unwrap();
        (known.phase, known.failure) = (Phase::Failed, Some(failure));
        let before = progress.clone();
        progress.declare(&config);
        assert_eq!(progress, before, "other credentials, say, do not unsettle it");
    }
}
