//! A channel: one connection to a broker, and everything that is said on it.
//!
//! One task owns all decisions; passes and answers to pulls run in tasks of their own and report back when they end.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    config::{Artifact, WorkerConfig},
    declared::Declared,
    delivery::{Delivery, Outcome},
    link::{BUDGET, Link},
    notices::{self, Limiter},
    progress::{ArtifactProgress, Failure, FailureReason, Source},
    pull::{Pull, PullError, Pulls},
    receipts::Receipts,
    schedule::{Admission, Schedule, Wish},
    source::KnownChunks,
    tracker::Tracker,
};
use crate::{
    mqtt::{self, ConfigError, ConnectionState, Message, MqttOptions, Qos, Session, SessionEnd},
    protocol::{
        DeviceName, ErrorCode, Format, Receipt, Request, Topics,
        request::{BadRequest, Wanted},
    },
    registry::{Reference, Registry, RegistryError},
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
            self.tasks.spawn(async {
                let (wish, outcome) = delivery.run().await;
                Ended::Delivery(wish, outcome)
            });
        }
        for (pull, chunks) in self.pulls.take_due(now) {
            let (link, slots, stop) = (self.link.clone(), self.pull_slots.clone(), self.stop.child_token());
            let chunk_size = self.config.chunk_size.get();
            self.tasks.spawn(async move {
                let _slot = slots.acquire_owned().await;
                let result = pull.run(link, chunks, chunk_size, stop).await;
                Ended::Pull(pull, result)
            });
        }
    }

    /// Whether a pass for `wish` says all that was declared of its artifact, if anything was.
    fn says_all_of_it(&self, wish: &Wish) -> bool {
        let declared = self.declared.get(&wish.app_name);
        declared.is_none_or(|artifact| artifact.formats().iter().all(|format| wish.formats.contains(format)))
    }

    fn heard(&mut self, message: &Message) {
        // A retained request would be replayed at each subscription.
        if message.retain {
            return;
        }
        if message.topic == self.link.topics.requests {
            self.requested(&message.payload);
        } else if let Some(device) = self.link.topics.receipt_sender(&message.topic)
            && let Some(Receipt { app_name, digest }) = Receipt::parse(&message.payload)
            && let Ok(reference) = Reference::parse(&app_name, self.link.registry.host())
            && self.receipts.count(digest, device)
        {
            self.link.tracker.received(&reference, digest);
        }
    }

    fn requested(&mut self, payload: &[u8]) {
        let Some(allow) = &self.config.requests else { return };
        let request = match Request::parse(payload) {
            Ok(request) => request,
            Err(BadRequest::Unanswerable) => {
                tracing::debug!("something that is no request was ignored");
                return;
            }
            Err(BadRequest::Answerable { app_name, device, message }) => {
                return self.refuse(&app_name, device, ErrorCode::BadRequest, &message);
            }
        };
        let Request { app_name, full } = request;
        let full_dialect = full.is_some();
        let full = full.unwrap_or_default();
        let reference = match Reference::parse(&app_name, self.link.registry.host()) {
            Ok(reference) => reference,
            Err(error) => {
                let message = format!("`app_name` is no reference: {error}");
                return self.refuse(&app_name, full.device, ErrorCode::BadRequest, &message);
            }
        };
        if !allow.allows(&reference) {
            tracing::warn!(%reference, "a device asked for what is not allowed; to allow it, add it to what requests may ask for");
            return self.refuse(
                &app_name,
                full.device,
                ErrorCode::NotAllowed,
                "this channel does not bring that module",
            );
        }
        let format = match (full_dialect, full.format) {
            (false, _) => Format::Plain,
            (true, Some(Wanted::Raw)) if self.link.speaks_v5() => Format::Raw,
            (true, _) => Format::Full,
        };
        tracing::debug!(%reference, ?format, "asked for");
        let (capacity, now) = (self.config.queue, Instant::now());
        let taken = match full.missing {
            Some(missing) => {
                let pull = Pull {
                    device: missing.device.clone(),
                    app_name: app_name.clone(),
                    reference,
                    digest: missing.digest,
                    chunk_size: missing.chunk_size,
                    format,
                };
                self.tasks.len() < capacity && self.pulls.ask(pull, &missing, capacity, now)
            }
            None => {
                let wish = Wish {
                    app_name: app_name.clone(),
                    reference: reference.clone(),
                    formats: vec![format],
                    source: Source::Requested,
                    device: full.device.clone(),
                };
                let admission = self.schedule.ask(wish, capacity);
                if admission == Admission::Queued {
                    self.link.tracker.pending(&reference, &app_name);
                }
                admission != Admission::Busy
            }
        };
        if !taken {
            self.refuse(&app_name, full.device, ErrorCode::Busy, "too much is waiting: ask again later");
        }
    }

    fn delivered(&mut self, wish: &Wish, outcome: Outcome) {
        let (now, tracker) = (Instant::now(), &self.link.tracker);
        let (reference, app_name) = (&wish.reference, wish.app_name.as_str());
        let took = match &outcome {
            Outcome::Sent(took) => Some(*took),
            _ => None,
        };
        self.schedule.end(wish, took, now);
        let failure = match outcome {
            Outcome::Sent(took) => {
                let seconds = took.as_secs_f64();
                tracing::info!(%reference, seconds, "published");
                let whole = self.says_all_of_it(wish);
                tracker.published(reference, app_name, whole);
                if whole {
                    self.declared.seen(app_name, now);
                }
                return self.settle();
            }
            Outcome::Unchanged => {
                self.declared.seen(app_name, now);
                return self.settle();
            }
            Outcome::Uncut(message) => Some(Failure { reason: FailureReason::UnsupportedArtifact, message }),
            Outcome::Failed(error) => error.failure(),
        };
        let Some(failure) = failure else {
            return tracker.broken_off(reference, app_name);
        };
        tracing::warn!(%reference, reason = ?failure.reason, "{}", failure.message);
        let (code, message) = notices::for_device(&failure);
        tracker.failed(reference, app_name, failure);
        self.declared.failed(app_name, now, fastrand::f64());
        self.refuse(app_name, wish.device.clone(), code, message);
    }

    fn pulled(&mut self, pull: &Pull, result: Result<(), PullError>) {
        let (code, message) = match result {
            Ok(()) => return,
            Err(PullError::Refused(code, message)) => (code, message),
            Err(PullError::Send(error)) => match error.failure() {
                Some(failure) => {
                    tracing::warn!(reference = %pull.reference, device = %pull.device, "{}", failure.message);
                    notices::for_device(&failure)
                }
                None => return,
            },
        };
        self.refuse(&pull.app_name, Some(pull.device.clone()), code, message);
    }

    /// Says why a request is not served, unless that was just said.
    fn refuse(&mut self, app_name: &str, device: Option<DeviceName>, code: ErrorCode, message: &str) {
        if !self.limiter.admit(app_name, code, Instant::now()) {
            return;
        }
        let notice = notices::notice(app_name, code, device, message);
        if let Ok(payload) = serde_json::to_vec(&notice) {
            let link = self.link.clone();
            // Not waited for: a broker that is away must not hold up the channel. The limiter bounds their number.
            tokio::spawn(async move { link.publish_notice(&link.topics.error, payload).await });
        }
    }
}

fn declared_wish(artifact: Artifact) -> Wish {
    let formats = artifact.formats();
    Wish { app_name: artifact.app_name, reference: artifact.reference, formats, source: Source::Declared, device: None }
}

fn mqtt_options(config: &WorkerConfig, topics: &Topics) -> MqttOptions {
    let WorkerConfig { broker, chunk_size, requests, .. } = config;
    let chunk = chunk_size.get() as usize;
    let mut subscriptions = vec![(topics.receipts.clone(), Qos::AtLeastOnce)];
    if requests.is_some() {
        subscriptions.push((topics.requests.clone(), Qos::AtLeastOnce));
    }
    MqttOptions {
        credentials: broker.credentials.clone(),
        tls: broker.tls.clone(),
        version: broker.version,
        session: Session::Persistent { expiry: SESSION_EXPIRY },
        subscriptions,
        exactly_once: broker.qos == Qos::ExactlyOnce,
        max_packet_size: chunk.div_ceil(3) * 4 + ENVELOPE,
        timeout: broker.timeout,
        ..MqttOptions::new(broker.url.clone(), broker.client_id.clone())
    }
}
