//! A real worker at the other end, and somebody who hears all that is said in between.

use std::{path::PathBuf, time::Duration};

use tempfile::TempDir;
use tokio::sync::mpsc;
use wasmproxy::{
    device::FetchOptions,
    mqtt::{Client, Message, MqttOptions, Publish, Qos, SessionEnd, connect},
    protocol::{ErrorNotice, Request},
    worker::{AllowList, Phase, Progress, Worker},
};

use super::{DEVICE, Fetch};
use crate::{
    lab::{BrokerConfig, FaultProxy},
    modules::module,
    waiting::{connected, soon, taken_in},
    worker::{
        channel::{self, until_listening},
        gated::Gated,
    },
};

pub use channel::CHUNK;

/// What is pushed and asked for, unless it is something else.
pub const NAME: &str = "wasm/add:1";

/// A channel between real servers, with its worker and a folder for what comes.
pub struct Floor {
    pub channel: channel::Channel,
    pub worker: Worker,
    folder: TempDir,
}

impl Floor {
    pub async fn open() -> Self {
        Self::open_with(BrokerConfig::default()).await
    }

    pub async fn open_with(broker: BrokerConfig) -> Self {
        Self::on(channel::Channel::start_with(broker).await).await
    }

    /// With a registry that hands out its only module as far as the test lets it.
    pub async fn gated(broker: BrokerConfig, chunks: usize) -> (Self, Gated, Vec<u8>) {
        let mut channel = channel::Channel::start_with(broker).await;
        let bytes = module(chunks * CHUNK);
        let registry = Gated::start(bytes.clone()).await;
        channel.config.registry.host.clone_from(&registry.host);
        channel.config.requests = Some(AllowList::anything_under(&registry.host).unwrap());
        (Self::on(channel).await, registry, bytes)
    }

    /// Ends the worker with its session, and starts another one: what is asked in between is lost.
    pub async fn with_another_worker(self) -> Self {
        self.worker.stop(SessionEnd::Discard).await;
        Self { folder: self.folder, ..Self::on(self.channel).await }
    }

    /// On a channel that is configured already.
    pub async fn on(channel: channel::Channel) -> Self {
        let worker = channel.worker();
        until_listening(&worker).await;
        Self { channel, worker, folder: tempfile::tempdir().unwrap() }
    }

    /// Pushes a module of so many chunks, the last of which holds a byte.
    pub async fn push(&self, chunks: usize) -> Vec<u8> {
        let bytes = module((chunks - 1) * CHUNK + 1);
        self.channel.registry.push(NAME, bytes.clone()).await;
        bytes
    }

    /// What was fetched.
    pub fn fetched(&self) -> Vec<u8> {
        std::fs::read(self.file("add.wasm")).unwrap()
    }

    /// Options of a device behind a proxy.
    pub fn through(&self, proxy: &FaultProxy) -> FetchOptions {
        FetchOptions { url: format!("mqtt://{}", proxy.host).parse().unwrap(), ..self.options() }
    }

    /// The same of a device that a busy machine does not make ask twice, for tests that count what is asked for.
    pub fn patiently_through(&self, proxy: &FaultProxy) -> FetchOptions {
        FetchOptions { silence: Duration::from_secs(5), ..self.through(proxy) }
    }

    /// Options of a device that is impatient, for tests that wait for silences; a worker answers after half a second.
    pub fn options(&self) -> FetchOptions {
        let (url, prefix) = (self.channel.config.broker.url.clone(), self.channel.config.prefix.clone());
        FetchOptions { silence: Duration::from_millis(1500), ..FetchOptions::new(url, prefix, DEVICE.parse().unwrap()) }
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn fetch(&self, options: FetchOptions) -> Fetch {
        Fetch::begin(NAME, self.file("add.wasm"), options)
    }

    /// Hears from now on what is said under `filter`: `#` for everything, which is much for a broker of little room.
    pub async fn ears(&self, filter: &str) -> Ears {
        let prefix = self.channel.config.prefix.to_string();
        let subscriptions = [filter, MARKER].map(|filter| (format!("{prefix}/{filter}"), Qos::AtLeastOnce));
        let options = MqttOptions {
            subscriptions: subscriptions.into(),
            ..MqttOptions::new(self.channel.config.broker.url.clone(), "ears")
        };
        let (client, messages) = connect(options).unwrap();
        connected(&client).await;
        Ears { client, messages: taken_in(messages), prefix }
    }

    /// Waits until everybody has been sent a module whole.
    pub async fn until_complete(&self) {
        let sent = |progress: &Progress| progress.artifacts.values().any(|artifact| artifact.phase == Phase::Published);
        soon("the end of the pass", self.worker.progress().wait_for(sent)).await.unwrap();
    }
}

/// Comes after all that was said before it.
const MARKER: &str = "marker";

/// Somebody who hears what is said.
pub struct Ears {
    client: Client,
    messages: mpsc::UnboundedReceiver<Message>,
    prefix: String,
}

/// What was said.
#[derive(Debug, Default)]
pub struct Heard {
    /// What devices asked, in order.
    pub requests: Vec<Request>,
    /// How many chunks everybody heard, in either format.
    pub to_everyone: usize,
    /// How many passes were over.
    pub complete: usize,
    /// How many chunks devices were sent on topics of their own.
    pub by_number: usize,
    pub errors: Vec<ErrorNotice>,
}

impl Heard {
    /// How many chunks each request asked for by number; none for the whole module.
    pub fn asked(&self) -> Vec<usize> {
        self.requests.iter().map(|request| numbers(request).len()).collect()
    }

    /// The chunks that were asked for by number, in order.
    pub fn numbers(&self) -> Vec<usize> {
        self.requests.iter().flat_map(numbers).collect()
    }

    fn note(&mut self, topic: &str, payload: &[u8]) {
        match topic {
            "registry/proplet" => self.requests.push(Request::parse(payload).unwrap()),
            "registry/server/chunk" | "registry/server/raw" => self.to_everyone += 1,
            "registry/server/complete" => self.complete += 1,
            "registry/server/error" => self.errors.push(ErrorNotice::parse(payload).unwrap()),
            topic if topic.starts_with("registry/server/device/") => self.by_number += 1,
            topic => assert!(topic.starts_with("registry/proplet/received/"), "{topic}"),
        }
    }
}

fn numbers(request: &Request) -> Vec<usize> {
    let missing = request.full.as_ref().and_then(|full| full.missing.as_ref());
    missing.map(|missing| missing.chunks.iter().map(|index| index as usize).collect()).unwrap_or_default()
}

impl Ears {
    /// All that was said until now, and not heard before.
    pub async fn all(&mut self) -> Heard {
        let marker = format!("{}/{MARKER}", self.prefix);
        self.client.publish(Publish::new(&marker, "", Qos::AtLeastOnce)).await.unwrap();
        let mut heard = Heard::default();
        loop {
            let message = soon("what is said", self.messages.recv()).await.unwrap();
            match &message.topic[self.prefix.len() + 1..] {
                MARKER => return heard,
                topic => heard.note(topic, &message.payload),
            }
        }
    }
}
