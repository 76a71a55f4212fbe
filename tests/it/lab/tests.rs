//! The lab is what it says.

use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, api::PostParams, runtime::wait::await_condition};
use oci_client::secrets::RegistryAuth;
use rumqttc_v4 as mqtt;
use serde_json::json;
use wasmproxy::tls::{TlsOptions, install_provider};

use super::{Broker, BrokerConfig, ControlPlane, Pki, Registry, RegistryConfig, Transport, User};

/// Whether the broker lets a client in; not how it refuses it.
async fn connects(broker: &Broker, user: Option<User>, tls: Option<TlsOptions>) -> bool {
    install_provider();
    let mut options = mqtt::MqttOptions::new("client", mqtt::Broker::tcp("127.0.0.1", broker.port()));
    if let Some((name, password)) = user {
        options.set_credentials(name, password);
    }
    if let Some(tls) = tls {
        options.set_transport(mqtt::Transport::tls_with_config(tls.client_config().unwrap().into()));
    }
    let (_client, mut events) = mqtt::AsyncClient::builder(options).build();
    // With TLS 1.3 a client learns that its certificate was refused only when it reads.
    matches!(events.poll().await, Ok(mqtt::Event::Incoming(mqtt::Packet::ConnAck(_))))
}

#[tokio::test]
async fn a_broker_lets_anybody_in_unless_told_otherwise() {
    let broker = Broker::start().await;
    assert_eq!(broker.url(), format!("mqtt://127.0.0.1:{}", broker.port()));
    assert!(connects(&broker, None, None).await);
}

#[tokio::test]
async fn a_broker_with_users_lets_nobody_else_in() {
    let broker = BrokerConfig::default().user("worker", "secret").user("device", "other").start().await;
    assert!(connects(&broker, Some(("worker", "secret")), None).await);
    assert!(connects(&broker, Some(("device", "other")), None).await);
    assert!(!connects(&broker, Some(("worker", "other")), None).await);
    assert!(!connects(&broker, None, None).await);
}

#[tokio::test]
async fn a_broker_behind_tls_is_trusted_by_those_who_know_its_authority() {
    let broker = BrokerConfig::default().transport(Transport::Tls).start().await;
    let stranger = TlsOptions { ca: Some(Pki::new().ca()), ..TlsOptions::default() };
    assert!(connects(&broker, None, Some(broker.tls())).await);
    assert!(!connects(&broker, None, Some(stranger)).await);
}

#[tokio::test]
async fn a_broker_with_mutual_tls_wants_a_certificate_of_its_own_authority() {
    let broker = BrokerConfig::default().transport(Transport::MutualTls).start().await;
    let nameless = TlsOptions { identity: None, ..broker.tls() };
    let stranger = TlsOptions { identity: Some(Pki::new().issue("client", "DNS:client")), ..broker.tls() };
    assert!(connects(&broker, None, Some(broker.tls())).await);
    assert!(!connects(&broker, None, Some(nameless)).await);
    assert!(!connects(&broker, None, Some(stranger)).await);
}

#[tokio::test]
async fn a_broker_that_was_killed_comes_back_on_its_port_with_another_password() {
    let mut broker = BrokerConfig::default().user("worker", "old").line("max_packet_size 1000000").start().await;
    let (port, url) = (broker.port(), broker.url());
    broker.kill();
    broker.start_again_as(BrokerConfig::default().user("worker", "new")).await;
    assert_eq!((broker.port(), broker.url()), (port, url));
    assert!(connects(&broker, Some(("worker", "new")), None).await);
    assert!(!connects(&broker, Some(("worker", "old")), None).await);
}

#[tokio::test]
async fn a_registry_gives_what_was_pushed_to_those_who_may_pull() {
    let registry = RegistryConfig::default().user("worker", "secret").transport(Transport::Tls).start().await;
    let digest = registry.push("wasm/add:1", &b"\0asm\x01\0\0\0"[..]).await;
    let reference = registry.reference("wasm/add:1");
    let (manifest, _) = registry.client().pull_image_manifest(&reference, &registry.auth()).await.unwrap();
    assert_eq!(manifest.layers[0].digest, digest.to_string());
    assert!(registry.client().pull_image_manifest(&reference, &RegistryAuth::Anonymous).await.is_err());
    assert!(registry.tls().client_config().is_ok());
}

#[tokio::test]
async fn a_registry_that_comes_back_still_has_what_was_pushed() {
    let mut registry = Registry::start().await;
    registry.push("wasm/add:1", &b"\0asm\x01\0\0\0"[..]).await;
    registry.stop();
    registry.start_again().await;
    let reference = registry.reference("wasm/add:1");
    registry.client().pull_image_manifest(&reference, &registry.auth()).await.unwrap();
    assert!(registry.server().log().contains("GET /v2/wasm/add/manifests/1"));
}

#[tokio::test]
async fn the_control_plane_runs_the_controllers_of_kubernetes() {
    let control_plane = ControlPlane::shared().await;
    let namespace = control_plane.namespace("lab").await;
    let deployments: Api<Deployment> = Api::namespaced(control_plane.client().await, &namespace);
    let labels = json!({"app": "pause"});
    let deployment = json!({
        "metadata": {"name": "pause"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "pause", "image": "pause"}]}},
        },
    });
    let deployment = serde_json::from_value(deployment).unwrap();
    deployments.create(&PostParams::default(), &deployment).await.unwrap();
    let has_a_pod =
        |deployment: Option<&Deployment>| deployment.and_then(|d| d.status.as_ref()?.unavailable_replicas) == Some(1);
    await_condition(deployments, "pause", has_a_pod).await.unwrap();
}
