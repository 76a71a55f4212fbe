//! Credentials, and what is said where they are missing or wrong.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use wasmproxy::api::{RECONCILE_ANNOTATION, conditions::ConditionType};

use super::floor::{CHUNK, Floor, Mode, message, says};
use crate::{
    lab::{BrokerConfig, RegistryConfig, Transport},
    modules::module,
};

/// A floor whose broker lets in one user, with a module and a resource that names the Secret `broker`.
async fn guarded(mode: Mode) -> Floor {
    let floor = Floor::with_in(mode, BrokerConfig::default().user("worker", "hunter2")).await;
    floor.registry.push("wasm/add:1", module(CHUNK)).await;
    floor
}

async fn apply(floor: &Floor) {
    let broker = json!({"url": floor.broker.url(), "secretRef": {"name": "broker"}});
    floor.apply("line", json!({"broker": broker, "artifacts": [{"reference": "wasm/add:1"}]})).await;
}

fn login(password: &str) -> Value {
    json!({"username": "worker", "password": password})
}

async fn a_secret_that_is_missing_is_named_and_used_once_it_is_there(mode: Mode) {
    let floor = guarded(mode).await;
    let _controller = floor.controller();
    apply(&floor).await;
    let status = floor.until_ready_is("line", "False", "SecretNotFound").await;
    let said = format!("Secret broker does not exist in namespace {}", floor.namespace);
    assert!(message(&status).starts_with(&said), "{}", message(&status));
    let conditions = [ConditionType::WorkerAvailable, ConditionType::BrokerConnected];
    let said = match mode {
        Mode::InProcess => [("False", "SecretNotFound"), ("Unknown", "WorkerUnavailable")],
        // It runs, and says itself what it lacks.
        Mode::Pods => [("True", "Succeeded"), ("False", "SecretNotFound")],
    };
    assert_eq!(conditions.map(|about| says(&status, about)), said.map(Some));

    floor.secret("broker", login("hunter2")).await;
    floor.until_ready("line").await;
}

#[tokio::test]
async fn a_secret_without_the_label_is_not_used_until_it_has_it() {
    let floor = guarded(Mode::InProcess).await;
    let _controller = floor.controller();
    floor.apply_secret("broker", login("hunter2"), json!({})).await;
    apply(&floor).await;
    let status = floor.until_ready_is("line", "False", "SecretNotLabelled").await;
    let namespace = &floor.namespace;
    let command = format!("kubectl label secret broker --namespace {namespace} wasmproxy.io/credentials=true");
    assert!(message(&status).ends_with(&command), "{}", message(&status));

    floor.secret("broker", login("hunter2")).await;
    floor.until_ready("line").await;
}

async fn a_secret_without_a_key_is_invalid_and_the_key_is_named(mode: Mode) {
    let floor = guarded(mode).await;
    let _controller = floor.controller();
    floor.secret("broker", json!({"username": "worker"})).await;
    apply(&floor).await;
    let status = floor.until_ready_is("line", "False", "SecretInvalid").await;
    assert!(message(&status).contains("lacks the key password"), "{}", message(&status));
}

async fn a_password_that_the_broker_refuses_is_said_and_read_again_once_it_is_corrected(mode: Mode) {
    let floor = guarded(mode).await;
    let _controller = floor.controller();
    floor.secret("broker", login("wrong-hunter3")).await;
    apply(&floor).await;
    floor.until_ready_is("line", "False", "BrokerUnauthorized").await;
    let resource = serde_json::to_string(&floor.get("line").await).unwrap();
    assert!(!resource.contains("hunter3"), "no password is ever said: {resource}");

    floor.secret("broker", login("hunter2")).await;
    floor.until_ready("line").await;
}

#[tokio::test]
async fn a_secret_that_has_changed_is_read_again_on_request() {
    let floor = guarded(Mode::InProcess).await;
    let _controller = floor.controller();
    floor.secret("broker", login("hunter2")).await;
    apply(&floor).await;
    floor.until_ready("line").await;

    floor.secret("broker", login("changed")).await;
    let annotations = json!({"metadata": {"annotations": {RECONCILE_ANNOTATION: "now"}}});
    let parameters = PatchParams::default();
    floor.resources().patch("line", &parameters, &Patch::Merge(annotations)).await.unwrap();
    floor.until_ready_is("line", "False", "BrokerUnauthorized").await;
}

