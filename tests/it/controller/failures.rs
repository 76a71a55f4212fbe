//! What goes wrong outside, and what is said of it.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
    runtime::wait::await_condition,
};
use serde_json::json;
use wasmproxy::api::{Phase, WasmProxy, conditions::ConditionType};

use super::floor::{CHUNK, Floor, Mode, message, says};
use crate::{
    lab::{BrokerConfig, ControlPlane},
    modules::module,
    waiting::soon,
};

async fn an_artifact_that_is_not_there_is_named_and_found_once_it_is(mode: Mode) {
    let floor = Floor::start(mode).await;
    let _controller = floor.controller();
    floor.apply("line", json!({"artifacts": [{"reference": "wasm/add:1"}]})).await;

    let status = floor.until_ready_is("line", "False", "ArtifactNotFound").await;
    assert!(message(&status).contains("/wasm/add:1 was not found"), "{}", message(&status));
    assert_eq!(says(&status, ConditionType::RegistryReady), Some(("True", "Succeeded")));
    assert_eq!((status.artifacts[0].phase, status.published.as_deref()), (Phase::Failed, Some("0/1")));
    assert_eq!(status.artifacts[0].message.as_deref(), Some(message(&status)));

    floor.registry.push("wasm/add:1", module(CHUNK)).await;
    let status = floor.until_ready("line").await;
    assert_eq!((status.artifacts[0].phase, &status.artifacts[0].message), (Phase::Published, &None));
}

async fn an_artifact_that_is_no_module_is_stalled(mode: Mode) {
    let floor = Floor::start(mode).await;
    floor.registry.push("wasm/add:1", "this is no module").await;
    let _controller = floor.controller();
    floor.apply("line", json!({"artifacts": [{"reference": "wasm/add:1"}]})).await;
    let status = floor.until_ready_is("line", "False", "UnsupportedArtifact").await;
    assert_eq!(says(&status, ConditionType::Stalled), Some(("True", "UnsupportedArtifact")));
}

async fn a_broker_that_cannot_be_reached_is_named_and_waited_for(mode: Mode) {
    let mut floor = Floor::start(mode).await;
    floor.registry.push("wasm/add:1", module(CHUNK)).await;
    floor.broker.stop();
    let _controller = floor.controller();
    floor.apply("line", json!({"artifacts": [{"reference": "wasm/add:1"}]})).await;
    let status = floor.until_ready_is("line", "False", "BrokerUnreachable").await;
    let address = format!("127.0.0.1:{}", floor.broker.port());
    assert!(message(&status).contains(&address), "{}", message(&status));

    floor.broker.start_again().await;
    floor.until_ready("line").await;
}

async fn a_registry_that_cannot_be_reached_is_named_and_waited_for(mode: Mode) {
    let mut floor = Floor::start(mode).await;
    floor.registry.push("wasm/add:1", module(CHUNK)).await;
    floor.registry.stop();
    let _controller = floor.controller();
    floor.apply("line", json!({"artifacts": [{"reference": "wasm/add:1"}]})).await;
    let status = floor.until_ready_is("line", "False", "RegistryUnreachable").await;
    assert!(message(&status).contains(&floor.registry.host()), "{}", message(&status));

    floor.registry.start_again().await;
    floor.until_ready("line").await;
}

async fn a_spec_that_no_worker_can_be_given_is_stalled_until_it_is_corrected(mode: Mode) {
    let floor = Floor::start(mode).await;
    floor.registry.push("add:latest", module(CHUNK)).await;
    let _controller = floor.controller();
    let twice = json!([{"reference": "add"}, {"reference": "add:latest"}]);
    floor.apply("line", json!({"artifacts": twice})).await;
    let status = floor.until_ready_is("line", "False", "InvalidSpec").await;
    assert!(message(&status).contains("mean the same artifact"), "{}", message(&status));
    assert_eq!(says(&status, ConditionType::Stalled), Some(("True", "InvalidSpec")));

    floor.apply("line", json!({"artifacts": [{"reference": "add"}]})).await;
    let status = floor.until_ready("line").await;
    assert_eq!(says(&status, ConditionType::Stalled), None);
}

