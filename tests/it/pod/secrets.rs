//! Mounted Secrets: missing, wrong, replaced, and never shown to anybody else.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::{io::AsyncReadExt as _, net::TcpListener, sync::watch, task::JoinHandle};
use wasmproxy::{api::conditions::ConditionType, tls::Identity};

use super::floor::{NAME, Site, artifacts};
use crate::{
    controller::floor::{CHUNK, says},
    lab::{BrokerConfig, Pki, RegistryConfig, Transport},
    modules::module,
    waiting::soon,
};

fn login(password: &str) -> Value {
    json!({"username": "worker", "password": password})
}

fn guarded() -> BrokerConfig {
    BrokerConfig::default().user("worker", "hunter2")
}

/// A spec that names the Secret `broker`, and these artifacts.
fn naming_a_secret(site: &Site, references: &[&str]) -> Value {
    let mut spec = artifacts(references);
    spec["broker"] = json!({"url": site.broker.url(), "secretRef": {"name": "broker"}});
    spec
}

#[tokio::test]
async fn a_secret_that_is_missing_is_named_and_used_once_it_is_there() {
    let site = Site::with(guarded()).await;
    site.registry.push("wasm/add:1", module(CHUNK)).await;
    let worker = site.worker().await;
    site.apply(NAME, naming_a_secret(&site, &["wasm/add:1"])).await;
    let message = site.until_says(ConditionType::BrokerConnected, "Unknown", "Starting").await;
    assert!(message.starts_with("Secret broker is not mounted at "), "{message}");
    worker.until_ready().await;

    site.mount("broker", json!({}));
    let message = site.until_says(ConditionType::BrokerConnected, "False", "SecretNotFound").await;
    let expected = format!("Secret broker does not exist in namespace {}: create it with", site.namespace);
    assert!(message.starts_with(&expected), "{message}");
    let status = site.get(NAME).await.status.unwrap();
    assert_eq!(says(&status, ConditionType::ArtifactsPublished), Some(("Unknown", "Progressing")));
    assert_eq!(status.published.as_deref(), Some("0/1"));

    site.mount("broker", json!({"username": "worker"}));
    let message = site.until_says(ConditionType::BrokerConnected, "False", "SecretInvalid").await;
    assert!(message.contains("lacks the key password"), "{message}");

    site.mount("broker", login("hunter2"));
    site.until_published().await;
}

#[tokio::test]
async fn another_password_is_in_use_without_a_restart() {
    let mut site = Site::with(guarded()).await;
    site.registry.push("wasm/add:1", module(CHUNK)).await;
    site.mount("broker", login("hunter2"));
    let _worker = site.worker().await;
    site.apply(NAME, naming_a_secret(&site, &["wasm/add:1"])).await;
    site.until_published().await;

    site.mount("broker", login("hunter3"));
    site.broker.start_again_as(BrokerConfig::default().user("worker", "hunter3")).await;
    site.until_connected(1).await;
    site.apply(NAME, naming_a_secret(&site, &[])).await;
    site.until_published().await;
}

#[tokio::test]
async fn another_certificate_is_in_use_without_a_restart() {
    let site = Site::with(BrokerConfig::default().transport(Transport::MutualTls)).await;
    site.registry.push("wasm/add:1", module(CHUNK)).await;
    let tls = site.broker.tls();
    let (ca, right) = (tls.ca.unwrap(), tls.identity.unwrap());
    let wrong = Pki::new().issue("worker", "DNS:worker");
    let text = |pem: &[u8]| String::from_utf8(pem.to_vec()).unwrap();
    let keys = |identity: &Identity| json!({"ca.crt": text(&ca), "tls.crt": text(&identity.certificate), "tls.key": text(&identity.key)});
    site.mount("broker-tls", keys(&wrong));
    let _worker = site.worker().await;
    let mut spec = artifacts(&["wasm/add:1"]);
    spec["broker"] = json!({"url": site.broker.url(), "certSecretRef": {"name": "broker-tls"}});
    site.apply(NAME, spec).await;
    site.until(NAME, |status| says(status, ConditionType::BrokerConnected).is_some_and(|(is, _)| is == "False")).await;

    site.mount("broker-tls", keys(&right));
    site.until_published().await;

    // Half of one and half of the other is no pair; the worker goes on with what it has.
    let mixed = Identity { certificate: wrong.certificate.clone(), key: right.key.clone() };
    site.mount("broker-tls", keys(&mixed));
    let message = site.until_says(ConditionType::BrokerConnected, "False", "SecretInvalid").await;
    assert!(message.contains("do not work together") && message.contains("goes on with what it held"), "{message}");
    assert!(site.get(NAME).await.status.unwrap().broker.is_some());
    site.mount("broker-tls", keys(&right));
    site.until_published().await;
}