#[tokio::test]
async fn a_worker_goes_on_with_the_secrets_that_it_has_when_they_are_gone() {
    let floor = guarded(Mode::InProcess).await;
    let _controller = floor.controller();
    floor.secret("broker", login("hunter2")).await;
    apply(&floor).await;
    floor.until_ready("line").await;

    let broker = json!({"url": floor.broker.url(), "secretRef": {"name": "other"}});
    floor.apply("line", json!({"broker": broker, "artifacts": [{"reference": "wasm/add:1"}]})).await;
    let status = floor.until_ready_is("line", "False", "SecretNotFound").await;
    assert_eq!(says(&status, ConditionType::WorkerAvailable), Some(("True", "Succeeded")));
    assert_eq!(says(&status, ConditionType::BrokerConnected), Some(("True", "Connected")));
}

async fn certificates_and_registry_credentials_come_from_secrets_too(mode: Mode) {
    let broker = BrokerConfig::default().user("worker", "hunter2").transport(Transport::MutualTls);
    let mut floor = Floor::with_in(mode, broker).await;
    floor.registry = RegistryConfig::default().user("puller", "s3cret").transport(Transport::Tls).start().await;
    floor.registry.push("wasm/add:1", module(CHUNK)).await;
    let pem = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let tls = floor.broker.tls();
    let identity = tls.identity.unwrap();
    let (certificate, key) = (pem(identity.certificate), pem(identity.key));
    let broker_tls = json!({"ca.crt": pem(tls.ca.unwrap()), "tls.crt": certificate, "tls.key": key});
    floor.secret("broker", login("hunter2")).await;
    floor.secret("broker-tls", broker_tls).await;
    floor.secret("registry", json!({"username": "puller", "password": "s3cret"})).await;
    floor.secret("registry-tls", json!({"ca.crt": pem(floor.registry.tls().ca.unwrap())})).await;

    let _controller = floor.controller();
    let references = |name: &str| (json!({"name": name}), json!({"name": format!("{name}-tls")}));
    let (secret, certificates) = references("broker");
    let broker = json!({"url": floor.broker.url(), "secretRef": secret, "certSecretRef": certificates});
    let (secret, certificates) = references("registry");
    let registry = json!({"host": floor.registry.host(), "secretRef": secret, "certSecretRef": certificates});
    let spec = json!({"broker": broker, "registry": registry, "artifacts": [{"reference": "wasm/add:1"}]});
    floor.apply("line", spec).await;
    floor.until_ready("line").await;
}

async fn a_password_that_the_registry_refuses_is_said_and_read_again_once_it_is_corrected(mode: Mode) {
    let mut floor = Floor::start_in(mode).await;
    floor.registry = RegistryConfig::default().user("puller", "s3cret").start().await;
    floor.registry.push("wasm/add:1", module(CHUNK)).await;
    let _controller = floor.controller();
    floor.secret("pull", json!({"username": "puller", "password": "wrong"})).await;
    let registry = json!({"host": floor.registry.host(), "insecure": true, "secretRef": {"name": "pull"}});
    floor.apply("line", json!({"registry": registry, "artifacts": [{"reference": "wasm/add:1"}]})).await;
    floor.until_ready_is("line", "False", "RegistryUnauthorized").await;

    floor.secret("pull", json!({"username": "puller", "password": "s3cret"})).await;
    floor.until_ready("line").await;
}

in_both_modes! {
    a_secret_that_is_missing_is_named_and_used_once_it_is_there,
    a_secret_without_a_key_is_invalid_and_the_key_is_named,
    a_password_that_the_broker_refuses_is_said_and_read_again_once_it_is_corrected,
    certificates_and_registry_credentials_come_from_secrets_too,
    a_password_that_the_registry_refuses_is_said_and_read_again_once_it_is_corrected,
}
