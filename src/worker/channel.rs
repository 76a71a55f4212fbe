//! A channel: one connection to a broker, and everything that is said on it.
//!
//! One task owns all decisions; passes and answers to pulls run in tasks of their own and report back when they end.

mod ending;
mod hearing;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{
    config::{Artifact, WorkerConfig},
    declared::Declared,
    delivery::{Delivery, Outcome},
    link::{BUDGET, Link},
    notices::Limiter,
    progress::{ArtifactProgress, Source},
    pull::{Pull, PullError, Pulls},
    receipts::Receipts,
    schedule::{Schedule, Wish},
    source::KnownChunks,
    tracker::Tracker,
};
use crate::{
    mqtt::{self, ConfigError, ConnectionState, Message, MqttOptions, Qos, Session, SessionEnd},
    protocol::Topics,
    registry::{Registry, RegistryError},
};

/// How long a broker keeps what devices ask while the worker is away.
const SESSION_EXPIRY: Duration = Duration::from_secs(300);

/// How long chunks under way may take to be acknowledged when the channel ends.
const DRAIN: Duration = Duration::from_secs(3);

/// Answers to pulls under way at once.
const MAX_PULLS: usize = 4;

/// What a chunk takes on the wire besides its data, at most: names, digest and numbers, escaped.
const ENVELOPE: usize = 8 * 1024;

