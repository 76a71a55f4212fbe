//! The other end of a channel, as a test dictates it.

use bytes::Bytes;
use tokio::sync::mpsc;
use wasmproxy::{
    digest::Digest,
    mqtt::{Client, Message, MqttOptions, Properties, Publish, Qos, connect},
    protocol::{
        ChunkEncoder, ChunkHead, Complete, Descriptor, DeviceName, ErrorCode, ErrorNotice, Format, Layout, Missing,
        Receipt, Request, TopicPrefix, Topics,
    },
};

use super::{APP, DEVICE, prefix};
use crate::{
    lab::Broker,
    waiting::{self, soon},
};

/// A module, and what every chunk of it says.
pub struct Module {
    pub bytes: Vec<u8>,
    pub head: ChunkHead,
}

impl Module {
    /// One of `size` bytes that differ from chunk to chunk, and from those of another `seed`.
    pub fn new(seed: u8, size: usize, chunk_size: u32) -> Self {
        let mut random = fastrand::Rng::with_seed(seed.into());
        let bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(size).collect();
        let layout = Layout::new(size as u64, chunk_size).unwrap();
        Self { head: ChunkHead { app_name: APP.to_owned(), digest: Digest::of(&bytes), layout }, bytes }
    }

    /// The same, announced under another reference.
    pub fn named(mut self, reference: &str) -> Self {
        reference.clone_into(&mut self.head.app_name);
        self
    }

    /// The same announcement, with other bytes in one chunk.
    pub fn corrupt(&self) -> Self {
        let mut bytes = self.bytes.clone();
        bytes[0] ^= 1;
        Self { bytes, head: self.head.clone() }
    }

    pub fn chunks(&self) -> std::ops::Range<u32> {
        0..self.head.layout.total()
    }

    fn encoded(&self, format: Format, index: u32) -> Bytes {
        let begin = usize::try_from(self.head.layout.offset(index)).unwrap();
        let mut encoder = ChunkEncoder::new(&self.head, format, index);
        encoder.push(&self.bytes[begin..][..self.head.layout.len_of(index)]);
        encoder.finish()
    }
}

/// Somebody who hears what devices say, and says what a test wants.
pub struct Script {
    pub client: Client,
    pub topics: Topics,
    messages: mpsc::Receiver<Message>,
}

impl Script {
    pub async fn on(broker: &Broker) -> Self {
        Self::below(broker, &prefix(), "script").await
    }

    /// On another channel, under a name of its own.
    pub async fn below(broker: &Broker, prefix: &TopicPrefix, client_id: &str) -> Self {
        let topics = Topics::new(prefix);
        let subscriptions = [&topics.requests, &topics.receipts].map(|filter| (filter.clone(), Qos::AtLeastOnce));
        let options = MqttOptions {
            subscriptions: subscriptions.into(),
            tls: broker.tls(),
            max_packet_size: 32 << 20,
            ..MqttOptions::new(broker.url().parse().unwrap(), client_id)
        };
        let (client, messages) = connect(options).unwrap();
        let script = Self { client, topics, messages };
        script.connected().await;
        script
    }

    /// Waits until it hears what devices say.
    pub async fn connected(&self) {
        waiting::connected(&self.client).await;
    }

    /// The next request.
    pub async fn request(&mut self) -> Request {
        let message = soon("a request", self.messages.recv()).await.unwrap();
        assert_eq!(message.topic, self.topics.requests);
        Request::parse(&message.payload).unwrap()
    }

    /// The next request, which asks for the whole module.
    pub async fn request_for_all(&mut self) {
        let request = self.request().await;
        assert_eq!(request.full.unwrap().missing, None);
    }

    /// The next request, which asks for chunks of `module` by number.
    pub async fn request_by_number(&mut self, module: &Module) -> Vec<u32> {
        let missing = self.request().await.full.unwrap().missing.expect("a request by number");
        Self::numbers(missing, module)
    }

    /// The next request that asks for chunks of `module` by number, however often it is asked for whole before.
    pub async fn until_request_by_number(&mut self, module: &Module) -> Vec<u32> {
        loop {
            if let Some(missing) = self.request().await.full.unwrap().missing {
                return Self::numbers(missing, module);
            }
        }
    }

    fn numbers(missing: Missing, module: &Module) -> Vec<u32> {
        assert_eq!((missing.digest, missing.chunk_size), (module.head.digest, module.head.layout.chunk_size()));
        assert_eq!(missing.device.to_string(), DEVICE);
        missing.chunks.iter().collect()
    }

    /// The next receipt, and whose it is.
    pub async fn receipt(&mut self) -> (DeviceName, Receipt) {
        let message = soon("a receipt", self.messages.recv()).await.unwrap();
        let device = self.topics.receipt_sender(&message.topic).expect("a receipt");
        (device, Receipt::parse(&message.payload).unwrap())
    }

    /// Sends chunks to everyone, in JSON.
    pub async fn send(&self, module: &Module, chunks: impl IntoIterator<Item = u32>) {
        for index in chunks {
            self.publish(&self.topics.chunk, module.encoded(Format::Full, index), Properties::default()).await;
        }
    }

    /// Sends chunks to everyone, in binary.
    pub async fn send_raw(&self, module: &Module, chunks: impl IntoIterator<Item = u32>) {
        for index in chunks {
            let properties = Properties { user: module.head.properties(index), ..Properties::default() };
            self.publish(&self.topics.raw, module.encoded(Format::Raw, index), properties).await;
        }
    }

    /// Sends chunks to the device that asked for them.
    pub async fn send_to_device(&self, module: &Module, chunks: impl IntoIterator<Item = u32>) {
        let topic = self.topics.device(&DEVICE.parse().unwrap()).unwrap();
        for index in chunks {
            self.publish(&topic, module.encoded(Format::Full, index), Properties::default()).await;
        }
    }

    /// Ends a pass.
    pub async fn complete(&self, module: &Module) {
        let notice = serde_json::to_vec(&Complete::from(&module.head)).unwrap();
        self.publish(&self.topics.complete, notice.into(), Properties::default()).await;
    }

    /// Says to the device what is wrong.
    pub async fn error(&self, code: ErrorCode, message: &str) {
        self.say(&Self::notice(code, message)).await;
    }

    /// Says to the device what the reference means.
    pub async fn changed_to(&self, module: &Module) {
        let now = Descriptor::new(module.head.digest, module.head.layout);
        self.say(&ErrorNotice { now: Some(now), ..Self::notice(ErrorCode::Changed, "begin anew") }).await;
    }

    /// Says what is wrong.
    pub async fn say(&self, notice: &ErrorNotice) {
        self.publish(&self.topics.error, serde_json::to_vec(notice).unwrap().into(), Properties::default()).await;
    }

    fn notice(code: ErrorCode, message: &str) -> ErrorNotice {
        ErrorNotice {
            app_name: APP.to_owned(),
            retryable: code.is_retryable(),
            code,
            message: message.to_owned(),
            device: Some(DEVICE.parse().unwrap()),
            now: None,
        }
    }

    /// Says anything at all.
    pub async fn publish(&self, topic: &str, payload: Bytes, properties: Properties) {
        let publish = Publish { properties, ..Publish::new(topic, payload, Qos::AtLeastOnce) };
        soon("the broker", self.client.publish(publish)).await.unwrap();
    }
}
