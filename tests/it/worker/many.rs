//! Many devices, many modules, all at once.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt as _, future::join_all, stream};
use serde_json::json;
use wasmproxy::{
    device::FetchOptions,
    digest::Digest,
    mqtt::{Client, MqttOptions, Publish, Qos, connect},
    protocol::{Chunk, ErrorCode},
    worker::AllowList,
};

use super::{
    channel::{CHUNK, Channel, Said, assembled, until_listening},
    fetched::{fetch, options},
};
use crate::{
    lab::{FaultProxy, RegistryConfig, Transport},
    modules::module,
    waiting::{connected, soon},
};

const DEVICES: usize = 1000;
const MODULES: usize = 200;

/// Modules of one to three chunks, and one that is large. Each is another.
async fn push(channel: &Channel) -> HashMap<String, Digest> {
    let push = async |index: usize| {
        let chunks = if index == 0 { 2000 } else { 1 + index % 3 };
        let mut bytes = module(chunks * CHUNK);
        bytes.extend_from_slice(&index.to_le_bytes());
        let name = format!("wasm/module-{index}:1");
        (name.clone(), channel.registry.push(&name, bytes).await)
    };
    stream::iter(0..MODULES).map(push).buffer_unordered(16).collect().await
}

/// Devices that ask; what they hear is heard by somebody else, who hears as much as each of them would.
async fn devices(channel: &Channel) -> Vec<Client> {
    let connect = async |index: usize| {
        let url = channel.config.broker.url.clone();
        let (client, _) = connect(MqttOptions::new(url, format!("device-{index}"))).unwrap();
        connected(&client).await;
        client
    };
    stream::iter(0..DEVICES).map(connect).buffered(50).collect().await
}

#[tokio::test]
async fn a_thousand_devices_that_ask_for_two_hundred_modules_at_once_get_them() {
    let mut channel = Channel::start().await;
    channel.config.queue = 1024;
    let worker = channel.worker();
    until_listening(&worker).await;
    let (pushed, devices) = tokio::join!(push(&channel), devices(&channel));
    let mut listener = channel.listen_to("registry/server/#").await;
    let asking = devices.iter().enumerate().map(|(index, device)| {
        let ask = json!({"app_name": format!("wasm/module-{}:1", index % MODULES), "device": format!("d{index}")});
        device.publish(Publish::new(&channel.topics.requests, ask.to_string(), Qos::AtLeastOnce))
    });
    join_all(asking).await.into_iter().for_each(|acknowledged| assert!(acknowledged.is_ok()));

    let mut chunks: HashMap<String, Vec<Chunk>> = HashMap::new();
    let mut complete = Vec::new();
    while complete.iter().collect::<HashSet<_>>().len() < MODULES {
        match listener.hear().await {
            Said::Full(chunk) => chunks.entry(chunk.app_name.clone()).or_default().push(chunk),
            Said::Complete(notice) => complete.push(notice.app_name),
            other => panic!("{other:?}"),
        }
    }
    for (name, digest) in &pushed {
        assert_eq!(Digest::of(&assembled(&chunks[name])), *digest, "{name}");
    }
}

#[tokio::test]
async fn a_device_that_hears_busy_asks_again_and_is_served() {
    let mut channel = Channel::start().await;
    channel.config.queue = 1;
    let proxy = FaultProxy::to(&channel.registry.host()).await;
    channel.take_from(&proxy.host);
    let worker = channel.worker();
    until_listening(&worker).await;
    let folder = tempfile::tempdir().unwrap();
    let mut errors = channel.listen_to("registry/server/error").await;
    let mut pushed = Vec::new();
    for index in 0..8 {
        let name = format!("wasm/module-{index}:1");
        pushed.push((channel.registry.push(&name, module(500 * CHUNK + index)).await, name));
    }
    // The passes last until one has to wait.
    proxy.throttle(20_000);
    let fetching = pushed.iter().enumerate().map(async |(index, (pushed, name))| {
        let file = folder.path().join(index.to_string());
        let device = format!("device-{index}").parse().unwrap();
        let fetched = fetch(name, &file, &FetchOptions { device, ..options(&channel) }).await.unwrap();
        assert_eq!(fetched.whole.digest, *pushed);
    });
    let refused = async {
        assert_eq!(soon("a refusal", errors.hear_an_error()).await.code, ErrorCode::Busy);
        proxy.heal();
    };
    tokio::join!(join_all(fetching), refused);
}

#[tokio::test]
async fn a_registry_that_has_stalled_keeps_nobody_from_another() {
    let mut channel = Channel::start().await;
    let proxy = FaultProxy::to(&channel.registry.host()).await;
    let other = RegistryConfig::default().transport(Transport::Tls).start().await;
    let pushed = other.push("wasm/add:1", module(3 * CHUNK)).await;
    channel.take_from(&proxy.host);
    channel.config.registry.tls = other.tls();
    channel.config.requests = Some(AllowList::new(["**"]).unwrap());
    let worker = channel.worker();
    until_listening(&worker).await;
    proxy.stall_all();

    let mut listener = channel.listen().await;
    for index in 0..12 {
        listener.ask(&json!({"app_name": format!("wasm/module-{index}:1")}).to_string()).await;
    }
    let name = format!("{}/wasm/add:1", other.host());
    listener.ask(&json!({"app_name": name, "device": "d"}).to_string()).await;
    let (chunks, _) = listener.hear_a_pass().await;
    assert_eq!((chunks[0].app_name.as_str(), Digest::of(&assembled(&chunks))), (name.as_str(), pushed));
}
