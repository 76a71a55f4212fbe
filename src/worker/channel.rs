//! A channel: one connection to a broker, and everything that is said on it.
//!
//! One task owns all decisions; passes and answers to pulls run in tasks of their own and report back when they end.

mod dispatch;
mod ending;
mod hearing;

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::{self, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

pub use dispatch::Dispatch;

use super::{
    again::Again,
    config::{Artifact, WorkerConfig},
    declared::Declared,
    holds::{Holds, Parts},
    known::KnownChunks,
    link::Link,
    look::look,
    notices::Limiter,
    pace::Pace,
    pass::Pass,
    progress::Source,
    publisher::SendError,
    pull::{Pull, PullError, Pulls},
    receipts::Receipts,
    schedule::Schedule,
    slots::Slots,
    tracker::Tracker,
    turns::Turns,
    wish::{Active, Plan, Ticket, Wish},
};
use crate::{
    buffers::SharedBuffers,
    mqtt::{self, ConfigError, ConnectionState, Message, MqttOptions, Qos, Session, SessionEnd},
    protocol::Topics,
    registry::{Registry, RegistryError},
};

/// How long a broker keeps what devices ask while the worker is away.
const SESSION_EXPIRY: Duration = Duration::from_secs(300);

/// How often the broker is asked for a sign of life, where that is not longer than it may take to connect.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// How long chunks under way may take to be acknowledged when the channel ends.
const DRAIN: Duration = Duration::from_secs(3);

/// How long the broker may take to hear that we go, and how long where it shall forget the session, too.
const FAREWELL: Duration = Duration::from_millis(1500);
const DISCARD: Duration = Duration::from_secs(3);

// Whoever stops a worker that is on its way to another channel waits for the end of both, and nothing is under way on the other.
const _: () = assert!(DRAIN.as_millis() + 2 * DISCARD.as_millis() < 10_000, "an end within 10 s is promised");

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
    refusals: watch::Receiver<Option<RegistryError>>,
    schedule: Schedule,
    declared: Declared,
    again: Again,
    pulls: Pulls,
    receipts: Receipts,
    limiter: Limiter,
    /// For the passes under way.
    pace: watch::Sender<Option<u64>>,
    tasks: JoinSet<Ended>,
    /// The passes among the tasks.
    passes: HashMap<task::Id, Active>,
    /// The wishes that the registry is asked about, among the tasks.
    looks: HashMap<task::Id, Ticket>,
    /// Answers to pulls among the tasks.
    pulling: usize,
    stop: CancellationToken,
}

/// What a channel leaves to the next one, which goes on where it was closed.
#[derive(Default)]
pub(super) struct Legacy {
    /// What devices asked for and did not get yet.
    wishes: Vec<Wish>,
    holds: Holds,
    again: Again,
    receipts: Receipts,
    known: KnownChunks,
}

/// A task that has ended.
enum Ended {
    Look(Result<Plan, SendError>, Instant),
    Pass(Result<(), SendError>, Parts, Duration),
    Pull(Pull, Result<(), PullError>),
}

impl Legacy {
    /// What a worker that is told this finds from a former life.
    pub(super) fn of(config: &WorkerConfig) -> Self {
        let notes = config.notes.as_deref();
        let (holds, receipts) = (notes.map(Holds::kept_in), notes.map(Receipts::kept_in));
        Self { holds: holds.unwrap_or_default(), receipts: receipts.unwrap_or_default(), ..Self::default() }
    }
}

impl Channel {
    /// Opens the channel; the connection is made, and made again, in the background.
    ///
    /// # Errors
    /// Where that cannot come of the configuration; `legacy` is left for the next one then.
    pub(super) fn open(config: WorkerConfig, tracker: Tracker, legacy: &mut Legacy) -> Result<Self, OpenError> {
        let topics = Topics::new(&config.prefix);
        let registry = Registry::new(config.registry.clone())?;
        let (mqtt, messages) = mqtt::connect(mqtt_options(&config, &topics))?;
        let (connection, refusals) = (mqtt.state(), registry.refusals());
        let Legacy { wishes, holds, again, receipts, known } = std::mem::take(legacy);
        let link = Link {
            mqtt,
            registry,
            topics: Arc::new(topics),
            qos: config.broker.qos,
            chunk_size: config.chunk_size,
            max_packet: Arc::default(),
            slots: Slots::default(),
            turns: Turns::default(),
            buffers: SharedBuffers::default(),
            known,
            tracker,
        };
        let mut channel = Self {
            pace: watch::Sender::new(config.pace),
            config,
            link,
            messages,
            connection,
            refusals,
            schedule: Schedule::with_holds(holds),
            declared: Declared::default(),
            again,
            pulls: Pulls::default(),
            receipts,
            limiter: Limiter::default(),
            tasks: JoinSet::new(),
            passes: HashMap::new(),
            looks: HashMap::new(),
            pulling: 0,
            stop: CancellationToken::new(),
        };
        channel.link.tracker.forget_unserved();
        channel.declare();
        wishes.into_iter().for_each(|wish| channel.ask_again(wish));
        channel.connection_changed();
        Ok(channel)
    }

