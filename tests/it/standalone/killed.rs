//! A worker that is killed, and started again.

use std::path::Path;

use tokio::task::JoinSet;
use wasmproxy::{
    device::{self, FetchOptions},
    digest::Digest,
    mqtt::{MqttOptions, Qos, connect},
    protocol::{ErrorCode, ErrorNotice, TopicPrefix},
};

use super::process::{Process, worker};
use crate::{
    lab::{Broker, FaultProxy, Registry},
    modules::module,
    old_device::{Access, OldDevice},
    waiting::connected,
    worker::gated::Gated,
};

const PREFIX: &str = "channels/floor/messages";

/// The chunks of this worker, in bytes.
const CHUNK: usize = 1000;

fn start(broker: &Broker, registry: &str, cache: &Path) -> Process {
    Process::run(&mut worker(&[
        ("PROXY_MQTT_ADDRESS", &broker.url()),
        ("PROXY_REGISTRY_URL", &format!("http://{registry}")),
        ("PROXY_CHANNEL_ID", "floor"),
        ("PROXY_CHUNK_SIZE", &CHUNK.to_string()),
        ("PROXY_CACHE_DIR", cache.to_str().unwrap()),
    ]))
}

#[tokio::test]
async fn devices_complete_what_a_killed_worker_began_and_get_what_they_asked_for_meanwhile() {
    let broker = Broker::start().await;
    let bytes = module(100 * CHUNK);
    let registry = Gated::start(bytes.clone()).await;
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let first = start(&broker, &registry.host, &cache);
    first.line("connected").await;

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
    let _second = start(&broker, &registry.host, &cache);
    assert_eq!(old.gather("wasm/add:1").await, bytes, "asked for while nobody was there");
    let fetched = fetching.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(fetched.whole.digest, Digest::of(&bytes));
    assert_eq!(std::fs::read(folder.path().join("module.wasm")).unwrap(), bytes);
}

#[tokio::test]
async fn a_killed_worker_still_knows_of_which_names_old_devices_may_keep_parts() {
    let (broker, registry) = tokio::join!(Broker::start(), Registry::start());
    let proxy = FaultProxy::to(&registry.host()).await;
    let folder = tempfile::tempdir().unwrap();
    let first = start(&broker, &proxy.host, folder.path());
    first.line("connected").await;
    registry.push("wasm/add:latest", module(50 * CHUNK)).await;
    let access = Access { port: broker.port(), ..Access::default() };
    let mut old = OldDevice::connect(&access, "old", PREFIX).await;
    proxy.throttle(10_000);
    old.ask("wasm/add").await;
    first.line("streaming").await;
    old.hear_a_part().await;
    first.signal("KILL");
    first.end().await;
    proxy.heal();

    // As many chunks, so that nothing would tell them from those that the device has.
    let mut other = module(50 * CHUNK);
    other.iter_mut().skip(8).for_each(|byte| *byte ^= 1);
    registry.push("wasm/add:latest", other).await;
    let url = broker.url().parse().unwrap();
    let errors = format!("{PREFIX}/registry/server/error");
    let subscriptions = vec![(errors, Qos::AtLeastOnce)];
    let (client, mut notices) = connect(MqttOptions { subscriptions, ..MqttOptions::new(url, "listener") }).unwrap();
    connected(&client).await;
    let second = start(&broker, &proxy.host, folder.path());
    second.line("connected").await;
    old.ask("wasm/add").await;
    let notice: ErrorNotice = serde_json::from_slice(&notices.recv().await.unwrap().payload).unwrap();
    assert_eq!(notice.code, ErrorCode::Busy);
}
