//! What processes say of themselves in numbers, compared with what they did.

mod alerts;
mod openmetrics;
mod prometheus;

use serde_json::json;
use tokio::process::Command;
use wasmproxy::{
    digest::Digest,
    mqtt::{self, MqttOptions, Publish, Qos},
    protocol::{TopicPrefix, Topics},
};

use crate::{
    controller::{
        floor::{CHUNK, Floor, Mode},
        program::program,
    },
    lab::{Broker, ControlPlane, Registry, free_port},
    modules::module,
    standalone::Process,
    waiting::connected,
};
pub use openmetrics::Scrape;

/// The bytes in a chunk where nobody says.
const DEFAULT_CHUNK: usize = 512_000;

/// Somebody on the channel `floor`.
async fn somebody(broker: &Broker) -> (mqtt::Client, Topics) {
    let options = MqttOptions::new(broker.url().parse().unwrap(), "somebody".to_owned());
    let (client, _) = mqtt::connect(options).unwrap();
    connected(&client).await;
    (client, Topics::new(&TopicPrefix::of_channel("floor").unwrap()))
}

#[tokio::test]
async fn a_worker_counts_what_it_was_asked_and_what_it_did() {
    let (mut broker, registry) = tokio::join!(Broker::start(), Registry::start());
    let bytes = module(3 * DEFAULT_CHUNK - 1);
    let digest = Digest::of(&bytes);
    registry.push("wasm/add:1", bytes).await;
    let port = free_port();
    let worker = Process::run(Process::command(&broker, &registry).env("PROXY_HTTP_PORT", port.to_string()));
    worker.line("connected").await;
    let (somebody, topics) = somebody(&broker).await;
    let say = async |topic: &str, payload: String| {
        somebody.publish(Publish::new(topic, payload, Qos::AtLeastOnce)).await.unwrap();
    };

    let before = Scrape::of(port).await;
    assert_eq!(before.get("wasmproxy_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), Some(1.0));
    assert_eq!(before.get("wasmproxy_broker_connected", &[]), Some(1.0));
    assert_eq!(before.get("wasmproxy_transfers_total", &[("result", "published")]), Some(0.0));
    assert_eq!(before.all("wasmproxy_failures_total"), [0.0; 0]);

    let ask = async |app_name: &str| say(&topics.requests, json!({"app_name": app_name}).to_string()).await;
    ask("wasm/add:1").await;
    Scrape::until(port, |now| now.get("wasmproxy_transfers_total", &[("result", "published")]) == Some(1.0)).await;
    ask("wasm/none:1").await;
    ask("elsewhere.example/wasm/add:1").await;
    say(&topics.requests, "what?".to_owned()).await;
    // A device says so twice, and another one once.
    for device in ["press-4", "press-4", "press-5"] {
        let topic = topics.receipt(&device.parse().unwrap()).unwrap();
        say(&topic, json!({"app_name": "wasm/add:1", "digest": digest}).to_string()).await;
    }
    let after = Scrape::until(port, |now| {
        now.get("wasmproxy_receipts_total", &[]) == Some(2.0)
            && now.get("wasmproxy_transfers_total", &[("result", "failed")]) == Some(1.0)
    })
    .await;
    assert_eq!(after.get("wasmproxy_chunks_published_total", &[]), Some(3.0));
    assert_eq!(after.get("wasmproxy_published_bytes_total", &[]), Some((3 * DEFAULT_CHUNK - 1) as f64));
    for (result, count) in [("accepted", 2.0), ("not_allowed", 1.0), ("bad_request", 1.0), ("busy", 0.0)] {
        assert_eq!(after.get("wasmproxy_requests_total", &[("result", result)]), Some(count), "{result}");
    }
    assert_eq!(after.get("wasmproxy_failures_total", &[("reason", "ArtifactNotFound")]), Some(1.0));
    for (phase, count) in [("Pending", 0.0), ("Streaming", 0.0), ("Published", 1.0), ("Failed", 1.0)] {
        assert_eq!(after.get("wasmproxy_artifacts", &[("phase", phase)]), Some(count), "{phase}");
    }

    broker.stop();
    Scrape::until(port, |now| now.get("wasmproxy_broker_connected", &[]) == Some(0.0)).await;
    broker.start_again().await;
    let back = Scrape::until(port, |now| now.get("wasmproxy_broker_connected", &[]) == Some(1.0)).await;
    assert_eq!(before.get("wasmproxy_broker_reconnects_total", &[]), Some(0.0));
    assert_eq!(back.get("wasmproxy_broker_reconnects_total", &[]), Some(1.0));
    assert_eq!(back.families.keys().collect::<Vec<_>>(), before.families.keys().collect::<Vec<_>>());
}

/// A controller's command whose metrics are there.
async fn controller(floor: &Floor, port: u16) -> Command {
    let mut command = program(&["--workers=in-process", "--http-host=127.0.0.1", "--namespace", &floor.namespace]);
    command.env("KUBECONFIG", ControlPlane::shared().await.kubeconfig());
    command.env("WASMPROXY_HTTP_PORT", port.to_string());
    command
}

#[tokio::test]
async fn a_controller_counts_its_resources_and_speaks_for_the_workers_in_its_process() {
    let floor = Floor::start(Mode::InProcess).await;
    floor.registry.push("wasm/add:1", module(3 * CHUNK)).await;
    let artifacts = json!([{"reference": "wasm/add:1"}]);
    let port = free_port();
    let program = Process::run(&mut controller(&floor, port).await);
    program.line("controller is ready").await;
    floor.apply("line", json!({"artifacts": artifacts})).await;
    floor.apply("hall", json!({"artifacts": artifacts})).await;
    floor.apply("shed", json!({"broker": {"url": "mqtt://127.0.0.1:1"}})).await;
    floor.apply("yard", json!({"suspend": true})).await;
    for name in ["line", "hall"] {
        floor.until_ready(name).await;
    }
    floor.until_ready_is("shed", "False", "BrokerUnreachable").await;
    floor.until_ready_is("yard", "False", "Suspended").await;

    let of = |name: &'static str| [("namespace", floor.namespace.as_str()), ("name", name)];
    let resources = |scrape: &Scrape, ready, reason| {
        scrape.get("wasmproxy_resources", &[("ready", ready), ("reason", reason)]).unwrap_or(0.0)
    };
    // The watch may be a moment behind what was just read.
    let scrape = Scrape::until(port, |now| {
        resources(now, "True", "NoSubscribers") == 2.0
            && resources(now, "False", "BrokerUnreachable") == 1.0
            && resources(now, "False", "Suspended") == 1.0
    })
    .await;
    assert_eq!(scrape.all("wasmproxy_resources").iter().sum::<f64>(), 4.0);
    assert_eq!(scrape.get("wasmproxy_leader", &[]), Some(1.0));
    assert!(scrape.get("wasmproxy_reconciles_total", &[("result", "success")]).unwrap() >= 4.0);
    assert!(scrape.get("wasmproxy_api_requests_total", &[("method", "PATCH"), ("code", "200")]).unwrap() >= 4.0);
    assert_eq!(scrape.get("wasmproxy_chunks_published_total", &of("line")), Some(3.0));
    assert_eq!(scrape.get("wasmproxy_broker_connected", &of("line")), Some(1.0));
    assert_eq!(scrape.get("wasmproxy_broker_connected", &of("shed")), Some(0.0));
    assert_eq!(scrape.get("wasmproxy_broker_connected", &of("yard")), None);

    floor.delete("hall").await;
    Scrape::until(port, |now| now.get("wasmproxy_broker_connected", &of("hall")).is_none()).await;

    // A controller that is started again counts from zero: its status goes on, and may be a little behind.
    program.signal("TERM");
    program.end().await;
    let port = free_port();
    let program = Process::run(&mut controller(&floor, port).await);
    program.line("worker starts").await;
    let again = Scrape::until(port, |now| now.get("wasmproxy_broker_connected", &of("line")) == Some(1.0)).await;
    assert_eq!(floor.get("line").await.status.unwrap().transfers.unwrap().chunks, 3);
    assert_eq!(again.get("wasmproxy_chunks_published_total", &of("line")), Some(0.0));
}

#[tokio::test]
async fn a_replica_that_stands_by_counts_no_resources() {
    let floor = Floor::start(Mode::InProcess).await;
    floor.apply("yard", json!({"suspend": true})).await;
    let start = async |port: u16| {
        let mut command = controller(&floor, port).await;
        command.env("WASMPROXY_LEADER_ELECTION", "true");
        let process = Process::run(command.args(["--leader-election-namespace", &floor.namespace]));
        process.line("controller is ready").await;
        process
    };
    let (first, second) = (free_port(), free_port());
    let _leader = start(first).await;
    Scrape::until(first, |now| now.all("wasmproxy_resources") == [1.0]).await;
    let _standby = start(second).await;
    let scrape = Scrape::of(second).await;
    assert_eq!(scrape.get("wasmproxy_leader", &[]), Some(0.0));
    assert_eq!(scrape.all("wasmproxy_resources"), [0.0; 0]);
}
