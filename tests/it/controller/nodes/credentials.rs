//! Secrets as the kubelet brings them: late, all at once, and not at all.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, api::DeleteParams};
use serde_json::{Value, json};
use wasmproxy::api::conditions::ConditionType;

use super::{CHUNK, Floor, Mode, PODS, message, says};
use crate::{lab::BrokerConfig, modules::module};

/// A floor whose broker lets in one user, and a resource whose Secrets say these passwords.
async fn guarded(secrets: &[(&str, &str)]) -> Floor {
    let floor = Floor::with_in(Mode::Pods, BrokerConfig::default().user("worker", "old")).await;
    floor.registry.push("wasm/add:1", module(CHUNK)).await;
    for (name, password) in secrets {
        floor.secret(name, login(password)).await;
    }
    apply(&floor, "broker").await;
    floor
}

/// Applies a resource that uses this Secret.
async fn apply(floor: &Floor, secret: &str) {
    let broker = json!({"url": floor.broker.url(), "secretRef": {"name": secret}});
    floor.apply("line", json!({"broker": broker, "artifacts": [{"reference": "wasm/add:1"}]})).await;
}

fn login(password: &str) -> Value {
    json!({"username": "worker", "password": password})
}

#[tokio::test]
async fn another_password_is_in_use_once_the_kubelet_has_brought_it() {
    let mut floor = guarded(&[("broker", "old")]).await;
    let _controller = floor.controller();
    floor.until_ready("line").await;

    let held = floor.kubelet().hold_volumes().await;
    floor.secret("broker", login("new")).await;
    floor.broker.kill();
    floor.broker.start_again_as(BrokerConfig::default().user("worker", "new")).await;
    floor.until_ready_is("line", "False", "BrokerUnauthorized").await;
    drop(held);
    let status = floor.until_ready("line").await;
    assert_eq!(floor.kubelet().containers(PODS).len(), 1, "nothing was started again");
    assert_eq!(status.transfers.unwrap().chunks, 1, "nothing was sent again");
}

#[tokio::test]
async fn a_worker_goes_on_without_its_secret_and_says_so() {
    let mut floor = guarded(&[("broker", "old")]).await;
    let _controller = floor.controller();
    floor.until_ready("line").await;

    let secrets: Api<Secret> = Api::namespaced(floor.client.clone(), &floor.namespace);
    secrets.delete("broker", &DeleteParams::default()).await.unwrap();
    let status = floor.until_ready_is("line", "False", "SecretNotFound").await;
    assert!(message(&status).contains("Secret broker"), "{}", message(&status));
    assert_eq!(says(&status, ConditionType::WorkerAvailable), Some(("True", "Succeeded")));
    assert!(status.broker.is_some(), "the connection stands");

    floor.secret("broker", login("old")).await;
    floor.until_ready("line").await;
    assert_eq!(floor.kubelet().containers(PODS).len(), 1);
}

#[tokio::test]
async fn another_secret_is_mounted_in_another_pod() {
    let mut floor = guarded(&[("broker", "wrong"), ("other", "old")]).await;
    let _controller = floor.controller();
    floor.until_ready_is("line", "False", "BrokerUnauthorized").await;
    let before = floor.kubelet().running(PODS).await;
    apply(&floor, "other").await;
    floor.until_ready("line").await;

    let after = floor.kubelet().running(PODS).await;
    assert_eq!(before.ended().await, 0);
    let password = |secret: &str| after.read(&format!("/run/wasmproxy/secrets/{secret}/password"));
    assert_eq!((password("broker"), password("other")), (None, Some("old".to_owned())));
    assert_eq!(floor.kubelet().most_at_once(PODS), 1);
    assert_eq!(floor.kubelet().containers(PODS).len(), 2);
}
