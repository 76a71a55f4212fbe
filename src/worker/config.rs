//! What a worker is told to do.

use std::{path::PathBuf, time::Duration};

use super::allow::AllowList;
use crate::{
    digest::Digest,
    mqtt::{self, BrokerUrl, Qos, VersionPreference},
    protocol::{ChunkSize, Format, TopicPrefix},
    registry::{Cache, Credentials, Reference, RegistryOptions},
    tls::TlsOptions,
};

/// Everything that a worker is told, whoever tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerConfig {
    /// Which configuration this is; the worker repeats it in its [`Progress`](super::Progress) once it acts on it.
    pub generation: i64,
    /// The broker that the channel is on.
    pub broker: BrokerConfig,
    /// The registry that references without a host mean.
    pub registry: RegistryOptions,
    /// What the channel's topics begin with.
    pub prefix: TopicPrefix,
    /// What is streamed without being asked for.
    pub artifacts: Vec<Artifact>,
    /// A request to look at all of `artifacts` anew and to stream them again, by a name of its own; the worker repeats it in its
    /// [`Progress`](super::Progress) once that is done, and does it once for each name.
    pub requested: Option<String>,
    /// What devices may ask for; `None` where none are answered.
    pub requests: Option<AllowList>,
    /// The module's bytes in a chunk.
    pub chunk_size: ChunkSize,
    /// Bytes a second after a pass's first chunks; `None` for no limit.
    pub pace: Option<u64>,
    /// Requests that may wait at once.
    pub queue: usize,
    /// A file of this channel alone, where the worker notes what it must know when it was killed and is started again: of
    /// which names old devices may keep parts; and, beside it, which devices' receipts were counted. Without one it does not.
    /// See [`Self::keep_in`].
    pub notes: Option<PathBuf>,
}

/// How to reach the broker.
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerConfig {
    /// Where it is.
    pub url: BrokerUrl,
    /// Who we are to it: stable over restarts, so that the session is found again.
    pub client_id: String,
    /// User name and password.
    pub credentials: Option<mqtt::Credentials>,
    /// What its certificate must be, and ours.
    pub tls: TlsOptions,
    /// The protocol's version.
    pub version: VersionPreference,
    /// The quality of service of chunks.
    pub qos: Qos,
    /// How long a connection may take, how long a write may make no progress, and how long the broker may be silent: the
    /// last at most 30 s.
    pub timeout: Duration,
}

/// An artifact that is streamed when it is declared, and again whenever its digest changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// The reference as it was written; chunks carry it.
    pub app_name: String,
    /// The reference, fully qualified.
    pub reference: Reference,
    /// How often its tag is looked at; one with a digest never changes.
    pub interval: Duration,
    /// Say it to old devices too.
    pub plain: bool,
}

impl Artifact {
    /// The formats that it is said in.
    pub(super) fn formats(&self) -> Vec<Format> {
        if self.plain { vec![Format::Full, Format::Plain] } else { vec![Format::Full] }
    }
}

impl WorkerConfig {
    /// Keeps modules in `cache`, and this channel's notes beside them.
    pub fn keep_in(&mut self, cache: &Cache) {
        let channel = format!("{}\n{}\n{}", self.broker.url, self.broker.client_id, self.prefix);
        let name = format!("{}.json", Digest::of(channel.as_bytes()).hex());
        self.notes = Some(cache.dir().join("channels").join(name));
        self.registry.cache = Some(cache.clone());
    }

    /// What an artifact is published *to*: equal where broker, topics and chunk size are, and what devices know it by, so that what
    /// was published there once need not be again.
    pub fn target(&self, artifact: &Artifact) -> String {
        let Artifact { app_name, plain, .. } = artifact;
        let dialects = if *plain { "full plain" } else { "full" };
        let target = format!("{}\n{}\n{dialects}\n{}\n{app_name}", self.broker.url, self.prefix, self.chunk_size.get());
        let mut hex = Digest::of(target.as_bytes()).hex();
        hex.truncate(32);
        hex
    }

    /// Whether `other` is about the same channel, so that passes under way may go on: it is taken up in place, though perhaps
    /// as somebody else to the broker or the registry.
    pub(super) fn is_same_channel(&self, other: &Self) -> bool {
        self.broker.anonymous() == other.broker.anonymous()
            && anonymous(&self.registry) == anonymous(&other.registry)
            && self.prefix == other.prefix
            && self.chunk_size == other.chunk_size
            && self.requests.is_some() == other.requests.is_some()
    }
}

impl BrokerConfig {
    /// The same without what says who we are, and whom we trust.
    fn anonymous(&self) -> Self {
        Self { credentials: None, tls: TlsOptions::default(), ..self.clone() }
    }
}

fn anonymous(registry: &RegistryOptions) -> RegistryOptions {
    RegistryOptions { credentials: Credentials::Anonymous, tls: TlsOptions::default(), ..registry.clone() }
}
