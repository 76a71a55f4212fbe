//! Devices that ask.

use serde_json::json;
use wasmproxy::{
    digest::Digest,
    protocol::{ChunkSize, ErrorCode, ErrorNotice, TopicPrefix, Topics},
    worker::{Phase, RegistryState, Source},
};

use super::{
    channel::{CHUNK, Channel, Listener, Said, assembled, until, until_listening, until_published},
    gated::Gated,
};
use crate::{
    lab::{BrokerConfig, FaultProxy},
    modules::module,
};

/// A channel with a worker that is ready, and somebody who listens.
async fn ready() -> (Channel, wasmproxy::worker::Worker, Listener) {
    let channel = Channel::start().await;
    let worker = channel.worker();
    until_listening(&worker).await;
    let listener = channel.listen().await;
    (channel, worker, listener)
}

#[tokio::test]
async fn a_plain_request_is_answered_on_the_plain_topic_and_nowhere_else() {
    let (channel, worker, mut listener) = ready().await;
    for size in [CHUNK - 1, CHUNK, CHUNK + 1] {
        let name = format!("wasm/add:{size}");
        let bytes = module(size);
        channel.registry.push(&name, bytes.clone()).await;
        listener.ask(&json!({"app_name": name}).to_string()).await;
        let mut chunks = Vec::new();
        while chunks.len() < size.div_ceil(CHUNK) {
            match listener.hear().await {
                Said::Plain(chunk) => chunks.push(chunk),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(assembled(&chunks), bytes);
        let artifact = until_published(&worker, &channel.reference(&name)).await;
        assert_eq!(artifact.source, Source::Requested);
        assert_eq!(listener.rest().await, 0);
    }
}

#[tokio::test]
async fn a_full_request_is_answered_on_the_full_topic_with_the_name_as_it_was_asked() {
    let (channel, _worker, mut listener) = ready().await;
    let bytes = module(CHUNK * 3 + 5);
    channel.registry.push("wasm/add:latest", bytes.clone()).await;
    for name in ["wasm/add", "wasm/add:latest", &format!("{}/wasm/add", channel.registry.host())] {
        listener.ask(&json!({"app_name": name, "device": "press-4"}).to_string()).await;
        let (chunks, complete) = listener.hear_a_pass().await;
        assert_eq!(assembled(&chunks), bytes);
        assert_eq!(complete.app_name, name);
    }
}

#[tokio::test]
async fn a_raw_request_is_answered_in_binary() {
    let (channel, _worker, mut listener) = ready().await;
    let bytes = module(CHUNK * 2 + 5);
    channel.registry.push("wasm/add:1", bytes.clone()).await;
    listener.ask(r#"{"app_name": "wasm/add:1", "format": "raw"}"#).await;
    let mut chunks = Vec::new();
    loop {
        match listener.hear().await {
            Said::Raw(chunk) => chunks.push(chunk),
            Said::Complete(_) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(assembled(&chunks), bytes);
}

#[tokio::test]
async fn chunks_by_number_come_on_the_devices_own_topic() {
    let mut channel = Channel::start().await;
    let proxy = FaultProxy::to(&channel.registry.host()).await;
    channel.take_from(&proxy.host);
    let worker = channel.worker();
    until_listening(&worker).await;
    let mut listener = channel.listen().await;
    let bytes = module(CHUNK * 10 - 1);
    let pushed = channel.registry.push("wasm/add:1", bytes.clone()).await;
    let ask = |chunks: serde_json::Value, digest: &str| {
        json!({"app_name": "wasm/add:1", "device": "press-4", "digest": digest, "chunk_size": CHUNK, "chunks": chunks})
            .to_string()
    };
    // Never having heard the broadcast, a device may fetch everything so.
    listener.ask(&ask(json!([[0, 0], [2, 3]]), &pushed.to_string())).await;
    listener.ask(&ask(json!([[9, 9]]), &pushed.to_string())).await;
    for expected in [0, 2, 3, 9] {
        let Said::Device(device, chunk) = listener.hear().await else { panic!("not on the device's topic") };
        assert_eq!((device.as_str(), chunk.index), ("press-4", expected));
        let offset = expected as usize * CHUNK;
        assert_eq!(chunk.data, bytes[offset..(offset + CHUNK).min(bytes.len())]);
    }
    worker.progress().wait_for(|progress| progress.totals.chunks == 4).await.unwrap();

    // Whoever asks for more under the device's name, before it is served, does not keep it from what there is.
    proxy.stall_all();
    listener.ask(&ask(json!([[1, 1]]), &pushed.to_string())).await;
    listener.ask(&ask(json!([[10, 12]]), &pushed.to_string())).await;
    assert!(listener.until_heard().await.is_empty());
    proxy.resume();
    assert!(matches!(listener.hear().await, Said::Device(_, chunk) if chunk.index == 1));
    listener.ask(&ask(json!([[10, 10]]), &pushed.to_string())).await;
    assert_eq!(listener.hear_an_error().await.code, ErrorCode::BadRequest);
    let other = Digest::of(b"other").to_string();
    listener.ask(&ask(json!([[0, 0]]), &other)).await;
    let ErrorNotice { code, device, retryable, .. } = listener.hear_an_error().await;
    assert_eq!((code, device.map(String::from).as_deref(), retryable), (ErrorCode::Changed, Some("press-4"), true));
}

#[tokio::test]
async fn a_receipt_is_counted_once_a_device() {
    let (channel, worker, mut listener) = ready().await;
    let pushed = channel.registry.push("wasm/add:1", module(CHUNK)).await;
    listener.ask(r#"{"app_name": "wasm/add:1", "device": "press-4"}"#).await;
    listener.hear_a_pass().await;
    let reference = channel.reference("wasm/add:1");
    until_published(&worker, &reference).await;
    for device in ["press-4", "press-4", "press-5"] {
        let topic = channel.topics.receipt(&device.parse().unwrap()).unwrap();
        listener.say(&topic, &json!({"app_name": "wasm/add:1", "digest": pushed}).to_string()).await;
    }
    let receipts = |progress: &wasmproxy::worker::Progress| progress.artifacts[&reference.to_string()].receipts == 2;
    worker.progress().wait_for(receipts).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_served_is_said_so() {
    let (channel, worker, mut listener) = ready().await;
    for (request, code) in [
        (r#"{"app_name": "wasm/missing:1"}"#, ErrorCode::NotFound),
        (r#"{"app_name": "elsewhere.example/wasm/add:1"}"#, ErrorCode::NotAllowed),
        (r#"{"app_name": "No Reference"}"#, ErrorCode::BadRequest),
        (r#"{"app_name": "wasm/add:1", "chunks": [[0, 1]]}"#, ErrorCode::BadRequest),
    ] {
        listener.ask(request).await;
        let notice = listener.hear_an_error().await;
        assert_eq!(notice.code, code, "{request}");
        assert!(!notice.message.contains("127.0.0.1"), "no inner address: {}", notice.message);
    }
    let missing = channel.reference("wasm/missing:1").to_string();
    assert_eq!(worker.progress().borrow().artifacts[&missing].phase, Phase::Failed);
}

#[tokio::test]
async fn what_is_no_request_gets_no_answer() {
    let (channel, _worker, mut listener) = ready().await;
    channel.registry.push("wasm/add:1", module(CHUNK)).await;
    for payload in ["", "{", "[]", r#"["wasm/add:1"]"#, r#"{"name": 1}"#, &"x".repeat(100_000)] {
        listener.ask(payload).await;
    }
    listener.ask(r#"{"app_name": "wasm/add:1", "device": "d"}"#).await;
    assert_eq!(listener.hear_a_pass().await.0.len(), 1, "the first thing said answers the only request");
}

#[tokio::test]
async fn a_corrupt_module_never_gets_its_last_chunk() {
    let (channel, worker, mut listener) = ready().await;
    let bytes = module(CHUNK * 5);
    let pushed = channel.registry.push("wasm/add:1", bytes).await;
    channel.registry.corrupt(pushed);
    listener.ask(r#"{"app_name": "wasm/add:1", "device": "d"}"#).await;
    let mut heard = Vec::new();
    let notice = loop {
        match listener.hear().await {
            Said::Full(chunk) => heard.push(chunk.index),
            Said::Error(notice) => break notice,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(notice.code, ErrorCode::DigestMismatch);
    assert!(!heard.contains(&4), "{heard:?}");
    let reference = channel.reference("wasm/add:1").to_string();
    assert_eq!(worker.progress().borrow().artifacts[&reference].phase, Phase::Failed);
}

#[tokio::test]
async fn receipts_are_counted_anew_where_a_tag_moves_there_and_back() {
    let mut channel = Channel::start().await;
    channel.declare("wasm/add:1");
    let mut listener = channel.listen().await;
    let reference = channel.reference("wasm/add:1");
    let topic = channel.topics.receipt(&"press-4".parse().unwrap()).unwrap();
    channel.registry.push("wasm/add:1", module(CHUNK)).await;
    let worker = channel.worker();
    for size in [CHUNK, CHUNK * 2, CHUNK] {
        let pushed = channel.registry.push("wasm/add:1", module(size)).await;
        listener.hear_a_pass().await;
        listener.say(&topic, &json!({"app_name": "wasm/add:1", "digest": pushed}).to_string()).await;
        until(&worker, &reference, |artifact| artifact.digest == Some(pushed) && artifact.receipts == 1).await;
    }
}

#[tokio::test]
async fn receipts_for_what_nobody_knows_take_no_place() {
    let (channel, worker, mut listener) = ready().await;
    let pushed = channel.registry.push("wasm/add:1", module(CHUNK)).await;
    let topic = channel.topics.receipt(&"press-4".parse().unwrap()).unwrap();
    let receipt = |digest: Digest| json!({"app_name": "wasm/add:1", "digest": digest}).to_string();
    for i in 0..300_u32 {
        listener.say(&topic, &receipt(Digest::of(&i.to_le_bytes()))).await;
    }
    listener.ask(r#"{"app_name": "wasm/add:1", "device": "press-4"}"#).await;
    listener.hear_a_pass().await;
    listener.say(&topic, &receipt(pushed)).await;
    until(&worker, &channel.reference("wasm/add:1"), |artifact| artifact.receipts == 1).await;
}

#[tokio::test]
async fn a_device_is_served_though_the_channel_is_opened_anew() {
    let mut channel = Channel::start().await;
    // After its first 500 chunks the pass would take for ever.
    channel.config.pace = Some(1);
    channel.registry.push("wasm/add:1", module(CHUNK * 600)).await;
    let worker = channel.worker();
    until_listening(&worker).await;
    let mut listener = channel.listen().await;
    listener.ask(r#"{"app_name": "wasm/add:1", "device": "press-4"}"#).await;
    until(&worker, &channel.reference("wasm/add:1"), |artifact| artifact.published >= 500).await;
    channel.config.pace = None;
    channel.config.chunk_size = ChunkSize::new(2000).unwrap();
    worker.reconfigure(channel.config.clone());
    assert_eq!(listener.hear_a_pass().await.1.chunk_size, 2000);
}

#[tokio::test]
async fn requests_are_answered_where_the_broker_denies_the_receipts() {
    let receipts = Topics::new(&TopicPrefix::of_channel("test").unwrap()).receipts;
    let rules = tempfile::tempdir().unwrap();
    let channel = Channel::start_with(BrokerConfig::default().denying(&receipts, rules.path())).await;
    let bytes = module(CHUNK + 1);
    channel.registry.push("wasm/add:latest", bytes.clone()).await;
    let worker = channel.worker();
    until_listening(&worker).await;
    let mut listener = channel.listen().await;
    listener.ask(&json!({"app_name": "wasm/add"}).to_string()).await;
    let mut chunks = Vec::new();
    while chunks.len() < 2 {
        match listener.hear().await {
            Said::Plain(chunk) => chunks.push(chunk),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(assembled(&chunks), bytes);
}

#[tokio::test]
async fn what_a_device_asks_for_in_vain_does_not_unsettle_the_channel() {
    let (mut channel, worker, mut listener) = ready().await;
    channel.registry.push("wasm/add:1", module(CHUNK)).await;
    listener.ask(r#"{"app_name": "wasm/add:1", "device": "d"}"#).await;
    listener.hear_a_pass().await;
    channel.registry.stop();
    listener.ask(r#"{"app_name": "wasm/other:1", "device": "d"}"#).await;
    assert_eq!(listener.hear_an_error().await.code, ErrorCode::RegistryUnavailable);
    assert_eq!(worker.progress().borrow().registry, RegistryState::Ready);
}

#[tokio::test]
async fn a_registry_without_ranges_is_asked_a_few_times_however_scattered_the_chunks_are() {
    let mut channel = Channel::start().await;
    let bytes = module(100 * CHUNK);
    let registry = Gated::without_ranges(bytes.clone()).await;
    channel.take_from(&registry.host);
    let worker = channel.worker();
    until_listening(&worker).await;
    let mut listener = channel.listen().await;
    let chunks: Vec<_> = (0..100).step_by(3).map(|index| [index, index]).collect();
    let ask = json!({"app_name": "wasm/add:1", "device": "d", "digest": Digest::of(&bytes), "chunk_size": CHUNK, "chunks": chunks});
    listener.ask(&ask.to_string()).await;
    for expected in chunks {
        let Said::Device(_, chunk) = listener.hear().await else { panic!("not on the device's topic") };
        assert_eq!(chunk.index, expected[0]);
        assert_eq!(chunk.data, bytes[chunk.index as usize * CHUNK..][..CHUNK]);
    }
    assert!(
        registry.asked() <= 3,
        "{}: once for the digests of all chunks, once for the first, once for the others",
        registry.asked()
    );
}