async fn a_resource_that_cannot_be_read_says_so_and_keeps_nobody_else_waiting(mode: Mode) {
    let control_plane = ControlPlane::start().await;
    let floor = Floor::on(&control_plane, mode, BrokerConfig::default()).await;
    floor.registry.push("wasm/add:1", module(CHUNK)).await;

    // As after an upgrade that made a field stricter than what is stored.
    let definitions: Api<CustomResourceDefinition> = Api::all(floor.client.clone());
    let name = "wasmproxies.wasmproxy.io";
    let lax = json!([{"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema", "value":
        {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}]);
    let patch: Patch<()> = Patch::Json(serde_json::from_value(lax).unwrap());
    definitions.patch(name, &PatchParams::default(), &patch).await.unwrap();
    let kind = ApiResource::erase::<WasmProxy>(&());
    let objects: Api<DynamicObject> = Api::namespaced_with(floor.client.clone(), &floor.namespace, &kind);
    let mut odd: DynamicObject = serde_json::from_value(floor.resource("odd", json!({}))).unwrap();
    odd.data["spec"]["chunkSize"] = json!("many");
    objects.create(&PostParams::default(), &odd).await.unwrap();

    let _controller = floor.controller();
    floor.apply("line", json!({"artifacts": [{"reference": "wasm/add:1"}]})).await;
    floor.until_ready("line").await;
    let says_so = |object: Option<&DynamicObject>| {
        let ready = object.map(|object| object.data["status"]["conditions"].to_string()).unwrap_or_default();
        ready.contains("the resource cannot be read") && ready.contains("InvalidSpec")
    };
    await_condition(objects, "odd", says_so).await.unwrap();
}

async fn a_resource_that_cannot_be_read_any_more_says_so_once_whatever_was_said_before(mode: Mode) {
    let control_plane = ControlPlane::start().await;
    let floor = Floor::on(&control_plane, mode, BrokerConfig::default()).await;
    floor.registry.push("wasm/add:1", module(CHUNK)).await;
    let definitions: Api<CustomResourceDefinition> = Api::all(floor.client.clone());
    let protocol = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/broker/properties/protocol";
    let lax = json!([{"op": "replace", "path": protocol, "value": {"type": "string"}}]);
    let patch: Patch<()> = Patch::Json(serde_json::from_value(lax).unwrap());
    definitions.patch("wasmproxies.wasmproxy.io", &PatchParams::default(), &patch).await.unwrap();

    // The worker's conditions are taken from it, and have two owners now.
    let controller = floor.controller();
    floor.apply("line", json!({"artifacts": [{"reference": "wasm/add:1"}]})).await;
    floor.until_ready("line").await;
    floor.apply("line", json!({"suspend": true})).await;
    floor.until_ready_is("line", "False", "Suspended").await;
    // In a Pod it is the worker that says so, and its last word.
    floor.until("line", |status| status.broker.is_none()).await;

    // As a later version may write it.
    let kind = ApiResource::erase::<WasmProxy>(&());
    let objects: Api<DynamicObject> = Api::namespaced_with(floor.client.clone(), &floor.namespace, &kind);
    let (later, merge) = (json!({"spec": {"broker": {"protocol": "MQTT9"}}}), PatchParams::default());
    let patched = objects.patch("line", &merge, &Patch::Merge(later)).await;
    assert_eq!(patched.unwrap().data["spec"]["broker"]["protocol"], "MQTT9");
    let says = |object: Option<&DynamicObject>| object.unwrap().data["status"]["conditions"].to_string();
    let says_so = |object: Option<&DynamicObject>| says(object).contains("the resource cannot be read");
    soon("what cannot be read", await_condition(objects.clone(), "line", says_so)).await.unwrap();

    let before = objects.get("line").await.unwrap().metadata.resource_version;
    controller.stop().await;
    let _controller = floor.controller();
    floor.apply("other", json!({})).await;
    floor.until_ready("other").await;
    assert_eq!(objects.get("line").await.unwrap().metadata.resource_version, before, "that is no news");

    let known = json!({"spec": {"broker": {"protocol": "MQTT5"}, "suspend": false}});
    objects.patch("line", &merge, &Patch::Merge(known)).await.unwrap();
    floor.until_ready("line").await;
}

in_both_modes! {
    an_artifact_that_is_not_there_is_named_and_found_once_it_is,
    an_artifact_that_is_no_module_is_stalled,
    a_broker_that_cannot_be_reached_is_named_and_waited_for,
    a_registry_that_cannot_be_reached_is_named_and_waited_for,
    a_spec_that_no_worker_can_be_given_is_stalled_until_it_is_corrected,
    a_resource_that_cannot_be_read_says_so_and_keeps_nobody_else_waiting,
    a_resource_that_cannot_be_read_any_more_says_so_once_whatever_was_said_before,
}
