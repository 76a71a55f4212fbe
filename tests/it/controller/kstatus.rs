//! What kstatus makes of a resource: by it Flux, Argo CD's health scripts and `kubectl`-like tools judge whether it is well.

use std::{path::Path, process::Stdio};

use kube::{
    Api,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    runtime::wait::await_condition,
};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, process::Command};
use wasmproxy::api::{WasmProxy, WasmProxyStatus};

use super::floor::{CHUNK, Floor, Mode, ready};
use crate::{
    lab::{ControlPlane, repository},
    modules::module,
    waiting::soon,
};

in_both_modes!(
    a_resource_that_nobody_has_looked_at_is_in_progress,
    a_resource_is_in_progress_until_its_artifacts_are_out_and_again_after_a_change,
    what_may_mend_itself_is_in_progress_and_what_cannot_has_failed,
    a_resource_that_is_being_deleted_is_terminating,
    kubectl_waits_until_the_artifacts_are_out,
);

/// What kstatus itself says of an object as the API server has it.
async fn computed(object: &Value) -> String {
    let script = repository().join("tests/lab/tool.sh");
    let mut command = Command::new(script);
    command.arg("kstatus").stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut kstatus = command.spawn().unwrap();
    kstatus.stdin.take().unwrap().write_all(object.to_string().as_bytes()).await.unwrap();
    let output = kstatus.wait_with_output().await.unwrap();
    assert!(output.status.success(), "kstatus cannot tell of {object:#}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

impl Floor {
    /// What kstatus says of the resource of that name.
    async fn kstatus(&self, name: &str) -> String {
        let kind = ApiResource::erase::<WasmProxy>(&());
        let objects: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace, &kind);
        computed(&serde_json::to_value(objects.get(name).await.unwrap()).unwrap()).await
    }
}

async fn a_resource_that_nobody_has_looked_at_is_in_progress(mode: Mode) {
    let floor = Floor::start(mode).await;
    floor.apply("line", json!({})).await;
    assert_eq!(floor.kstatus("line").await, "InProgress");
}

async fn a_resource_is_in_progress_until_its_artifacts_are_out_and_again_after_a_change(mode: Mode) {
    let floor = Floor::start(mode).await;
    floor.registry.push("wasm/add:1", module(2000 * CHUNK)).await;
    let controller = floor.controller();
    // A chunk a second after the first ones: it streams for as long as the test lasts.
    let spec = |pace: &str| json!({"pace": pace, "artifacts": [{"reference": "wasm/add:1"}]});
    floor.apply("line", spec("1k")).await;
    floor.until_ready_is("line", "Unknown", "Progressing").await;
    assert_eq!(floor.kstatus("line").await, "InProgress");
    floor.apply("line", json!({"suspend": true})).await;
    floor.until_ready_is("line", "False", "Suspended").await;
    assert_eq!(floor.kstatus("line").await, "InProgress");

    floor.apply("line", spec("1G")).await;
    floor.until_ready("line").await;
    assert_eq!(floor.kstatus("line").await, "Current");
    controller.stop().await;
    floor.apply("line", spec("2G")).await;
    assert_eq!(floor.kstatus("line").await, "InProgress", "nobody has looked at that yet");
}

async fn what_may_mend_itself_is_in_progress_and_what_cannot_has_failed(mode: Mode) {
    let mut floor = Floor::start(mode).await;
    floor.registry.push("wasm/odd:1", "this is no module").await;
    let _controller = floor.controller();
    floor.apply("odd", json!({"artifacts": [{"reference": "wasm/odd:1"}]})).await;
    floor.until_ready_is("odd", "False", "UnsupportedArtifact").await;
    assert_eq!(floor.kstatus("odd").await, "Failed");
    floor.apply("twice", json!({"artifacts": [{"reference": "a"}, {"reference": "a:latest"}]})).await;
    floor.until_ready_is("twice", "False", "InvalidSpec").await;
    assert_eq!(floor.kstatus("twice").await, "Failed");

    floor.broker.stop();
    floor.apply("line", json!({})).await;
    floor.until_ready_is("line", "False", "BrokerUnreachable").await;
    assert_eq!(floor.kstatus("line").await, "InProgress");
}

async fn a_resource_that_is_being_deleted_is_terminating(mode: Mode) {
    let floor = Floor::start(mode).await;
    let _controller = floor.controller();
    floor.apply("line", json!({})).await;
    floor.until_ready("line").await;
    let finalizers = |finalizers: Value| Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
    let held = finalizers(json!(["example.com/held"]));
    floor.resources().patch("line", &PatchParams::default(), &held).await.unwrap();
    floor.delete("line").await;
    assert_eq!(floor.kstatus("line").await, "Terminating");
    floor.resources().patch("line", &PatchParams::default(), &finalizers(json!(null))).await.unwrap();
    let gone = |resource: Option<&WasmProxy>| resource.is_none();
    await_condition(floor.resources(), "line", gone).await.unwrap();
}

async fn kubectl_waits_until_the_artifacts_are_out(mode: Mode) {
    let floor = Floor::start(mode).await;
    let kubeconfig = ControlPlane::shared().await.kubeconfig();
    let mut kubectl = Command::new(repository().join("tests/lab/tool.sh"));
    kubectl.args(["kubectl", "wait", "--for=condition=Ready", "wp/line", "--timeout=60s", "-n", &floor.namespace]);
    kubectl.current_dir(Path::new(env!("CARGO_TARGET_TMPDIR"))).env("KUBECONFIG", kubeconfig).kill_on_drop(true);
    floor.apply("line", json!({"artifacts": [{"reference": "wasm/add:1"}]})).await;
    let mut kubectl = kubectl.stdin(Stdio::null()).spawn().unwrap();
    let _controller = floor.controller();
    floor.until_ready_is("line", "False", "ArtifactNotFound").await;
    assert!(kubectl.try_wait().unwrap().is_none(), "nothing is out yet");

    floor.registry.push("wasm/add:1", module(3 * CHUNK)).await;
    assert!(soon("kubectl", kubectl.wait()).await.unwrap().success());
    let is_out = |status: &WasmProxyStatus| {
        ready(status).is_some_and(|(is, _)| is == "True") && status.published.as_deref() == Some("1/1")
    };
    assert!(is_out(&floor.get("line").await.status.unwrap()));
}
