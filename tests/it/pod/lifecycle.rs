//! A resource that is applied, changed, suspended, deleted and made anew, and workers that come and go.

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use wasmproxy::{
    api::{Phase, ProtocolVersion, Source, WasmProxy, conditions::ConditionType},
    resource::status::Author,
};

use super::floor::{NAME, Site, artifacts};
use crate::{
    controller::floor::{CHUNK, says},
    lab::ControlPlane,
    modules::module,
};

#[tokio::test]
async fn a_resource_is_served_with_a_workers_rights_and_a_new_artifact_needs_no_restart() {
    let site = Site::start().await;
    site.registry.push("wasm/add:1", module(3 * CHUNK)).await;
    site.registry.push("wasm/sub:1", module(2 * CHUNK)).await;
    let mut listener = site.listen(NAME).await;
    let worker = site.worker().await;
    worker.until_unready("not there").await;
    site.declare(&["wasm/add:1"]).await;

    let status = site.until_published().await;
    worker.until_ready().await;
    assert_eq!(says(&status, ConditionType::RegistryReady), Some(("True", "Succeeded")));
    assert_eq!((status.progress.as_deref(), status.published.as_deref()), (Some("3/3"), Some("1/1")));
    assert_eq!((status.artifacts[0].phase, status.artifacts[0].source), (Phase::Published, Source::Declared));
    assert_eq!(status.broker.unwrap().protocol, ProtocolVersion::Mqtt5);
    assert_eq!(listener.chunks().await, 3);

    site.declare(&["wasm/add:1", "wasm/sub:1"]).await;
    let status = site.until_published().await;
    assert_eq!((status.published.as_deref(), status.transfers.unwrap().chunks), (Some("2/2"), 5));
    assert_eq!(listener.chunks().await, 2);
    site.until_connected(1).await;
    worker.stop().await;
    assert_eq!(site.broker.server().log().matches(" as wp").count(), 1, "one connection for all of that");
}

#[tokio::test]
async fn a_worker_may_do_nothing_else() {
    let site = Site::start().await;
    site.declare(&[]).await;
    let client = site.service_account().await;
    let resources: Api<WasmProxy> = Api::namespaced(client.clone(), &site.namespace);
    let is_refused = |error: kube::Error| matches!(&error, kube::Error::Api(status) if status.code == 403);
    assert!(resources.get(NAME).await.is_ok());
    assert!(is_refused(resources.list(&ListParams::default()).await.unwrap_err()));
    assert!(is_refused(resources.get("other").await.unwrap_err()));
    let patch = Patch::Merge(json!({"spec": {"suspend": true}}));
    assert!(is_refused(resources.patch(NAME, &PatchParams::default(), &patch).await.unwrap_err()));
    let secrets: Api<Secret> = Api::namespaced(client, &site.namespace);
    assert!(is_refused(secrets.get("broker").await.unwrap_err()));
}

#[tokio::test]
async fn a_suspended_resource_ends_its_session_and_sends_nothing_again_when_it_goes_on() {
    let site = Site::start().await;
    site.registry.push("wasm/add:1", module(3 * CHUNK)).await;
    site.registry.push("wasm/sub:1", module(CHUNK)).await;
    let mut listener = site.listen(NAME).await;
    let worker = site.worker().await;
    site.declare(&["wasm/add:1"]).await;
    let before = site.until_published().await;
    assert_eq!(listener.chunks().await, 3);

    let mut suspended = artifacts(&["wasm/add:1"]);
    suspended["suspend"] = json!(true);
    site.apply(NAME, suspended).await;
    site.until_says(ConditionType::BrokerConnected, "Unknown", "WorkerUnavailable").await;
    let status = site.get(NAME).await.status.unwrap();
    assert_eq!((&status.artifacts, status.broker), (&before.artifacts, None));
    worker.until_ready().await;
    listener.ask("wasm/add:1").await;

    site.declare(&["wasm/add:1"]).await;
    let status = site.until_published().await;
    assert_eq!(status.artifacts, before.artifacts);
    assert_eq!(listener.chunks().await, 0, "what was asked meanwhile nobody has heard");
    listener.ask("wasm/sub:1").await;
    assert_eq!(site.until_out(2).await.transfers.unwrap().chunks, 3 + 1);
}

#[tokio::test]
async fn a_deleted_resource_ends_its_session_and_one_that_is_made_anew_is_another() {
    let site = Site::start().await;
    site.registry.push("wasm/add:1", module(3 * CHUNK)).await;
    let mut listener = site.listen(NAME).await;
    let worker = site.worker().await;
    site.declare(&["wasm/add:1"]).await;
    site.until_published().await;

    site.delete(NAME).await;
    worker.until_unready("not there").await;
    site.until_disconnected(1).await;
    assert_eq!(listener.chunks().await, 3);
    site.declare(&["wasm/add:1"]).await;
    site.until_published().await;
    assert_eq!(listener.chunks().await, 3);
}

#[tokio::test]
async fn a_resource_of_another_uid_is_left_alone() {
    let site = Site::start().await;
    let first = site.declare(&[]).await;
    let worker = site.worker_of(&first).await;
    site.until_published().await;
    site.delete(NAME).await;
    site.declare(&[]).await;
    worker.until_unready("another one").await;
    site.until_disconnected(1).await;

    let late = site.worker_of(&first).await;
    late.until_unready("another one").await;
    assert_eq!(site.get(NAME).await.status.unwrap().conditions, []);
    site.worker().await.until_ready().await;
    site.until_published().await;
}

