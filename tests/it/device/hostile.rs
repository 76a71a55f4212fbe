//! What others may say on a channel, and what a device makes of it.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::task::JoinSet;
use wasmproxy::{
    device::{Cause, Event, FetchOptions, Listen},
    digest::Digest,
    mqtt::Properties,
    protocol::{ChunkHead, Complete, Layout, request::Wanted},
};

use super::{
    APP, Channel,
    floor::{CHUNK, Floor, NAME},
    script::{Module, Script},
};
use crate::lab::{Broker, BrokerConfig};

/// Chunks and notices that are none, or not ours, or cannot be true.
fn nonsense(module: &Module) -> Vec<Bytes> {
    let digest = module.head.digest;
    let chunk = json!({
        "app_name": APP, "chunk_idx": 0, "total_chunks": 3, "digest": digest, "size": 2500, "chunk_size": 1000, "data": "AAAA",
    });
    let with = |field: &str, value: serde_json::Value| {
        let mut chunk = chunk.clone();
        chunk[field] = value;
        chunk.to_string().into_bytes()
    };
    let error = json!({"app_name": "other:1", "code": "not_found", "message": "no", "retryable": false});
    let for_another =
        json!({"app_name": APP, "code": "not_found", "message": "no", "retryable": false, "device": "another"});
    let deep = "[".repeat(1_000_000).into_bytes();
    let deep_inside = format!(r#"{{"app_name": "{APP}", "x": {}1"#, "{\"x\":".repeat(100_000)).into_bytes();
    let payloads = [
        Vec::new(),
        b"{".to_vec(),
        b"null".to_vec(),
        b"[]".to_vec(),
        vec![0xff; 1000],
        b"\xff\xfe{}".to_vec(),
        deep,
        deep_inside,
        vec![b' '; 16 << 20],
        chunk.to_string().into_bytes(),
        with("size", json!(u64::MAX)),
        with("size", json!(0)),
        with("size", json!(-1)),
        with("size", json!(1e300)),
        with("chunk_size", json!(0)),
        with("chunk_size", json!(u32::MAX)),
        with("chunk_idx", json!(3)),
        with("chunk_idx", json!(u32::MAX)),
        with("total_chunks", json!(u32::MAX)),
        with("total_chunks", json!(0)),
        with("digest", json!("sha256:0")),
        with("digest", json!(null)),
        with("data", json!("?")),
        with("data", json!("")),
        with("data", json!(["AAAA"])),
        with("app_name", json!("x".repeat(100_000))),
        error.to_string().into_bytes(),
        for_another.to_string().into_bytes(),
    ];
    payloads.into_iter().map(Bytes::from).collect()
}

#[tokio::test]
async fn nonsense_on_any_topic_changes_nothing() {
    for (format, listen) in
        [(Wanted::Json, Listen::Everything), (Wanted::Raw, Listen::Everything), (Wanted::Json, Listen::OwnTopic)]
    {
        let mut channel = Channel::open().await;
        let module = Module::new(1, 2500, 1000);
        let mut fetch = channel.fetch_with(APP, FetchOptions { format, listen, ..channel.options() });
        channel.script.request().await;
        let topics = &channel.script.topics;
        let own = topics.device(&super::DEVICE.parse().unwrap()).unwrap();
        let properties = [("app_name", APP), ("chunk_idx", "0"), ("size", "99999999999999999999")];
        let user = properties.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let binary = Properties { user, ..Properties::default() };
        for topic in [&topics.chunk, &topics.raw, &topics.complete, &topics.error, &own] {
            for payload in nonsense(&module) {
                channel.script.publish(topic, payload.clone(), Properties::default()).await;
                channel.script.publish(topic, payload.slice(..payload.len().min(1000)), binary.clone()).await;
            }
        }
        channel.script.send(&module, module.chunks()).await;
        channel.script.complete(&module).await;
        if listen == Listen::OwnTopic {
            channel.script.request_by_number(&module).await;
            channel.script.send_to_device(&module, module.chunks()).await;
        }
        fetch.end().await.unwrap();
        assert_eq!(std::fs::read(channel.file()).unwrap(), module.bytes);
        while let Ok(event) = fetch.events.try_recv() {
            assert!(!matches!(event, Event::BegunAnew(_) | Event::Refused { .. }), "{event:?}");
        }
    }
}

#[tokio::test]
async fn what_was_retained_before_it_came_changes_nothing() {
    let mut channel = Channel::open().await;
    let (module, other) = (Module::new(1, 2500, 1000), Module::new(2, 2500, 1000));
    let topics = channel.script.topics.clone();
    let error = json!({"app_name": APP, "code": "not_found", "message": "no", "retryable": false}).to_string();
    let complete = serde_json::to_string(&Complete::from(&other.head)).unwrap();
    for (topic, payload) in [(&topics.error, error), (&topics.complete, complete)] {
        retain(&channel.broker, topic, &payload).await;
    }
    let mut fetch = channel.fetch();
    channel.script.request_for_all().await;
    channel.script.send(&module, module.chunks()).await;
    fetch.end().await.unwrap();
    assert_eq!(std::fs::read(channel.file()).unwrap(), module.bytes);
}

/// Leaves something at the broker for whoever comes. Our own client cannot.
async fn retain(broker: &Broker, topic: &str, payload: &str) {
    let options = rumqttc_v4::MqttOptions::new("retains", rumqttc_v4::Broker::tcp("127.0.0.1", broker.port()));
    let (client, mut events) = rumqttc_v4::AsyncClient::builder(options).build();
    let options = rumqttc_v4::PublishOptions::at_least_once().retained();
    let sent = client.publish_tracked(topic, payload.to_owned(), options).await.unwrap();
    let acknowledged = sent.wait_async();
    tokio::pin!(acknowledged);
    let _acknowledged = loop {
        tokio::select! {
            outcome = &mut acknowledged => break outcome.unwrap(),
            event = events.poll() => drop(event.unwrap()),
        }
    };
}

/// Goes on saying on the channel that a chunk of `module` is what it is not, until it is dropped.
fn forge(script: Script, module: Module) -> JoinSet<()> {
    let mut forging = JoinSet::new();
    forging.spawn(async move {
        // Slowly enough that the broker has room for what is true, too.
        let mut pace = tokio::time::interval(Duration::from_millis(5));
        loop {
            pace.tick().await;
            script.send(&module, [0]).await;
        }
    });
    forging
}

/// Somebody says chunks of another module under the same name, for as long as what is returned lives.
async fn announce_another(floor: &Floor) -> JoinSet<()> {
    let mut other = forged(&[7; 50_000]);
    other.bytes[0] ^= 1;
    let forger = Script::below(&floor.channel.broker, &floor.channel.config.prefix, "forger").await;
    forge(forger, other)
}

/// What `module` is, as the worker says it, and bytes that are not.
fn forged(bytes: &[u8]) -> Module {
    let layout = Layout::new(bytes.len() as u64, u32::try_from(CHUNK).unwrap()).unwrap();
    let head = ChunkHead { app_name: NAME.to_owned(), digest: Digest::of(bytes), layout };
    Module { bytes: bytes.to_vec(), head }.corrupt()
}

#[tokio::test]
async fn who_forges_chunks_on_the_channel_keeps_nobody_from_the_module() {
    let (floor, registry, bytes) = Floor::gated(BrokerConfig::default(), 100).await;
    let forger = Script::below(&floor.channel.broker, &floor.channel.config.prefix, "forger").await;
    let _forging = forge(forger, forged(&bytes));
    let mut fetch = floor.fetch(floor.options());
    // The first chunk that it has is the forged one.
    fetch.sees(|event| matches!(event, Event::Gathered { chunks: 1, .. })).await;
    registry.release(bytes.len());
    fetch.sees(|event| *event == Event::BegunAnew(Cause::DigestMismatch)).await;
    fetch.end().await.unwrap();
    assert_eq!(floor.fetched(), bytes);
    while let Ok(event) = fetch.events.try_recv() {
        assert!(!matches!(event, Event::BegunAnew(_)), "once it knew, it was not deceived again: {event:?}");
    }
}

#[tokio::test]
async fn who_announces_another_module_deceives_nobody_who_knows_the_digest() {
    let floor = Floor::open().await;
    let bytes = floor.push(100).await;
    let _forging = announce_another(&floor).await;
    for listen in [Listen::Everything, Listen::OwnTopic] {
        let options = FetchOptions { listen, digest: Some(Digest::of(&bytes)), ..floor.options() };
        floor.fetch(options).end().await.unwrap();
        assert_eq!(floor.fetched(), bytes);
    }
}

#[tokio::test]
async fn who_listens_to_its_own_topic_alone_is_deceived_by_nobody_on_the_channel() {
    let floor = Floor::open().await;
    let bytes = floor.push(100).await;
    let _forging = announce_another(&floor).await;
    floor.fetch(FetchOptions { listen: Listen::OwnTopic, ..floor.options() }).end().await.unwrap();
    assert_eq!(floor.fetched(), bytes);
}

#[tokio::test]
async fn many_large_payloads_cost_a_device_no_more_memory_than_a_few_of_them() {
    // What waits for the device between its connection and itself, and what the allocator keeps of it.
    const FEW: u64 = 64;
    const SIZE: u32 = 2 << 20;
    let mut channel = Channel::open().await;
    let module = Module::new(1, 2500, 1000);
    let child = super::command::fetch(&channel, channel.file().to_str().unwrap()).spawn().unwrap();
    channel.script.request_for_all().await;
    let large = Module::new(2, SIZE as usize, SIZE).named("another:1");
    for _ in 0..4 * FEW {
        channel.script.send(&large, [0]).await;
    }
    channel.script.send(&module, [0]).await;
    channel.script.complete(&module).await;
    // It has heard all of that when it asks for these; before that it may have asked anew, for it has heard nothing of its own.
    assert_eq!(channel.script.until_request_by_number(&module).await, [1, 2]);
    let peak = super::command::peak_memory(&child);
    channel.script.send_to_device(&module, [1, 2]).await;
    assert_eq!(super::command::end(child).await.status.code(), Some(0));
    assert!(peak < FEW * u64::from(SIZE) / 3 * 4, "{} MiB", peak >> 20);
}
