//! Devices that mean no good, or know no better: what they can cost is bounded, and others are served meanwhile.

use std::{process::Command, time::Instant};

use serde_json::json;
use wasmproxy::{
    digest::Digest,
    mqtt::{Client, MqttOptions, connect},
    protocol::{ChunkSize, request::MAX_REQUEST},
    worker::{AllowList, MAX_REQUESTED},
};

use super::{
    channel::{CHUNK, Channel, Listener, Said, assembled, until, until_listening},
    fetched::{fetch, options},
    gated::Gated,
};
use crate::{
    flood::{self, flood},
    lab::BrokerConfig,
    modules::module,
    waiting::connected,
};

/// How many of each kind: some seconds' worth of a thousand a second.
const MANY: u32 = 3000;

/// The most error notices on a channel in any second.
const PER_SECOND: u64 = 10;

/// A channel whose broker drops nothing, however much waits there.
async fn patient() -> Channel {
    Channel::start_with(BrokerConfig::default().line("max_queued_messages 0")).await
}

async fn hostile_device(channel: &Channel) -> Client {
    let (client, _) = connect(MqttOptions::new(channel.config.broker.url.clone(), "hostile")).unwrap();
    connected(&client).await;
    client
}

/// Whatever was asked before has been dealt with once this ends.
async fn dealt_with(listener: &mut Listener) {
    listener.ask(r#"{"app_name": "elsewhere.example/last"}"#).await;
    loop {
        if let Said::Error(notice) = listener.hear().await
            && notice.app_name == "elsewhere.example/last"
        {
            return;
        }
    }
}

#[tokio::test]
async fn what_is_no_request_is_passed_over() {
    let mut channel = patient().await;
    channel.config.chunk_size = ChunkSize::DEFAULT;
    let bytes = module(CHUNK);
    channel.registry.push("wasm/add:1", bytes.clone()).await;
    // Replayed to whoever subscribes.
    let (port, requests) = (channel.broker.port().to_string(), channel.topics.requests.clone());
    let retained = ["-p", &port, "-t", &requests, "-r", "-m", r#"{"app_name": "wasm/add:1", "device": "retained"}"#];
    assert!(Command::new("mosquitto_pub").args(retained).status().unwrap().success());
    let mut listener = channel.listen_to("registry/server/#").await;
    let worker = channel.worker();
    until_listening(&worker).await;

    let client = hostile_device(&channel).await;
    let too_long = format!(r#"{{"app_name": "wasm/add:1", "x": "{}"}}"#, "x".repeat(MAX_REQUEST));
    let deep = [r#"{"app_name": "wasm/add:1", "x": "#, &"[".repeat(100_000), &"]".repeat(100_000), "}"].concat();
    let unclosed = r#"{"app_name":"#.repeat(MAX_REQUEST / 13);
    let large = "x".repeat(600_000);
    let payloads = ["", "\0", "{", "null", "[[0, 1]]", r#""wasm/add:1""#, &too_long, &deep, &unclosed, &large];
    let receipts = channel.topics.receipt(&"press-4".parse().unwrap()).unwrap();
    for topic in [&channel.topics.requests, &receipts, &format!("{receipts}/more")] {
        flood(&client, topic, payloads.map(|payload| payload.as_bytes().to_vec())).await;
        flood(&client, topic, [b"\xff\xfe".to_vec()]).await;
    }
    listener.ask(r#"{"app_name": "wasm/add:1", "device": "press-4"}"#).await;
    let (chunks, _) = listener.hear_a_pass().await;
    assert_eq!(assembled(&chunks), bytes, "the first thing said answers the only request");
    assert_eq!(chunks.len(), 1);
    listener.ask(r#"{"app_name": "elsewhere.example/last"}"#).await;
    assert_eq!(listener.hear_an_error().await.app_name, "elsewhere.example/last", "and nothing more");
}

#[tokio::test]
async fn ten_notices_a_second_are_all_that_can_be_had() {
    let channel = patient().await;
    channel.registry.push("wasm/add:1", module(CHUNK)).await;
    let worker = channel.worker();
    until_listening(&worker).await;
    let mut listener = channel.listen_to("registry/server/#").await;
    let client = hostile_device(&channel).await;
    let begun = Instant::now();
    for payloads in [flood::not_allowed(MANY), flood::bad(MANY)] {
        flood(&client, &channel.topics.requests, payloads).await;
    }
    listener.ask(r#"{"app_name": "wasm/add:1", "device": "press-4"}"#).await;
    let (mut notices, mut served) = (0, false);
    while !served || notices < PER_SECOND {
        match listener.hear().await {
            Said::Error(_) => notices += 1,
            Said::Full(_) => {}
            Said::Complete(_) => served = true,
            other => panic!("{other:?}"),
        }
    }
    let most = PER_SECOND * (begun.elapsed().as_secs() + 1);
    assert!(notices <= most, "{notices} notices, {most} at most, for {} requests", 2 * MANY);
}

#[tokio::test]
async fn however_many_ask_a_module_is_said_once() {
    let mut channel = patient().await;
    let registry = Gated::start(module(CHUNK * 20)).await;
    channel.config.registry.host.clone_from(&registry.host);
    channel.config.requests = Some(AllowList::anything_under(&registry.host).unwrap());
    let worker = channel.worker();
    until_listening(&worker).await;
    let mut listener = channel.listen().await;
    let client = hostile_device(&channel).await;
    let ask = |i: u32| json!({"app_name": "wasm/add:1", "device": format!("d{i}")}).to_string().into_bytes();
    flood(&client, &channel.topics.requests, (0..MANY).map(ask)).await;
    dealt_with(&mut listener).await;
    registry.release(CHUNK * 20);
    assert_eq!(listener.hear_a_pass().await.0.len(), 20);
    assert_eq!(listener.rest().await, 0);
}

#[tokio::test]
async fn receipts_are_counted_up_to_a_thousand_devices() {
    let channel = patient().await;
    let pushed = channel.registry.push("wasm/add:1", module(CHUNK)).await;
    let worker = channel.worker();
    until_listening(&worker).await;
    let mut listener = channel.listen_to("registry/server/#").await;
    listener.ask(r#"{"app_name": "wasm/add:1", "device": "press-4"}"#).await;
    listener.hear_a_pass().await;
    let client = hostile_device(&channel).await;
    flood::receipts(&client, &channel.topics, "wasm/add:1", pushed, MANY).await;
    dealt_with(&mut listener).await;
    let artifact = until(&worker, &channel.reference("wasm/add:1"), |_| true).await;
    assert_eq!(artifact.receipts, 1000);
}

#[tokio::test]
async fn an_honest_device_is_served_whatever_others_say() {
    let channel = patient().await;
    let bytes = module(CHUNK * 70 + 1);
    let pushed = channel.registry.push("wasm/add:1", bytes.clone()).await;
    let worker = channel.worker();
    until_listening(&worker).await;
    let mut errors = channel.listen_to("registry/server/error").await;
    let client = hostile_device(&channel).await;
    let begun = Instant::now();
    let hostile = async {
        for payloads in flood::every_kind(MANY) {
            flood(&client, &channel.topics.requests, payloads).await;
        }
        flood::receipts(&client, &channel.topics, "wasm/add:1", Digest::of(b"forged"), MANY).await;
        flood::receipts(&client, &channel.topics, "wasm/add:1", pushed, MANY).await;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("module.wasm");
    let options = options(&channel);
    let ((), fetched) = tokio::join!(hostile, fetch("wasm/add:1", &file, &options));
    assert_eq!(fetched.unwrap().whole.digest, pushed);
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    assert!(worker.progress().borrow().artifacts.len() <= MAX_REQUESTED);

    // Whatever was said before it has arrived when this has.
    let last = json!({"app_name": "last", "code": "busy", "message": "", "retryable": true});
    errors.say(&channel.topics.error, &last.to_string()).await;
    let mut notices = 0;
    while errors.hear_an_error().await.app_name != "last" {
        notices += 1;
    }
    let most = PER_SECOND * (begun.elapsed().as_secs() + 1);
    assert!(notices <= most, "{notices} notices, {most} at most");
}
