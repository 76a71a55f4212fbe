//! What helm installs works: with the rights, the arguments and the Pod of the chart, and nothing beside them.

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{
    controller::floor::{CHUNK, Floor, Mode},
    lab::{Administrator, BrokerConfig, ControlPlane, chart},
    modules::module,
};

/// The name of the release, and of all that it makes.
const RELEASE: &str = "wasmproxy";

/// A module reaches the channel, and `helm` sees that all is well.
async fn a_module_is_published(workers: &str) {
    // The controllers' Pods need a node in any case.
    let broker = BrokerConfig::default().user("anybody", "anything");
    let floor = Floor::with(Mode::Pods, broker).await;
    let labels = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    let namespaces: Api<Namespace> = Api::all(floor.client.clone());
    namespaces.patch(&floor.namespace, &PatchParams::default(), &Patch::Merge(labels)).await.unwrap();
    floor.registry.push("wasm/add:1", module(2 * CHUNK)).await;
    floor.secret("broker", json!({"username": "anybody", "password": "anything"})).await;

    // In the namespace of this test alone: other tests have controllers of their own.
    let values = format!(
        "--set=crds.enabled=false,rbac.aggregate=false,namespaces={{{}}},workers.mode={workers}",
        floor.namespace
    );
    let (chart, administrator) = (chart(), Administrator::of(ControlPlane::shared().await));
    let install = ["install", RELEASE, chart.to_str().unwrap(), "--namespace", &floor.namespace, &values];
    let waiting = ["--wait", "--timeout=60s"];
    administrator.helm(&[&install[..], &waiting[..]].concat()).await;
    let spec = json!({
        "broker": {"url": floor.broker.url(), "secretRef": {"name": "broker"}},
        "artifacts": [{"reference": "wasm/add:1"}],
    });
    floor.apply("line", spec).await;
    let status = floor.until_ready("line").await;
    assert_eq!(status.transfers.unwrap().chunks, 2);
    administrator.helm(&["uninstall", RELEASE, "--namespace", &floor.namespace]).await;
}

#[tokio::test]
async fn with_workers_in_pods_what_is_installed_brings_a_module_to_its_channel() {
    a_module_is_published("pods").await;
}

#[tokio::test]
async fn with_workers_in_its_process_what_is_installed_brings_a_module_to_its_channel() {
    a_module_is_published("in-process").await;
}