    /// Whether `config` is about this channel.
    pub(super) fn fits(&self, config: &WorkerConfig) -> bool {
        self.config.is_same_channel(config)
    }

    /// Takes up another configuration; passes that the change does not touch go on. Whoever it makes of us is who we are to
    /// the broker and the registry from now on.
    ///
    /// # Errors
    /// Where that cannot come of the configuration; this channel has to be closed then.
    pub(super) fn reconfigure(&mut self, config: WorkerConfig) -> Result<(), OpenError> {
        let WorkerConfig { broker, registry, .. } = &config;
        self.link.registry.renew(registry.credentials.clone(), registry.tls.clone())?;
        self.link.mqtt.renew(broker.credentials.clone(), broker.tls.clone())?;
        self.pace.send_replace(config.pace);
        self.config = config;
        self.declare();
        self.begin();
        Ok(())
    }

    /// Does whatever comes next. Cancel-safe: what has arrived is dealt with at once.
    pub(super) async fn step(&mut self) {
        let due = [self.schedule.wake_at(Instant::now()), self.declared.wake_at(), self.pulls.wake_at()]
            .into_iter()
            .flatten()
            .min();
        let due = due.filter(|_| self.is_connected());
        let wake = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(message) = self.messages.recv() => self.heard(&message),
            Some(ended) = self.tasks.join_next_with_id() => drop(self.ended(ended)),
            Ok(()) = self.connection.changed() => self.connection_changed(),
            Ok(()) = self.refusals.changed() => self.refused_midway(),
            () = wake => {}
        }
        self.begin();
    }

    /// Ends the channel: waits for the chunks under way, then for the broker to hear of it.
    pub(super) async fn close(mut self, end: SessionEnd) -> Legacy {
        self.stop.cancel();
        // Nobody listens any more: what still arrives must not hold up the acknowledgements that we wait for.
        self.messages.close();
        let mut wishes = Vec::new();
        let drained = tokio::time::timeout(DRAIN, async {
            while let Some(ended) = self.tasks.join_next_with_id().await {
                wishes.extend(self.ended(ended));
            }
        });
        if drained.await.is_err() {
            tracing::warn!("chunks under way were not acknowledged in time");
        }
        self.tasks.shutdown().await;
        for (_, pass) in std::mem::take(&mut self.passes) {
            self.schedule.note_parts(&pass, Parts::Sound(pass.begun), Instant::now());
            self.link.tracker.broken_off(&pass.ticket);
            wishes.extend(left_of(&pass));
        }
        let (waiting, holds) = self.schedule.close();
        wishes.extend(waiting);
        let farewell = if end == SessionEnd::Discard { DISCARD } else { FAREWELL };
        self.link.mqtt.disconnect(end, farewell).await;
        self.link.known.end_surveys();
        Legacy { wishes, holds, again: self.again, receipts: self.receipts, known: self.link.known }
    }

    fn is_connected(&self) -> bool {
        matches!(*self.connection.borrow(), ConnectionState::Connected { .. })
    }

    fn connection_changed(&mut self) {
        let state = self.connection.borrow_and_update().clone();
        self.link.tracker.connection(state);
    }

    /// A transfer under way waits for other credentials, or goes on with them.
    fn refused_midway(&mut self) {
        let refusal = self.refusals.borrow_and_update().clone();
        self.link.tracker.registry(refusal.as_ref());
    }

    /// Takes up what is declared, and what is not any more.
    fn declare(&mut self) {
        let (config, tracker) = (&self.config, &self.link.tracker);
        tracker.update(|progress| progress.declare(config));
        let now = Instant::now();
        self.declared.declare(&config.artifacts, now);
        self.again.ask(config.requested.as_deref(), tracker.handled().as_deref(), now);
        for artifact in config.artifacts.iter().filter(|artifact| self.again.wants(&artifact.app_name)) {
            let rested = self.schedule.rested_at(&artifact.app_name, &artifact.formats());
            self.declared.look_at(&artifact.app_name, rested.unwrap_or(now));
        }
        let declared = &self.declared;
        self.schedule.withdraw(|app_name| declared.get(app_name).map(Artifact::formats).unwrap_or_default());
        self.settle();
    }

    /// Notes whether all that is declared is published, and whether all of it was streamed again as requested.
    fn settle(&mut self) {
        let generation = self.config.generation;
        let handled = self.again.handled(self.config.artifacts.iter().map(|artifact| artifact.app_name.as_str()));
        if handled.is_some() {
            tracing::info!("everything that is declared was looked at anew, and streamed again, as requested");
        }
        self.link.tracker.update(|progress| {
            let (published, declared) = progress.declared();
            if published == declared {
                progress.settled = Some(generation);
            }
            if handled.is_some() {
                progress.handled = handled;
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
            self.schedule.ask(declared_wish(artifact), usize::MAX, now);
        }
        let link = self.link.clone();
        while let Some(pass) = self.schedule.begin(now, &self.stop, |head| link.is_cut_so(head)) {
            self.stream(pass);
        }
        while let Some(ticket) = self.schedule.look(now) {
            self.look(ticket);
        }
        for (pull, chunks) in self.pulls.take_due(now) {
            let (link, stop) = (self.link.clone(), self.stop.child_token());
            let task = async move {
                let result = pull.run(link, chunks, stop).await;
                Ended::Pull(pull, result)
            };
            self.tasks.spawn(task.in_current_span());
            self.pulling += 1;
        }
    }

    /// Asks the registry what a wish means.
    fn look(&mut self, ticket: Ticket) {
        let Wish { reference, app_name, .. } = ticket.wish.clone();
        self.link.tracker.resolving(&reference, &app_name);
        let (link, stop) = (self.link.clone(), self.stop.clone());
        let task = async move {
            let began = Instant::now();
            let looked = stop.run_until_cancelled(look(&link, &reference, &app_name)).await;
            Ended::Look(looked.unwrap_or(Err(SendError::Stopped)), began)
        };
        let id = self.tasks.spawn(task.in_current_span()).id();
        self.looks.insert(id, ticket);
    }

    /// Sends a module to everyone.
    fn stream(&mut self, active: Active) {
        let Plan { module, head, .. } = &*active.plan;
        self.link.tracker.streaming(&active.ticket, head, self.target(&active.ticket.wish).as_deref());
        let (reference, digest, bytes, chunks) = (&module.reference, module.digest, module.size, head.layout.total());
        if self.link.tracker.artifact(reference).is_some_and(|artifact| artifact.failure.is_some()) {
            tracing::debug!(%reference, %digest, bytes, chunks, "trying again to stream what has failed");
        } else {
            tracing::info!(%reference, %digest, bytes, chunks, "streaming");
        }
        let pass = Pass { link: self.link.clone(), active: active.clone(), pace: Pace::new(self.pace.subscribe()) };
        let task = async {
            let began = Instant::now();
            let (sent, parts) = pass.run().await;
            Ended::Pass(sent, parts, began.elapsed())
        };
        let id = self.tasks.spawn(task.in_current_span()).id();
        self.passes.insert(id, active);
    }

    /// What a pass for `wish` publishes to, where it says all that was declared of its artifact.
    fn target(&self, wish: &Wish) -> Option<String> {
        let declared = self.declared.get(&wish.app_name)?;
        let says_all = declared.formats().iter().all(|format| wish.formats.contains(format));
        says_all.then(|| self.config.target(declared))
    }
}

fn declared_wish(artifact: Artifact) -> Wish {
    let formats = artifact.formats();
    Wish {
        app_name: artifact.app_name,
        reference: artifact.reference,
        formats,
        source: Source::Declared,
        asked: Vec::new(),
    }
}

/// What devices still want of a pass that was broken off.
fn left_of(pass: &Active) -> Option<Wish> {
    let mut wish = Wish { asked: pass.seats.joined(), ..pass.ticket.wish.clone() };
    wish.narrow();
    wish.is_asked().then_some(wish)
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
        keep_alive: broker.timeout.clamp(Duration::from_secs(1), KEEP_ALIVE),
        ..MqttOptions::new(broker.url.clone(), broker.client_id.clone())
    }
}
