//! Devices of old get what they ask for, and hear nothing else.

use serde_json::json;
use wasmproxy::digest::Digest;

use super::{Access, OldDevice};
use crate::{
    lab::{Broker, Registry},
    modules::module,
    standalone::Process,
    worker::channel::{self, Channel, until_listening},
};

/// The chunks of a worker that is told nothing else, in bytes.
const CHUNK: usize = 512_000;
const PREFIX: &str = "channels/floor/messages";

/// A standalone worker with its servers, and a device.
struct Floor {
    _broker: Broker,
    registry: Registry,
    _worker: Process,
    device: OldDevice,
}

async fn floor() -> Floor {
    let (broker, registry) = tokio::join!(Broker::start(), Registry::start());
    let worker = Process::between(&broker, &registry);
    worker.line("connected").await;
    let access = Access { port: broker.port(), ..Access::default() };
    let device = OldDevice::connect(&access, "device", PREFIX).await;
    Floor { _broker: broker, registry, _worker: worker, device }
}

/// Pushes a module of that size, asks for it, and compares digests.
async fn a_module_arrives(size: usize) {
    let mut floor = floor().await;
    let pushed = floor.registry.push("wasm/add:latest", module(size)).await;
    let app_name = format!("{}/wasm/add", floor.registry.host());
    floor.device.ask(&app_name).await;
    let gathered = floor.device.gather(&app_name).await;
    assert_eq!((gathered.len(), Digest::of(&gathered)), (size, pushed));
    assert_eq!(floor.device.heard.len(), size.div_ceil(CHUNK) - 1, "every chunk came once");
}

#[tokio::test]
async fn a_module_of_one_byte_over_a_chunk_arrives() {
    a_module_arrives(CHUNK + 1).await;
}

#[tokio::test]
async fn a_module_of_exactly_a_chunk_arrives() {
    a_module_arrives(CHUNK).await;
}

#[tokio::test]
async fn a_module_of_less_than_a_chunk_arrives() {
    a_module_arrives(CHUNK - 1).await;
}

#[tokio::test]
async fn a_module_of_64_mebibytes_arrives() {
    a_module_arrives(64 << 20).await;
}

#[tokio::test]
async fn nothing_is_heard_that_was_not_asked_for() {
    let mut floor = Channel::start().await;
    for (name, chunks) in [("declared:1", 200), ("full:1", 200), ("plain:1", 100), ("last:1", 1)] {
        floor.registry.push(&format!("wasm/{name}"), module(chunks * channel::CHUNK)).await;
    }
    floor.declare("wasm/declared:1");
    let access = Access { port: floor.broker.port(), ..Access::default() };
    let mut device = OldDevice::connect(&access, "device", floor.config.prefix.as_str()).await;
    let mut notices = floor.listen_to("registry/server/complete").await;
    let worker = floor.worker();
    until_listening(&worker).await;

    notices.ask(&json!({"app_name": "wasm/full:1", "device": "press-4"}).to_string()).await;
    device.ask("wasm/plain:1").await;
    device.gather("wasm/plain:1").await;
    for _ in ["declared", "full"] {
        notices.hear().await;
    }
    // What comes after it on the topic says that nothing came before it.
    device.ask("wasm/last:1").await;
    device.gather("wasm/last:1").await;
    assert_eq!(device.heard, ["wasm/plain:1"; 99]);
}
