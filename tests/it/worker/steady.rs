//! What people read where the same goes wrong again and again.

use std::{
    io,
    sync::{Arc, Mutex, Once},
};

use tracing::{Level, level_filters::LevelFilter, subscriber::DefaultGuard};
use tracing_subscriber::layer::SubscriberExt as _;
use wasmproxy::{
    mqtt::{SessionEnd, VersionPreference},
    protocol::ChunkSize,
    worker::Phase,
};

use super::channel::{Channel, until};
use crate::{lab::BrokerConfig, modules::module, waiting::soon};

/// What this thread logs from INFO on: all that a test does, which has but one.
struct Log {
    lines: Arc<Mutex<Vec<u8>>>,
    _guard: DefaultGuard,
}

impl Log {
    fn start() -> Self {
        // A line that another test reaches for the first time while this subscriber is new may be taken for one that nobody
        // wants, for good; so there is somebody who wants all, all the time.
        static EVERYTHING: Once = Once::new();
        EVERYTHING.call_once(|| {
            let everything = tracing_subscriber::registry().with(LevelFilter::INFO);
            let _ = tracing::subscriber::set_global_default(everything);
        });
        let lines = Arc::<Mutex<Vec<u8>>>::default();
        let writer = Writer(lines.clone());
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::INFO)
            .with_ansi(false)
            .without_time()
            .with_writer(move || writer.clone());
        Self { lines, _guard: tracing::subscriber::set_default(subscriber.finish()) }
    }

    /// The lines since the last call.
    fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.lines.lock().unwrap());
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }
}

#[derive(Clone)]
struct Writer(Arc<Mutex<Vec<u8>>>);

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_chunk_that_the_broker_hangs_up_on_is_logged_once_and_not_with_each_attempt() {
    let log = Log::start();
    let mut channel = Channel::start_with(BrokerConfig::default().line("max_packet_size 20000")).await;
    channel.registry.push("wasm/add:1", module(100_000)).await;
    channel.config.chunk_size = ChunkSize::new(20_000).unwrap();
    channel.config.broker.version = VersionPreference::V311;
    channel.declare("wasm/add:1");
    let reference = channel.reference("wasm/add:1");
    let worker = channel.worker();
    soon("the failure", until(&worker, &reference, |artifact| artifact.phase == Phase::Failed)).await;
    let mut first = log.take();
    first.retain(|line| line.contains("WARN"));
    for said in ["was lost", "closes the connection at messages of so many bytes", "use smaller chunks"] {
        assert_eq!(first.iter().filter(|line| line.contains(said)).count(), 1, "{said}: {first:#?}");
    }
    assert_eq!(first.len(), 3, "{first:#?}");

    // Three losses were needed; from now on each attempt costs one.
    soon("an attempt", until(&worker, &reference, |artifact| artifact.phase == Phase::Streaming)).await;
    soon("its end", until(&worker, &reference, |artifact| artifact.phase == Phase::Failed)).await;
    assert_eq!(log.take(), [""; 0]);
    worker.stop(SessionEnd::Discard).await;
}

#[tokio::test]
async fn a_broker_that_was_never_there_is_not_said_to_be_left() {
    let log = Log::start();
    let mut channel = Channel::start().await;
    channel.broker.stop();
    let worker = channel.worker();
    worker.progress().wait_for(|progress| progress.broker.is_some()).await.unwrap();
    worker.stop(SessionEnd::Discard).await;
    let lines = log.take();
    assert!(!lines.iter().any(|line| line.contains("session") || line.contains("closed the connection")), "{lines:#?}");
}
