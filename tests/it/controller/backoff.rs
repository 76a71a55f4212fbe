//! Resources that cannot be served, beside others.

use serde_json::{Value, json};
use wasmproxy::api::{Phase, WasmProxyStatus};

use super::{
    floor::{CHUNK, Floor, Mode, ready},
    program::program,
};
use crate::{lab::ControlPlane, modules::module, standalone::Process};

#[tokio::test]
async fn many_that_are_broken_keep_one_that_is_not_from_nothing() {
    let floor = Floor::start(Mode::InProcess).await;
    floor.registry.push("wasm/add:1", module(3 * CHUNK)).await;
    let _controller = floor.controller();
    let broker = json!({"url": floor.broker.url(), "secretRef": {"name": "none"}});
    let broken: Vec<_> = (0..50).map(|i| format!("broken-{i:02}")).collect();
    let apply = async |name: &String| drop(floor.apply(name, json!({"broker": broker})).await);
    futures::future::join_all(broken.iter().map(apply)).await;
    for name in &broken {
        floor.until_ready_is(name, "False", "SecretNotFound").await;
    }
    floor.apply("good", json!({"artifacts": [{"reference": "wasm/add:1"}]})).await;
    floor.until_ready("good").await;
    floor.apply("good", json!({"chunkSize": 2 * CHUNK, "artifacts": [{"reference": "wasm/add:1"}]})).await;
    floor.until_ready("good").await;

    floor.secret("none", json!({"username": "worker", "password": "any"})).await;
    for name in &broken {
        floor.until_ready(name).await;
    }
}

/// The log's lines about this resource that say more than that it is tried again.
fn lines_about(lines: &[Value], resource: &str) -> usize {
    lines.iter().filter(|line| line["resource"] == resource && line["level"] != "DEBUG").count()
}

#[tokio::test]
async fn what_no_attempt_can_mend_is_said_once_and_not_tried_again() {
    let floor = Floor::start(Mode::InProcess).await;
    floor.registry.push("wasm/add:1", module(CHUNK)).await;
    let mut program = program(&["--log-level=debug", "--workers=in-process", "--namespace", &floor.namespace]);
    let controller = Process::run(program.env("KUBECONFIG", ControlPlane::shared().await.kubeconfig()));
    controller.line("controller is ready").await;
    let twice = json!([{"reference": "wasm/add:1"}, {"reference": format!("{}/wasm/add:1", floor.registry.host())}]);
    floor.apply("twice", json!({"artifacts": twice})).await;
    floor.until_ready_is("twice", "False", "InvalidSpec").await;
    let broker = json!({"url": floor.broker.url(), "secretRef": {"name": "none"}});
    floor.apply("missing", json!({"broker": broker})).await;
    floor.until_ready_is("missing", "False", "SecretNotFound").await;

    // The one that can be mended was tried several times by then.
    let [twice, missing] = ["twice", "missing"].map(|name| format!("{}/{name}", floor.namespace));
    let tried = |lines: &[Value], resource: &str| {
        lines.iter().filter(|line| line["resource"] == resource && line["error"].is_string()).count()
    };
    let log = controller.lines_until(|lines| tried(lines, &missing) >= 4).await;
    assert!(tried(&log, &twice) <= 2, "once, and perhaps once more for what the controller has written itself");
    assert_eq!((lines_about(&log, &twice), lines_about(&log, &missing)), (1, 1), "{log:#?}");
}

#[tokio::test]
async fn an_artifact_that_is_replaced_by_a_module_is_found_at_its_interval() {
    let floor = Floor::start(Mode::InProcess).await;
    floor.registry.push("wasm/add:1", "this is no module").await;
    let _controller = floor.controller();
    floor.apply("line", json!({"artifacts": [{"reference": "wasm/add:1", "interval": "10s"}]})).await;
    floor.until_ready_is("line", "False", "UnsupportedArtifact").await;
    floor.registry.push("wasm/add:1", module(CHUNK)).await;
    let published = |status: &WasmProxyStatus| {
        ready(status).is_some_and(|(is, _)| is == "True") && status.artifacts[0].phase == Phase::Published
    };
    floor.until("line", published).await;
}