#[tokio::test]
async fn a_worker_goes_on_with_the_secrets_that_it_has_when_they_are_gone() {
    let site = Site::with(guarded()).await;
    site.registry.push("wasm/add:1", module(CHUNK)).await;
    site.mount("broker", login("hunter2"));
    let _worker = site.worker().await;
    site.apply(NAME, naming_a_secret(&site, &[])).await;
    site.until_published().await;

    site.mount("broker", json!({}));
    site.until_says(ConditionType::BrokerConnected, "False", "SecretNotFound").await;
    site.apply(NAME, naming_a_secret(&site, &["wasm/add:1"])).await;
    let status = site.until_out(1).await;
    assert_eq!(says(&status, ConditionType::BrokerConnected), Some(("False", "SecretNotFound")));
    site.mount("broker", login("hunter2"));
    site.until_published().await;
}

#[tokio::test]
async fn a_registrys_secret_is_said_of_the_registry() {
    let mut site = Site::start().await;
    site.registry = RegistryConfig::default().user("puller", "s3cret").start().await;
    site.registry.push("wasm/add:1", module(CHUNK)).await;
    let mut spec = artifacts(&["wasm/add:1"]);
    spec["registry"] = json!({"host": site.registry.host(), "insecure": true, "secretRef": {"name": "pull"}});
    site.mount("pull", json!({}));
    let _worker = site.worker().await;
    site.apply(NAME, spec).await;
    let message = site.until_says(ConditionType::RegistryReady, "False", "SecretNotFound").await;
    assert!(message.contains("Secret pull") && message.contains(".dockerconfigjson"), "{message}");
    let status = site.get(NAME).await.status.unwrap();
    assert_eq!(says(&status, ConditionType::BrokerConnected), Some(("Unknown", "WorkerUnavailable")));

    site.mount("pull", json!({"username": "puller", "password": "s3cret"}));
    site.until_published().await;
}

/// Hears what clients begin with, and answers nobody.
struct Recorder {
    url: String,
    heard: watch::Receiver<Vec<u8>>,
    _task: JoinHandle<()>,
}

impl Recorder {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("mqtt://{}", listener.local_addr().unwrap());
        let (sender, heard) = watch::channel(Vec::new());
        let open = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut bytes = [0; 1024];
                let read = client.read(&mut bytes).await.unwrap_or_default();
                sender.send_modify(|heard| heard.extend(&bytes[..read]));
                open.lock().unwrap().push(client);
            }
        });
        Self { url, heard, _task: task }
    }

    fn has_heard(&self, text: &str) -> bool {
        contains(&self.heard.borrow(), text)
    }

    async fn until_it_hears(&self, text: &str) {
        let mut heard = self.heard.clone();
        soon(text, heard.wait_for(|heard| contains(heard, text))).await.unwrap();
    }
}

fn contains(heard: &[u8], text: &str) -> bool {
    heard.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn another_broker_never_sees_the_credentials_of_the_one_before() {
    let site = Site::with(guarded()).await;
    let recorder = Recorder::start().await;
    site.mount("broker", login("hunter2"));
    let _worker = site.worker().await;
    site.apply(NAME, naming_a_secret(&site, &[])).await;
    site.until_published().await;

    // The Pod does not have the new Secret yet: neither the new broker nor the old one is of any use.
    let other = json!({"broker": {"url": recorder.url, "secretRef": {"name": "other"}}});
    site.apply(NAME, other.clone()).await;
    site.until_says(ConditionType::BrokerConnected, "Unknown", "Starting").await;
    site.until_disconnected(1).await;
    assert_eq!(recorder.heard.borrow().len(), 0, "it was not even spoken to");

    site.mount("other", login("a-secret-of-its-own"));
    recorder.until_it_hears("a-secret-of-its-own").await;
    assert!(!recorder.has_heard("hunter2"));
}
