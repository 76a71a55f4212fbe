//! What hostile devices cost the process.

use std::time::{Duration, Instant};

use serde_json::Value;
use wasmproxy::{
    device::{self, FetchOptions},
    digest::Digest,
    mqtt::{MqttOptions, connect},
    protocol::{TopicPrefix, Topics},
};

use super::Process;
use crate::{
    flood::{self, flood},
    lab::{BrokerConfig, Registry},
    modules::module,
    waiting::connected,
};

/// How much more the longer flood may take, in bytes: the queues that fill up are bounded, and not always full to the
/// brim. A leak of 550 bytes for each further message would be found.
const TOLERANCE: u64 = 32 << 20;

/// What so many messages of each kind have cost a worker that serves an honest device after them.
struct Cost {
    peak: u64,
    warnings: usize,
    seconds: u64,
}

async fn cost(count: u32) -> Cost {
    let broker = BrokerConfig::default().line("max_queued_messages 0");
    let (broker, registry) = tokio::join!(broker.start(), Registry::start());
    let pushed = registry.push("wasm/add:1", module(100_000)).await;
    let worker = Process::between(&broker, &registry);
    worker.line("connected").await;
    let prefix = TopicPrefix::of_channel("floor").unwrap();
    let topics = Topics::new(&prefix);
    let (client, _) = connect(MqttOptions::new(broker.url().parse().unwrap(), "hostile")).unwrap();
    connected(&client).await;

    let begun = Instant::now();
    for payloads in flood::every_kind(count) {
        flood(&client, &topics.requests, payloads).await;
    }
    flood::receipts(&client, &topics, "wasm/add:1", Digest::of(b"forged"), count).await;

    let folder = tempfile::tempdir().unwrap();
    let options = FetchOptions::new(broker.url().parse().unwrap(), prefix, "press-4".parse().unwrap());
    // It is behind all the others, and how long those take is not asked here.
    let options = FetchOptions { timeout: Duration::from_secs(3600), ..options };
    let reference = "wasm/add:1".parse().unwrap();
    let fetched = device::fetch(&reference, &folder.path().join("add.wasm"), &options, |_| ()).await.unwrap();
    assert_eq!(fetched.whole.digest, pushed);
    let is_warning = |line: &&Value| line["level"] == "WARN";
    // What it said of the floods has come through the pipe by then.
    let is_last = |line: &Value| line["message"] == "published";
    let warnings = worker.lines_until(|lines| lines.iter().any(is_last)).await.iter().filter(is_warning).count();
    Cost { peak: worker.peak_memory(), warnings, seconds: begun.elapsed().as_secs() }
}

#[tokio::test]
async fn what_hostile_devices_cost_does_not_grow_with_what_they_say() {
    let (few, many) = tokio::join!(cost(2_000), cost(12_000));
    assert!(many.peak <= few.peak + TOLERANCE, "{} bytes, and {} for six times as much", few.peak, many.peak);
    // The broker's connection may be worth a word too.
    let most = 10 * (many.seconds + 1) + 5;
    assert!(many.warnings as u64 <= most, "{} warnings in {} s", many.warnings, many.seconds);
}
