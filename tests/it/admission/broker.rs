//! `spec.broker`.

use serde_json::{Value, json};

use super::{accepted, refused};

fn broker(broker: Value) -> Value {
    json!({"spec": {"broker": broker}})
}

#[tokio::test]
async fn hosts_and_addresses_with_and_without_a_port_are_accepted() {
    for url in [
        "mqtt://broker",
        "mqtt://broker.example:1883",
        "mqtts://broker.example:65535",
        "mqtts://192.0.2.1",
        "mqtts://[2001:db8::1]",
        "mqtts://[2001:db8::1]:8883",
    ] {
        accepted(broker(json!({"url": url}))).await;
    }
}

#[tokio::test]
async fn a_url_of_another_scheme_is_refused() {
    for url in ["broker.example:1883", "tcp://broker.example", "http://broker.example", "MQTT://broker.example"] {
        refused(broker(json!({"url": url})), "broker.url must start with mqtt:// or mqtts://").await;
    }
}

#[tokio::test]
async fn websockets_are_refused_as_not_supported_yet() {
    for url in ["ws://broker.example", "wss://broker.example"] {
        refused(broker(json!({"url": url})), "broker.url: MQTT over WebSocket (ws://, wss://) is not supported yet")
            .await;
    }
}

#[tokio::test]
async fn credentials_in_the_url_are_refused() {
    refused(
        broker(json!({"url": "mqtts://user:password@broker.example"})),
        "broker.url must hold no user name or password: put them into the Secret that broker.secretRef names",
    )
    .await;
}

#[tokio::test]
async fn more_than_a_host_and_a_port_is_refused() {
    let sentence =
        "broker.url must end after the host or its port, as in mqtts://broker.example:8883: no path, query or fragment";
    for rest in
        ["", "broker.example/", "broker.example/mqtt", "broker.example?a=b", "broker.example#a", "broker:mqtt", "a b"]
    {
        refused(broker(json!({"url": format!("mqtts://{rest}")})), sentence).await;
    }
}

#[tokio::test]
async fn a_port_that_is_none_is_refused() {
    for port in ["0", "65536", "99999"] {
        let url = format!("mqtt://broker.example:{port}");
        refused(broker(json!({"url": url})), "broker.url: the port must be between 1 and 65535").await;
    }
}

#[tokio::test]
async fn certificates_without_tls_are_refused() {
    refused(
        broker(json!({"url": "mqtt://broker.example", "certSecretRef": {"name": "tls"}})),
        "broker.certSecretRef needs a TLS connection: use mqtts:// in broker.url, or remove it",
    )
    .await;
}

#[tokio::test]
async fn skipping_verification_without_tls_is_refused() {
    refused(
        broker(json!({"url": "mqtt://broker.example", "insecureSkipVerify": true})),
        "broker.insecureSkipVerify needs a TLS connection: use mqtts:// in broker.url, or remove it",
    )
    .await;
}

#[tokio::test]
async fn a_name_that_no_secret_can_have_is_refused() {
    let sentence =
        "name must be that of a Secret: lower-case letters, digits, - and ., with a letter or digit at either end";
    for name in ["", "Broker", "broker_1", "-broker", "broker.", "../broker"] {
        refused(broker(json!({"secretRef": {"name": name}})), sentence).await;
    }
}
