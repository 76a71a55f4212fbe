//! What the tests of a worker share: a channel with its servers, and somebody who hears all that is said on it.

use std::{collections::BTreeMap, time::Duration};

use tokio::sync::mpsc;
use wasmproxy::{
    digest::Digest,
    mqtt::{self, Client, ConnectionState, Message, MqttOptions, Publish, Qos, VersionPreference, connect},
    protocol::{Chunk, ChunkSize, Complete, ErrorNotice, TopicPrefix, Topics},
    registry::{Credentials, Reference, RegistryOptions},
    tls::TlsOptions,
    worker::{AllowList, Artifact, ArtifactProgress, BrokerConfig, Phase, Progress, Worker, WorkerConfig},
};

use crate::{
    lab::{self, Broker, Registry},
    waiting::{connected, taken_in},
};

/// The chunks of these tests, in bytes: small, so that small modules have several.
pub const CHUNK: usize = 1000;

/// A channel without a worker yet.
pub struct Channel {
    pub broker: Broker,
    pub registry: Registry,
    pub topics: Topics,
    pub config: WorkerConfig,
}

/// Hears all that is said on a channel, and can say something.
pub struct Listener {
    pub client: Client,
    messages: mpsc::UnboundedReceiver<Message>,
    topics: Topics,
}

impl Channel {
    pub async fn start() -> Self {
        Self::start_with(lab::BrokerConfig::default()).await
    }

    /// With a broker of another kind; the worker and whoever listens are its first user.
    pub async fn start_with(broker: lab::BrokerConfig) -> Self {
        let (broker, registry) = tokio::join!(broker.start(), Registry::start());
        let prefix = TopicPrefix::of_channel("test").unwrap();
        let config = Self::config(&broker, &registry, &prefix);
        Self { broker, registry, topics: Topics::new(&prefix), config }
    }

    /// What a worker between these two is told, unless a test says something else.
    pub fn config(broker: &Broker, registry: &Registry, prefix: &TopicPrefix) -> WorkerConfig {
        WorkerConfig {
            generation: 1,
            broker: BrokerConfig {
                url: broker.url().parse().unwrap(),
                client_id: "worker".to_owned(),
                credentials: broker.user().map(|(username, password)| mqtt::Credentials {
                    username: username.to_owned(),
                    password: Some(password.to_owned()),
                }),
                tls: broker.tls(),
                version: VersionPreference::Auto,
                qos: Qos::AtLeastOnce,
                timeout: Duration::from_secs(10),
            },
            registry: RegistryOptions {
                host: registry.host(),
                plain_http: true,
                credentials: Credentials::Anonymous,
                tls: TlsOptions::default(),
                max_module_size: 1 << 30,
                timeout: RegistryOptions::DEFAULT_TIMEOUT,
                cache: None,
            },
            prefix: prefix.clone(),
            artifacts: Vec::new(),
            requested: None,
            requests: Some(AllowList::anything_under(&registry.host()).unwrap()),
            chunk_size: ChunkSize::new(u32::try_from(CHUNK).unwrap()).unwrap(),
            pace: None,
            queue: 16,
            notes: None,
        }
    }

    /// An artifact that is looked at ten times a second.
    pub fn declare(&mut self, app_name: &str) -> &mut Artifact {
        let artifact = Artifact {
            app_name: app_name.to_owned(),
            reference: self.reference(app_name),
            interval: Duration::from_millis(100),
            plain: false,
        };
        self.config.artifacts.push(artifact);
        self.config.artifacts.last_mut().unwrap()
    }

    /// Takes modules from another registry, over plain HTTP: a proxy before the channel's own, or one that is no real one.
    pub fn take_from(&mut self, host: &str) {
        self.config.registry.host = host.to_owned();
        self.config.requests = Some(AllowList::anything_under(host).unwrap());
    }

    pub fn reference(&self, app_name: &str) -> Reference {
        Reference::parse(app_name, &self.registry.host()).unwrap()
    }

    /// A worker without a memory.
    pub fn worker(&self) -> Worker {
        Worker::start(self.config.clone(), Progress::default())
    }

    /// Hears everything below the channel's prefix.
    pub async fn listen(&self) -> Listener {
        self.listen_to("#").await
    }

    /// Hears one topic below the channel's prefix.
    pub async fn listen_to(&self, filter: &str) -> Listener {
        let filter = format!("{}/{filter}", self.config.prefix);
        let url = self.config.broker.url.clone();
        let mut options = MqttOptions::new(url, format!("listener-{}", fastrand::u64(..)));
        options.credentials = self.config.broker.credentials.clone();
        options.tls = self.config.broker.tls.clone();
        options.max_packet_size = 32 << 20;
        options.subscriptions = vec![(filter, Qos::AtLeastOnce)];
        let (client, messages) = connect(options).unwrap();
        connected(&client).await;
        Listener { client, messages: taken_in(messages), topics: self.topics.clone() }
    }
}

