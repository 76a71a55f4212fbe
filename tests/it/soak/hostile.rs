//! Somebody on the channel who means no good: says what is malformed, huge, nested or forged, and much of it.

use std::time::Duration;

use rumqttc_v4::{AsyncClient, Broker, MqttOptions, PublishOptions};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::sleep};

use super::floor::PREFIX;

/// How many messages may wait for a broker that is away; what is more is never said.
const WAITING: usize = 500;
const LARGEST_PACKET: usize = 4 << 20;

/// A connection that outlives its broker. It ends when dropped.
pub struct Hostile {
    client: AsyncClient,
    _events: JoinSet<()>,
}

impl Hostile {
    pub fn connect(port: u16) -> Self {
        let mut options = MqttOptions::new("hostile", Broker::tcp("127.0.0.1", port));
        options.set_max_packet_size(LARGEST_PACKET, LARGEST_PACKET);
        let (client, mut events) = AsyncClient::builder(options).capacity(WAITING).build();
        let mut task = JoinSet::new();
        task.spawn(async move {
            loop {
                if events.poll().await.is_err() {
                    sleep(Duration::from_millis(200)).await;
                }
            }
        });
        Self { client, _events: task }
    }

    /// Says one thing after the other, of one kind; returns what to call that, and how many those were.
    pub fn rage(&self, names: &[&str], random: &mut fastrand::Rng) -> (&'static str, u64) {
        let name = names[random.usize(..names.len())];
        let kind = random.usize(..KINDS.len());
        let count = if KINDS[kind] == "huge" { random.u64(1..5) } else { random.u64(1..200) };
        let requests = format!("{PREFIX}/registry/proplet");
        let mut said = 0;
        for _ in 0..count {
            let (topic, payload) = match KINDS[kind] {
                "noise" => (requests.clone(), noise(random.usize(..200), random)),
                "huge" => (requests.clone(), vec![b'['; 2 << 20]),
                "nested" => (requests.clone(), nested(name, random.usize(10..1500))),
                "malformed" => (requests.clone(), malformed(name, random).to_string().into_bytes()),
                "retained" => (requests.clone(), json!({"app_name": name, "device": "ghost"}).to_string().into()),
                "by number" => (requests.clone(), by_number(name, random).to_string().into_bytes()),
                _ => forged_receipt(name, random),
            };
            let mut options = PublishOptions::at_least_once();
            if KINDS[kind] == "retained" {
                options = options.retain(true);
            }
            said += u64::from(self.client.try_publish(topic, payload, options).is_ok());
        }
        (KINDS[kind], said)
    }
}

const KINDS: [&str; 7] = ["noise", "huge", "nested", "malformed", "retained", "by number", "forged receipts"];

fn noise(length: usize, random: &mut fastrand::Rng) -> Vec<u8> {
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

fn nested(name: &str, depth: usize) -> Vec<u8> {
    let (open, close) = ("[".repeat(depth), "]".repeat(depth));
    format!(r#"{{"app_name": "{name}", "device": {open}{close}}}"#).into_bytes()
}

/// Requests with something wrong in them.
fn malformed(name: &str, random: &mut fastrand::Rng) -> Value {
    let choices = [
        json!({}),
        json!([name]),
        json!({"app_name": 7}),
        json!({"app_name": ""}),
        json!({"app_name": "\u{0}\n"}),
        json!({"app_name": "../../etc/passwd"}),
        json!({"app_name": "x".repeat(513)}),
        json!({"app_name": "x".repeat(5000)}),
        json!({"app_name": "soak/UPPER:1"}),
        json!({"app_name": "registry.example:99999/a:1"}),
        json!({"app_name": name, "device": "no/slash"}),
        json!({"app_name": name, "device": "x".repeat(65)}),
        json!({"app_name": name, "device": "a", "format": "morse"}),
        json!({"app_name": name, "chunks": [[0, 3]]}),
        json!({"app_name": format!("soak/missing-{}:1", random.u32(..))}),
    ];
    choices[random.usize(..choices.len())].clone()
}

/// Requests by number, for what there is not.
fn by_number(name: &str, random: &mut fastrand::Rng) -> Value {
    let digest = format!("sha256:{:064x}", random.u128(..));
    let chunks = [
        json!([[0, 63]]),
        json!([[5, 3]]),
        json!([[0, 0], [0, 0]]),
        json!([[0, u32::MAX]]),
        json!([[0, 1_u64 << 40]]),
        json!([[-1, 3]]),
        json!([]),
    ];
    let chunks = chunks[random.usize(..chunks.len())].clone();
    let chunk_size = [0, 1, 10_000, 512_000][random.usize(..4)];
    json!({"app_name": name, "device": format!("d{}", random.u8(..)), "digest": digest, "chunk_size": chunk_size,
        "chunks": chunks})
}

fn forged_receipt(name: &str, random: &mut fastrand::Rng) -> (String, Vec<u8>) {
    let topic = format!("{PREFIX}/registry/proplet/received/forged-{}", random.u16(..));
    let receipt = match random.u8(..3) {
        0 => json!({"app_name": name, "digest": format!("sha256:{:064x}", random.u128(..))}),
        1 => json!({"app_name": name}),
        _ => json!("received"),
    };
    (topic, receipt.to_string().into_bytes())
}
