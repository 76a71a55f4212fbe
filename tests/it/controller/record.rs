//! Writes down what a release has to say, for its successors to read: `tests/releases/VERSION`.
//!
//! No test: run by `make release-fixtures`, once for each release.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kube::{
    Api,
    core::{ApiResource, DynamicObject},
};
use serde_json::{Value, json};
use wasmproxy::api::{Phase, WasmProxy, WasmProxyStatus};

use super::floor::{CHUNK, Floor, Mode, message};
use crate::{lab::repository, modules::module};

/// Chunks that go before the pace holds.
const BURST: u64 = 500;

#[tokio::test]
#[ignore = "writes tests/releases/"]
async fn what_this_release_admits_and_writes() {
    let folder = repository().join("tests/releases").join(env!("CARGO_PKG_VERSION"));
    for part in ["examples", "resources"] {
        let _ = fs::remove_dir_all(folder.join(part));
        fs::create_dir_all(folder.join(part)).unwrap();
    }
    fs::copy(repository().join("crds/wasmproxies.wasmproxy.io.yaml"), folder.join("crd.yaml")).unwrap();
    for example in resources_in("examples") {
        fs::copy(&example, folder.join("examples").join(example.file_name().unwrap())).unwrap();
    }
    record_resources(&folder.join("resources")).await;
}

/// The files with resources in a folder of the repository.
fn resources_in(folder: &str) -> Vec<PathBuf> {
    let paths = fs::read_dir(repository().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| fs::read_to_string(path).unwrap().contains("kind: WasmProxy")).collect()
}

async fn record_resources(folder: &Path) {
    let mut floor = Floor::start(Mode::InProcess).await;
    floor.registry.push("wasm/add:1.2", module(12 * CHUNK + 1)).await;
    floor.registry.push("wasm/sub:1", module(CHUNK)).await;
    floor.registry.push("wasm/large:1", module(2000 * CHUNK)).await;
    floor.registry.push("wasm/text:1", "this is no module").await;
    let declared = |reference: &str| json!({"artifacts": [{"reference": reference}]});

    floor.apply("fresh", declared("wasm/add:1.2")).await;
    record(&floor, folder, "fresh").await;

    let _controller = floor.controller();
    floor.apply("ready-without-artifacts", json!({})).await;
    floor.apply("no-subscribers", declared("wasm/add:1.2")).await;
    let listener = floor.listen("ready").await;
    floor.apply("ready", declared("wasm/add:1.2")).await;
    floor.until_ready("ready").await;
    listener.ask("wasm/sub:1").await;
    let both = |status: &WasmProxyStatus| status.artifacts.iter().filter(|a| a.phase == Phase::Published).count() == 2;
    floor.until("ready", both).await;
    record(&floor, folder, "ready").await;
    for (name, reason) in [("ready-without-artifacts", "NothingDeclared"), ("no-subscribers", "NoSubscribers")] {
        floor.until_ready_is(name, "True", reason).await;
        record(&floor, folder, name).await;
    }

    let slow = json!({"pace": "1k", "artifacts": [{"reference": "wasm/large:1", "interval": "1h", "plain": true}]});
    floor.apply("progressing", slow).await;
    let under_way = |status: &WasmProxyStatus| {
        let out = status.artifacts.first().and_then(|artifact| artifact.chunks).map_or(0, |chunks| chunks.published);
        out >= BURST && message(status).contains("on their way")
    };
    floor.until("progressing", under_way).await;
    record(&floor, folder, "progressing").await;

    floor.apply("suspended", declared("wasm/add:1.2")).await;
    floor.until_ready("suspended").await;
    floor.apply("suspended", json!({"suspend": true, "artifacts": [{"reference": "wasm/add:1.2"}]})).await;
    floor.until_ready_is("suspended", "False", "Suspended").await;
    record(&floor, folder, "suspended").await;

    floor.apply("artifact-not-found", declared("wasm/none:1")).await;
    floor.apply("stalled", declared("wasm/text:1")).await;
    let broker = json!({"url": floor.broker.url(), "secretRef": {"name": "broker"}});
    floor.apply("secret-not-found", json!({"broker": broker})).await;
    for (name, reason) in [
        ("artifact-not-found", "ArtifactNotFound"),
        ("stalled", "UnsupportedArtifact"),
        ("secret-not-found", "SecretNotFound"),
    ] {
        floor.until_ready_is(name, "False", reason).await;
        record(&floor, folder, name).await;
    }

    floor.broker.stop();
    floor.apply("broker-unreachable", declared("wasm/add:1.2")).await;
    floor.until_ready_is("broker-unreachable", "False", "BrokerUnreachable").await;
    record(&floor, folder, "broker-unreachable").await;
}

/// Writes a resource down as the API server keeps it, without what is of this run only.
async fn record(floor: &Floor, folder: &Path, name: &str) {
    let kind = ApiResource::erase::<WasmProxy>(&());
    let objects: Api<DynamicObject> = Api::namespaced_with(floor.client.clone(), &floor.namespace, &kind);
    let mut resource = serde_json::to_value(objects.get(name).await.unwrap()).unwrap();
    let generation = resource["metadata"]["generation"].clone();
    resource["metadata"] = json!({"name": name, "namespace": floor.namespace, "generation": generation});
    let text = resource
        .to_string()
        .replace(&format!("127.0.0.1:{}", floor.broker.port()), "broker.example:1883")
        .replace(&floor.registry.host(), "registry.example:5000")
        .replace(&floor.namespace, "edge");
    let resource: Value = serde_json::from_str(&text).unwrap();
    fs::write(folder.join(name).with_extension("yaml"), serde_saphyr::to_string(&resource).unwrap()).unwrap();
}
