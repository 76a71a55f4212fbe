//! What devices should not say, a great many times.

use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use wasmproxy::{
    digest::Digest,
    mqtt::{Client, Publish, Qos},
    protocol::Topics,
};

/// Publishes that may wait for the broker at once.
const AT_ONCE: usize = 100;

/// Says all of it as fast as the broker takes it, and returns when the broker has it.
pub async fn flood(client: &Client, topic: &str, payloads: impl IntoIterator<Item = Vec<u8>>) {
    let say = |payload| client.publish(Publish::new(topic, payload, Qos::AtLeastOnce));
    stream::iter(payloads).map(say).buffered(AT_ONCE).for_each(async |taken| assert!(taken.is_ok())).await;
}

/// Receipts of so many devices.
pub async fn receipts(client: &Client, topics: &Topics, app_name: &str, digest: Digest, count: u32) {
    let say = |i: u32| {
        let topic = topics.receipt(&format!("forged-{i}").parse().unwrap()).unwrap();
        let receipt = json!({"app_name": app_name, "digest": digest}).to_string();
        client.publish(Publish::new(topic, receipt, Qos::AtLeastOnce))
    };
    stream::iter(0..count).map(say).buffered(AT_ONCE).for_each(async |taken| assert!(taken.is_ok())).await;
}

fn requests(count: u32, request: impl Fn(u32) -> Value) -> Vec<Vec<u8>> {
    (0..count).map(|i| request(i).to_string().into_bytes()).collect()
}

/// Requests for what the channel does not bring, each for something else.
pub fn not_allowed(count: u32) -> Vec<Vec<u8>> {
    requests(count, |i| json!({"app_name": format!("elsewhere.example/wasm/{i}:1")}))
}

/// Requests with a mistake in them, each under another name.
pub fn bad(count: u32) -> Vec<Vec<u8>> {
    requests(count, |i| json!({"app_name": format!("wasm/bad-{i}:1"), "device": "no name"}))
}

/// Requests for what the registry does not have.
pub fn missing(count: u32) -> Vec<Vec<u8>> {
    requests(count, |i| json!({"app_name": format!("wasm/missing-{i}:1"), "device": format!("d{i}")}))
}

/// Requests by number, of devices that gather something else.
pub fn by_number(count: u32) -> Vec<Vec<u8>> {
    requests(count, |i| {
        let digest = Digest::of(&i.to_le_bytes());
        json!({"app_name": "wasm/add:1", "device": format!("d{i}"), "digest": digest, "chunk_size": 1, "chunks": [[0, 63]]})
    })
}

/// So many of each kind.
pub fn every_kind(count: u32) -> [Vec<Vec<u8>>; 5] {
    let malformed = (0..count).map(|i| format!("{{{i}").into_bytes()).collect();
    [malformed, not_allowed(count), bad(count), by_number(count), missing(count)]
}