/// Waits until `reference` is as far as that.
pub async fn until(worker: &Worker, reference: &Reference, is: impl Fn(&ArtifactProgress) -> bool) -> ArtifactProgress {
    let reference = reference.to_string();
    let mut progress = worker.progress();
    let artifact = |progress: &Progress| progress.artifacts.get(&reference).cloned();
    artifact(&progress.wait_for(|progress| artifact(progress).is_some_and(|artifact| is(&artifact))).await.unwrap())
        .unwrap()
}

pub async fn until_published(worker: &Worker, reference: &Reference) -> ArtifactProgress {
    until(worker, reference, |artifact| artifact.phase == Phase::Published).await
}

/// Waits until the worker hears requests.
pub async fn until_listening(worker: &Worker) {
    let connected = |progress: &Progress| matches!(progress.broker, Some(ConnectionState::Connected { .. }));
    worker.progress().wait_for(connected).await.unwrap();
}

/// Something said on a channel.
#[derive(Debug)]
pub enum Said {
    Plain(Chunk),
    Full(Chunk),
    Raw(Chunk),
    Device(String, Chunk),
    Complete(Complete),
    Error(ErrorNotice),
}

impl Listener {
    /// Publishes below the channel's prefix, as a device does.
    pub async fn say(&self, topic: &str, payload: &str) {
        self.client.publish(Publish::new(topic, payload.to_owned(), Qos::AtLeastOnce)).await.unwrap();
    }

    pub async fn ask(&self, payload: &str) {
        self.say(&self.topics.requests, payload).await;
    }

    /// What the worker says next.
    pub async fn hear(&mut self) -> Said {
        loop {
            let message = self.messages.recv().await.unwrap();
            let Message { topic, payload, properties, retain } = message;
            assert!(!retain, "nothing is ever retained");
            let chunk = || Chunk::from_json(&payload).unwrap();
            if topic == self.topics.plain {
                return Said::Plain(chunk());
            } else if topic == self.topics.chunk {
                return Said::Full(chunk());
            } else if topic == self.topics.raw {
                return Said::Raw(Chunk::from_raw(&properties.user, &payload).unwrap());
            } else if topic == self.topics.complete {
                return Said::Complete(serde_json::from_slice(&payload).unwrap());
            } else if topic == self.topics.error {
                return Said::Error(serde_json::from_slice(&payload).unwrap());
            } else if let Some((_, device)) = topic.split_once("/registry/server/device/") {
                return Said::Device(device.to_owned(), chunk());
            }
        }
    }

    /// What is said until a pass is complete.
    pub async fn hear_a_pass(&mut self) -> (Vec<Chunk>, Complete) {
        let mut chunks = Vec::new();
        loop {
            match self.hear().await {
                Said::Full(chunk) | Said::Raw(chunk) => chunks.push(chunk),
                Said::Complete(complete) => return (chunks, complete),
                other => panic!("{other:?}"),
            }
        }
    }

    pub async fn hear_an_error(&mut self) -> ErrorNotice {
        match self.hear().await {
            Said::Error(notice) => notice,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until the worker has heard whatever was asked before now; returns what it says meanwhile.
    pub async fn until_heard(&mut self) -> Vec<Said> {
        // Requests are answered in order, and this one by a notice alone.
        let name = format!("nobody.example/{}", fastrand::u64(..));
        self.ask(&serde_json::json!({ "app_name": name }).to_string()).await;
        let mut said = Vec::new();
        loop {
            match self.hear().await {
                Said::Error(notice) if notice.app_name == name => return said,
                other => said.push(other),
            }
        }
    }

    /// Lets whatever was said before now arrive, and says how much of it the worker said.
    pub async fn rest(&mut self) -> usize {
        let marker = format!("{}/marker", self.topics.requests);
        self.say(&marker, "").await;
        let mut said = 0;
        loop {
            let message = self.messages.recv().await.unwrap();
            if message.topic == marker {
                return said;
            }
            said += usize::from(message.topic.contains("/registry/server"));
        }
    }
}

/// The module that chunks make, where each index came at least once and always the same.
pub fn assembled(chunks: &[Chunk]) -> Vec<u8> {
    let mut pieces = BTreeMap::new();
    for chunk in chunks {
        let piece = pieces.entry(chunk.index).or_insert_with(|| chunk.data.clone());
        assert_eq!(*piece, chunk.data);
    }
    assert_eq!(pieces.len(), chunks[0].total as usize, "chunks are missing");
    pieces.into_values().flatten().collect()
}

/// The digest of what chunks make.
pub fn digest(chunks: &[Chunk]) -> Digest {
    Digest::of(&assembled(chunks))
}
