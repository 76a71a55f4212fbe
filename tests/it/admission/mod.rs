//! What the API server accepts, fills in, and refuses, and the sentence it says then: one test for each rule.
//!
//! Sentences are spelled out here, since they are what people get to read.

mod artifacts;
mod bounds;
mod broker;
mod channel;
mod registry;
mod status;
mod unsupported;
mod worker;

use kube::{
    Api, Client,
    api::{DynamicObject, PostParams},
    core::Status,
};
use serde_json::{Value, json};
use wasmproxy::api::WasmProxy;

use crate::lab::ControlPlane;

/// A client of an API server that knows the resource.
async fn client() -> Client {
    ControlPlane::shared().await.client().await
}

/// The least that is accepted.
fn least() -> Value {
    json!({
        "apiVersion": "wasmproxy.io/v1alpha1",
        "kind": "WasmProxy",
        "metadata": {"name": "least"},
        "spec": {
            "channel": {"id": "line-1"},
            "broker": {"url": "mqtt://broker.example"},
            "registry": {"host": "registry.example"},
        },
    })
}

/// Changes `target` as a JSON merge patch does (RFC 7396).
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(&key);
        } else {
            merge(&mut target[key], value);
        }
    }
}

/// Offers the least resource, changed by `patch`, to the API server, which keeps nothing of it.
async fn offer(patch: Value) -> Result<DynamicObject, Box<Status>> {
    let mut resource = least();
    merge(&mut resource, patch);
    let api: Api<DynamicObject> =
        Api::default_namespaced_with(client().await, &kube::core::ApiResource::erase::<WasmProxy>(&()));
    let object: DynamicObject = serde_json::from_value(resource).unwrap();
    match api.create(&PostParams { dry_run: true, ..PostParams::default() }, &object).await {
        Ok(accepted) => Ok(accepted),
        Err(kube::Error::Api(status)) => Err(status),
        Err(error) => panic!("the API server did not answer: {error}"),
    }
}

/// The resource as it would be stored.
async fn accepted(patch: Value) -> Value {
    let object = offer(patch).await.unwrap_or_else(|status| panic!("refused: {}", status.message));
    serde_json::to_value(object).unwrap()
}

/// What is said about the resource, where nothing else is.
async fn refused(patch: Value, sentence: &str) {
    let Err(status) = offer(patch.clone()).await else { panic!("accepted: {patch}") };
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"), "{}", status.message);
    let causes = status.details.map(|details| details.causes).unwrap_or_default();
    let said: Vec<_> = causes.iter().map(|cause| cause.message.as_str()).collect();
    assert!(matches!(said[..], [only] if only.ends_with(sentence)), "expected: {sentence}\nsaid: {said:#?}");
}

#[tokio::test]
async fn the_example_is_accepted_as_it_is() {
    let example: Value = serde_saphyr::from_str(include_str!("../../fixtures/factory-floor.yaml")).unwrap();
    let stored = accepted(example.clone()).await;
    assert_eq!(stored["spec"], example["spec"], "nothing is added to what says everything, and nothing lost");
}

#[tokio::test]
async fn defaults_are_filled_in() {
    let spec = &accepted(json!({"spec": {"artifacts": [{"reference": "wasm/add:1.2"}]}})).await["spec"];
    assert_eq!(
        spec,
        &json!({
            "channel": {"id": "line-1"},
            "broker": {"url": "mqtt://broker.example", "protocol": "Auto", "qos": 1, "insecureSkipVerify": false},
            "registry": {"host": "registry.example", "insecure": false},
            "artifacts": [{"reference": "wasm/add:1.2", "plain": false}],
            "requests": {"enabled": true},
            "limits": {"moduleSize": "1Gi", "queue": 1024},
            "chunkSize": 512_000,
            "pace": "50M",
            "suspend": false,
        })
    );
}

#[tokio::test]
async fn a_name_of_52_characters_is_accepted() {
    accepted(json!({"metadata": {"name": "n".repeat(52)}})).await;
}

#[tokio::test]
async fn a_longer_name_is_refused() {
    refused(
        json!({"metadata": {"name": "n".repeat(53)}}),
        "metadata.name must be at most 52 characters: the worker's own objects are named after it",
    )
    .await;
}

#[tokio::test]
async fn a_resource_that_asks_for_nothing_is_refused() {
    refused(
        json!({"spec": {"requests": {"enabled": false}}}),
        "there is nothing to do: list something in artifacts, or set requests.enabled to true",
    )
    .await;
}

#[test]
fn every_rule_of_the_definition_is_tried_here() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/admission");
    let tests: String =
        std::fs::read_dir(folder).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    let mut rules = 0;
    each_message(&serde_json::to_value(wasmproxy::api::crd()).unwrap(), &mut |message| {
        rules += 1;
        assert!(tests.contains(&format!("\"{message}\"")), "no test expects: {message}");
    });
    assert!(rules > 30, "found {rules} rules only");
}

/// Calls `visit` with the sentence of each rule in `schema`.
fn each_message(schema: &Value, visit: &mut impl FnMut(&str)) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        visit(rule["message"].as_str().unwrap());
    }
    match schema {
        Value::Object(fields) => fields.values().for_each(|field| each_message(field, visit)),
        Value::Array(items) => items.iter().for_each(|item| each_message(item, visit)),
        _ => {}
    }
}
