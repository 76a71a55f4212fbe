//! `spec.registry` and `spec.requests`.

use serde_json::{Value, json};

use super::{accepted, refused};

fn registry(registry: Value) -> Value {
    json!({"spec": {"registry": registry}})
}

#[tokio::test]
async fn hosts_with_and_without_a_port_are_accepted() {
    for host in ["registry", "registry.example", "registry.example:5000", "192.0.2.1:443", "localhost:5000"] {
        accepted(registry(json!({"host": host}))).await;
    }
}

#[tokio::test]
async fn more_than_a_host_and_a_port_is_refused() {
    let sentence = "registry.host must be a host or host:port, as in registry.example:5000, without scheme or path";
    for host in
        ["", "https://registry.example", "registry.example/wasm", "user@registry.example", "registry.example:", "-a"]
    {
        refused(registry(json!({"host": host})), sentence).await;
    }
}

#[tokio::test]
async fn a_port_that_is_none_is_refused() {
    for host in ["registry.example:0", "registry.example:65536"] {
        refused(registry(json!({"host": host})), "registry.host: the port must be between 1 and 65535").await;
    }
}

#[tokio::test]
async fn certificates_for_plain_http_are_refused() {
    refused(
        registry(json!({"insecure": true, "certSecretRef": {"name": "tls"}})),
        "registry.insecure means plain HTTP, which uses no certificates: remove it or registry.certSecretRef",
    )
    .await;
}

#[tokio::test]
async fn patterns_with_and_without_a_host_are_accepted() {
    accepted(json!({"spec": {"requests": {"allow": ["**", "wasm/*:1", "registry.example:5000/wasm/**"]}}})).await;
}

#[tokio::test]
async fn a_pattern_that_no_reference_can_match_is_refused() {
    for pattern in ["", "wasm/[ab]", "wasm/a b", "wasm/{a,b}"] {
        refused(
            json!({"spec": {"requests": {"allow": ["wasm/**", pattern]}}}),
            "requests.allow holds references in which * and ** are wildcards, as in registry.example/wasm/**",
        )
        .await;
    }
}