/// Why a channel cannot be opened; only another configuration can help.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error(transparent)]
    Broker(#[from] ConfigError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// An open channel.
pub(super) struct Channel {
    config: WorkerConfig,
    link: Link,
    messages: mpsc::Receiver<Message>,
    connection: watch::Receiver<ConnectionState>,
    schedule: Schedule,
    declared: Declared,
    pulls: Pulls,
    pull_slots: Arc<Semaphore>,
    receipts: Receipts,
    limiter: Limiter,
    tasks: JoinSet<Ended>,
    stop: CancellationToken,
}

/// A task that has ended.
enum Ended {
    Delivery(Wish, Outcome),
    Pull(Pull, Result<(), PullError>),
}

impl Channel {
    /// Opens the channel; the connection is made, and made again, in the background.
    pub(super) fn open(config: WorkerConfig, tracker: Tracker) -> Result<Self, OpenError> {
        let topics = Topics::new(&config.prefix);
        let registry = Registry::new(config.registry.clone())?;
        let (mqtt, messages) = mqtt::connect(mqtt_options(&config, &topics))?;
        let connection = mqtt.state();
        let link = Link {
            mqtt,
            registry,
            topics: Arc::new(topics),
            qos: config.broker.qos,
            budget: Arc::new(Semaphore::new(BUDGET)),
            known: KnownChunks::default(),
            tracker,
        };
        let mut channel = Self {
            config,
            link,
            messages,
            connection,
            schedule: Schedule::default(),
            declared: Declared::default(),
            pulls: Pulls::default(),
            pull_slots: Arc::new(Semaphore::new(MAX_PULLS)),
            receipts: Receipts::default(),
            limiter: Limiter::default(),
            tasks: JoinSet::new(),
            stop: CancellationToken::new(),
        };
        channel.declare();
        channel.connection_changed();
        Ok(channel)
    }

    /// Whether `config` can be taken up without another connection.
    pub(super) fn fits(&self, config: &WorkerConfig) -> bool {
        self.config.same_connections(config)
    }

    /// Takes up another configuration; passes that the change does not touch go on.
    pub(super) fn reconfigure(&mut self, config: WorkerConfig) {
        self.config = config;
        self.declare();
        self.begin();
    }

    /// Does whatever comes next. Not cancel-safe only in that what has arrived is dealt with first.
    pub(super) async fn step(&mut self) {
        let due = [self.schedule.wake_at(), self.declared.wake_at(), self.pulls.wake_at()].into_iter().flatten().min();
        let due = due.filter(|_| self.is_connected());
        let wake = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(message) = self.messages.recv() => self.heard(&message),
            Some(ended) = self.tasks.join_next() => match ended {
                Ok(Ended::Delivery(wish, outcome)) => self.delivered(&wish, outcome),
                Ok(Ended::Pull(pull, result)) => self.pulled(&pull, result),
                Err(error) => tracing::error!(%error, "a transfer broke down"),
            },
            Ok(()) = self.connection.changed() => self.connection_changed(),
            () = wake => {}
        }
        self.begin();
    }

    /// Ends the channel: waits for the chunks under way, then for the broker to hear of it.
    pub(super) async fn close(mut self, end: SessionEnd) {
        self.stop.cancel();
        let drained = tokio::time::timeout(DRAIN, async {
            while let Some(ended) = self.tasks.join_next().await {
                if let Ok(Ended::Delivery(wish, outcome)) = ended {
                    self.delivered(&wish, outcome);
                }
            }
        });
        if drained.await.is_err() {
            tracing::warn!("chunks under way were not acknowledged in time");
        }
        self.tasks.shutdown().await;
        self.link.mqtt.disconnect(end, Duration::from_millis(1500)).await;
    }

    fn is_connected(&self) -> bool {
        matches!(*self.connection.borrow(), ConnectionState::Connected { .. })
    }

    fn connection_changed(&mut self) {
        let state = self.connection.borrow_and_update().clone();
        self.link.tracker.update(|progress| progress.broker = Some(state));
    }

    /// Takes up what is declared, and what is not any more.
    fn declare(&mut self) {
        let (config, tracker) = (&self.config, &self.link.tracker);
        tracker.update(|progress| {
            progress.generation = config.generation;
            for artifact in progress.artifacts.values_mut() {
                artifact.source = Source::Requested;
            }
            for artifact in &config.artifacts {
                let known = progress
                    .artifacts
                    .entry(artifact.reference.to_string())
                    .or_insert_with(|| ArtifactProgress::new(&artifact.app_name, Source::Declared));
                known.source = Source::Declared;
                if known.target != config.target(artifact.plain) {
                    known.completed = None;
                }
            }
            progress.forget_old_requests();
        });
        self.declared.declare(&config.artifacts, Instant::now());
        let declared = &self.declared;
        self.schedule.withdraw(|wish| declared.get(&wish.app_name).is_some());
        self.settle();
    }

    /// Notes whether all that is declared is published.
    fn settle(&self) {
        let generation = self.config.generation;
        self.link.tracker.update(|progress| {
            let (published, declared) = progress.declared();
            if published == declared {
                progress.settled = Some(generation);
            }
        });
    }

    /// Begins whatever may begin now.
    fn begin(&mut self) {
        if !self.is_connected() || self.stop.is_cancelled() {
            return;
        }
        let now = Instant::now();
        for artifact in self.declared.take_due(now) {
            self.schedule.ask(declared_wish(artifact), usize::MAX);
        }
        while let Some(active) = self.schedule.begin(now, &self.stop) {
            let declared = self.declared.get(&active.wish.app_name);
            let delivery = Delivery {
                link: self.link.clone(),
                chunk_size: self.config.chunk_size,
                pace: self.config.pace,
                target: self
                    .says_all_of_it(&active.wish)
                    .then(|| self.config.target(declared.is_some_and(|artifact| artifact.plain))),
                active,
            };
            let task = async {
                let (wish, outcome) = delivery.run().await;
                Ended::Delivery(wish, outcome)
            };
            self.tasks.spawn(task.in_current_span());
        }
        for (pull, chunks) in self.pulls.take_due(now) {
            let (link, slots, stop) = (self.link.clone(), self.pull_slots.clone(), self.stop.child_token());
            let chunk_size = self.config.chunk_size.get();
            let task = async move {
                let _slot = slots.acquire_owned().await;
                let result = pull.run(link, chunks, chunk_size, stop).await;
                Ended::Pull(pull, result)
            };
            self.tasks.spawn(task.in_current_span());
        }
    }

    /// Whether a pass for `wish` says all that was declared of its artifact, if anything was.
    fn says_all_of_it(&self, wish: &Wish) -> bool {
        let declared = self.declared.get(&wish.app_name);
        declared.is_none_or(|artifact| artifact.formats().iter().all(|format| wish.formats.contains(format)))
    }
}

fn declared_wish(artifact: Artifact) -> Wish {
    let formats = artifact.formats();
    Wish { app_name: artifact.app_name, reference: artifact.reference, formats, source: Source::Declared, device: None }
}

fn mqtt_options(config: &WorkerConfig, topics: &Topics) -> MqttOptions {
    let WorkerConfig { broker, chunk_size, requests, .. } = config;
    let chunk = chunk_size.get() as usize;
    let requests = requests.is_some().then(|| (topics.requests.clone(), Qos::AtLeastOnce));
    MqttOptions {
        credentials: broker.credentials.clone(),
        tls: broker.tls.clone(),
        version: broker.version,
        session: Session::Persistent { expiry: SESSION_EXPIRY },
        subscriptions: requests.into_iter().collect(),
        // Brokers set up for devices of old grant the requests alone.
        optional_subscriptions: vec![(topics.receipts.clone(), Qos::AtLeastOnce)],
        exactly_once: broker.qos == Qos::ExactlyOnce,
        max_packet_size: chunk.div_ceil(3) * 4 + ENVELOPE,
        timeout: broker.timeout,
        ..MqttOptions::new(broker.url.clone(), broker.client_id.clone())
    }
}
