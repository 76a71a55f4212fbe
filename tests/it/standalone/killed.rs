//! A worker that is killed, and started again.

use tokio::task::JoinSet;
use wasmproxy::{
    device::{self, FetchOptions},
    digest::Digest,
    protocol::TopicPrefix,
};

use super::process::{Process, worker};
use crate::{
    lab::Broker,
    modules::module,
    old_device::{Access, OldDevice},
    worker::gated::Gated,
};

const PREFIX: &str = "channels/floor/messages";

/// The chunks of this worker, in bytes.
const CHUNK: usize = 1000;

fn start(broker: &Broker, registry: &str) -> Process {
    Process::run(&mut worker(&[
        ("PROXY_MQTT_ADDRESS", &broker.url()),
        ("PROXY_REGISTRY_URL", &format!("http://{registry}")),
        ("PROXY_CHANNEL_ID", "floor"),
        ("PROXY_CHUNK_SIZE", &CHUNK.to_string()),
    ]))
}

#[tokio::test]
async fn devices_complete_what_a_killed_worker_began_and_get_what_they_asked_for_meanwhile() {
    let broker = Broker::start().await;
    let bytes = module(100 * CHUNK);
    let registry = Gated::start(bytes.clone()).await;
    let first = start(&broker, &registry.host);
    first.line("connected").await;

    let folder = tempfile::tempdir().unwrap();
    let prefix = TopicPrefix::new(PREFIX).unwrap();
    let options = FetchOptions::new(broker.url().parse().unwrap(), prefix, "press-4".parse().unwrap());
    let (gathered, mut gathers) = tokio::sync::watch::channel(0);
    let mut fetching = JoinSet::new();
    let file = folder.path().join("module.wasm");
    fetching.spawn(async move {
        let note = move |event| {
            if let device::Event::Gathered { chunks, .. } = event {
                gathered.send_replace(chunks);
            }
        };
        device::fetch(&"wasm/add:1".parse().unwrap(), &file, &options, note).await
    });
    registry.release(40 * CHUNK);
    gathers.wait_for(|chunks| *chunks == 40).await.unwrap();
    first.signal("KILL");
    first.end().await;

    let access = Access { port: broker.port(), ..Access::default() };
    let mut old = OldDevice::connect(&access, "old", PREFIX).await;
    old.ask("wasm/add:1").await;
    registry.release(100 * CHUNK);
    let _second = start(&broker, &registry.host);
    assert_eq!(old.gather("wasm/add:1").await, bytes, "asked for while nobody was there");
    let fetched = fetching.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(fetched.whole.digest, Digest::of(&bytes));
    assert_eq!(std::fs::read(folder.path().join("module.wasm")).unwrap(), bytes);
}
