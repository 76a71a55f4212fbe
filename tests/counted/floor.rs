//! A worker with its cache, on threads that are counted, between a broker and a registry.

use futures::future::join_all;
use oci_client::client::{Config, ImageLayer};
use serde_json::json;
use tempfile::TempDir;
use wasmproxy::{
    protocol::ChunkSize,
    registry::Cache,
    worker::{Progress, Worker},
};

use crate::{
    allocator::Counter,
    channel::{Channel, Listener, Said, until_listening},
    lab::BrokerConfig,
    modules::module,
    threads::Threads,
    waiting::soon,
};

/// A chunk's bytes: as many as are usual.
pub const CHUNK: usize = 512_000;

/// What they are in base64, which is the most of an encoded chunk.
pub const ENCODED: usize = CHUNK.div_ceil(3) * 4;

/// A channel with a worker that is ready.
pub struct Floor {
    pub channel: Channel,
    pub counter: &'static Counter,
    pub threads: Threads,
    /// Hears when passes are complete, and nothing else.
    listener: Listener,
    _worker: Worker,
    _cache: TempDir,
}

impl Floor {
    pub async fn start() -> Self {
        Self::start_with(async |_| ()).await.0
    }

    /// One whose channel is changed before the worker begins.
    pub async fn start_with<T>(change: impl AsyncFnOnce(&mut Channel) -> T) -> (Self, T) {
        // Acknowledgements do not wait for others to go with.
        let broker = BrokerConfig::default().line("set_tcp_nodelay true");
        let mut channel = Channel::start_with(broker).await;
        let listener = channel.listen_to("registry/server/complete").await;
        let cache = tempfile::tempdir().unwrap();
        channel.config.chunk_size = ChunkSize::new(u32::try_from(CHUNK).unwrap()).unwrap();
        channel.config.registry.cache = Some(Cache::open(cache.path(), 1 << 30).unwrap());
        let changed = change(&mut channel).await;
        let counter = Counter::new(ENCODED);
        let threads = Threads::start(counter);
        let worker = threads.spawn_there(|| Worker::start(channel.config.clone(), Progress::default()));
        soon("a worker", until_listening(&worker)).await;
        let floor = Self { channel, counter, threads, _worker: worker, listener, _cache: cache };
        (floor, changed)
    }

    /// Pushes modules of so many chunks, each another.
    pub async fn push(&self, names: &[&str], chunks: usize) {
        let (registry, bytes) = (&self.channel.registry, module(chunks * CHUNK));
        // To make one takes as long as to push a few.
        let client = registry.client();
        let pushed = names.iter().map(async |name| {
            let mut bytes = bytes.clone();
            bytes[8..8 + name.len()].copy_from_slice(name.as_bytes());
            let layer = ImageLayer::new(bytes, "application/wasm".into(), None);
            let config = Config::new("{}", "application/vnd.wasm.config.v0+json".into(), None);
            client.push(&registry.reference(name), &[layer], config, &registry.auth(), None).await.unwrap();
        });
        join_all(pushed).await;
    }

    /// Asks for modules all at once, and waits until each of them was brought.
    pub async fn bring(&mut self, names: &[&str]) {
        self.ask(names).await;
        self.until_brought(names.len()).await;
    }

    pub async fn ask(&self, names: &[&str]) {
        let asks = names.iter().map(|name| json!({"app_name": name, "device": "d"}).to_string());
        join_all(asks.map(async |ask| self.listener.ask(&ask).await)).await;
    }

    /// Waits until so many passes are complete.
    pub async fn until_brought(&mut self, passes: usize) {
        for _ in 0..passes {
            let said = soon("a pass", self.listener.hear()).await;
            assert!(matches!(said, Said::Complete(_)), "{said:?}");
        }
    }
}
