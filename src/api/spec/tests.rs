use std::time::Duration;

use serde_json::{Value, json};

use super::*;

/// The resource that the documentation shows.
const EXAMPLE: &str = include_str!("../../../tests/fixtures/factory-floor.yaml");

fn example() -> WasmProxySpec {
    serde_saphyr::from_str::<WasmProxy>(EXAMPLE).expect("the example is a WasmProxy").spec
}

fn least() -> Value {
    json!({
        "channel": {"id": "line-1"},
        "broker": {"url": "mqtt://broker.example"},
        "registry": {"host": "registry.example"},
    })
}

fn spec(json: Value) -> WasmProxySpec {
    serde_json::from_value(json).expect("a spec")
}

#[test]
fn the_example_reads_as_it_is_written() {
    let spec = example();
    assert_eq!(spec.channel.tenant.as_deref(), Some("acme"));
    assert_eq!(spec.broker.cert_secret_ref, Some(LocalObjectReference { name: "tls".into() }));
    assert_eq!(spec.artifacts.len(), 2);
    assert_eq!(spec.management(), Management::Managed);
    assert_eq!(spec.worker.expect("a worker").image_pull_secrets.expect("secrets")[0].name, "images");
}

#[test]
fn what_the_least_resource_leaves_out_is_what_the_example_spells_out() {
    let (least, example) = (spec(least()), example());
    assert_eq!(least.limits.cache_size_bytes(), example.limits.cache_size_bytes());
    assert_eq!(least.limits, LimitsSpec { cache_size: None, ..example.limits });
    assert_eq!((least.chunk_size, &least.pace, least.suspend), (CHUNK_SIZE_DEFAULT, &example.pace, false));
    assert_eq!((least.broker.protocol, least.broker.qos), (Protocol::Auto, 1));
    assert!(least.requests.enabled && !least.broker.insecure_skip_verify && !least.registry.insecure);
}

#[test]
fn sizes_and_paces_become_bytes() {
    let spec = example();
    assert_eq!(spec.pace_bytes(), Ok(50_000_000));
    assert_eq!(spec.limits.module_size_bytes(), Ok(1 << 30));
}

#[test]
fn a_tag_is_looked_at_every_five_minutes_unless_said_and_a_digest_never() {
    let artifact = |reference: &str, interval: Option<&str>| ArtifactSpec {
        reference: reference.into(),
        interval: interval.map(Into::into),
        plain: false,
    };
    assert_eq!(artifact("wasm/add:1", None).interval(), Ok(Some(Duration::from_secs(300))));
    assert_eq!(artifact("wasm/add:1", Some("1h")).interval(), Ok(Some(Duration::from_secs(3600))));
    assert_eq!(artifact("wasm/add@sha256:00", None).interval(), Ok(None));
    assert!(artifact("wasm/add:1", Some("1s")).interval().is_err());
}

#[test]
fn devices_may_ask_for_anything_under_the_registry_unless_said() {
    assert_eq!(spec(least()).allowed(), ["registry.example/**"]);
}

#[test]
fn devices_may_ask_for_nothing_where_requests_are_off() {
    let mut json = least();
    json["requests"] = json!({"enabled": false, "allow": ["**"]});
    assert!(spec(json).allowed().is_empty());
}

#[test]
fn patterns_without_a_host_are_under_the_registry() {
    let mut json = least();
    json["registry"]["host"] = json!("registry");
    json["requests"] =
        json!({"allow": ["wasm/**", "add:*", "**", "*/wasm/*", "registry/a", "ghcr.io/a", "localhost/a"]});
    assert_eq!(
        spec(json).allowed(),
        ["registry/wasm/**", "registry/add:*", "**", "*/wasm/*", "registry/a", "ghcr.io/a", "localhost/a"]
    );
}