#[tokio::test]
async fn a_worker_that_comes_after_another_sends_nothing_again_and_answers_what_was_asked_meanwhile() {
    let site = Site::start().await;
    site.registry.push("wasm/add:1", module(3 * CHUNK)).await;
    site.registry.push("wasm/sub:1", module(2 * CHUNK)).await;
    let mut listener = site.listen(NAME).await;
    let worker = site.worker().await;
    site.declare(&["wasm/add:1"]).await;
    let before = site.until_published().await;
    worker.stop().await;
    assert_eq!(site.get(NAME).await.status.as_ref(), Some(&before), "a worker that is replaced says nothing");
    assert_eq!(listener.chunks().await, 3);

    listener.ask("wasm/sub:1").await;
    let _worker = site.worker().await;
    let after = site.until_out(2).await;
    assert_eq!(after.artifacts[0], before.artifacts[0]);
    assert_eq!(after.transfers.unwrap().chunks, 3 + 2, "counters go on");
    assert_eq!(listener.chunks().await, 0, "an old device is answered on its own topic");
}

#[tokio::test]
async fn a_worker_that_is_told_to_end_because_its_resource_is_suspended_leaves_no_session() {
    let site = Site::start().await;
    site.registry.push("wasm/add:1", module(CHUNK)).await;
    let listener = site.listen(NAME).await;
    let worker = site.worker().await;
    site.declare(&[]).await;
    site.until_published().await;
    // In a thread of its own, while this one, and so the worker, stands still: the watch sees nothing of it before the end.
    let (suspended, namespace) = (site.resource(NAME, json!({"suspend": true})), site.namespace.clone());
    std::thread::spawn(move || apply_in_a_runtime_of_its_own(suspended, &namespace)).join().unwrap();
    worker.stop().await;
    site.until_says(ConditionType::BrokerConnected, "Unknown", "WorkerUnavailable").await;

    listener.ask("wasm/add:1").await;
    site.declare(&[]).await;
    let _worker = site.worker().await;
    let status = site.until_published().await;
    assert_eq!((status.artifacts, status.transfers.unwrap().chunks), (vec![], 0));
}

#[tokio::main(flavor = "current_thread")]
async fn apply_in_a_runtime_of_its_own(resource: Value, namespace: &str) {
    let client = ControlPlane::shared().await.client().await;
    let resources: Api<WasmProxy> = Api::namespaced(client, namespace);
    let parameters = PatchParams::apply("user").force();
    resources.patch(NAME, &parameters, &Patch::Apply(resource)).await.unwrap();
}

/// Writes into the status as the controller does.
async fn controller_says(site: &Site, conditions: &[Value]) -> WasmProxy {
    let patch = Patch::Apply(json!({
        "apiVersion": "wasmproxy.io/v1alpha1", "kind": "WasmProxy", "metadata": {"name": NAME},
        "status": {"conditions": conditions},
    }));
    let parameters = PatchParams::apply(Author::Controller.manager()).force();
    site.resources().patch_status(NAME, &parameters, &patch).await.unwrap()
}

fn condition(about: &str, status: &str, reason: &str) -> Value {
    json!({
        "type": about, "status": status, "reason": reason, "message": "as the controller says it",
        "observedGeneration": 1, "lastTransitionTime": "2026-11-01T10:00:00Z",
    })
}

#[tokio::test]
async fn a_worker_whose_channel_another_resource_has_leaves_no_session_until_it_gets_the_channel() {
    let site = Site::start().await;
    site.registry.push("wasm/add:1", module(CHUNK)).await;
    site.registry.push("wasm/sub:1", module(CHUNK)).await;
    let listener = site.listen(NAME).await;
    let _worker = site.worker().await;
    site.declare(&[]).await;
    site.until_published().await;

    controller_says(&site, &[condition("Stalled", "True", "ChannelConflict")]).await;
    site.until_says(ConditionType::BrokerConnected, "Unknown", "WorkerUnavailable").await;
    listener.ask("wasm/add:1").await;
    // That something else is wrong is no reason not to go on.
    controller_says(&site, &[condition("Stalled", "True", "ChildConflict")]).await;
    site.until_published().await;
    listener.ask("wasm/sub:1").await;
    let status = site.until_out(1).await;
    assert!(status.artifacts[0].reference.ends_with("wasm/sub:1"), "what was asked meanwhile nobody has heard");
}

#[tokio::test]
async fn conditions_that_the_controller_has_taken_are_taken_back() {
    let site = Site::start().await;
    let _worker = site.worker().await;
    site.declare(&[]).await;
    let before = site.until_published().await;
    let taken = ["BrokerConnected", "RegistryReady", "ArtifactsPublished"]
        .map(|about| condition(about, "Unknown", "WorkerUnavailable"));
    let taken = controller_says(&site, &taken).await.status.unwrap();
    assert_eq!(says(&taken, ConditionType::BrokerConnected), Some(("Unknown", "WorkerUnavailable")));

    let after = site.until_published().await;
    assert_eq!(
        says(&after, ConditionType::RegistryReady),
        says(&before, ConditionType::RegistryReady),
        "all three are one write"
    );
}
