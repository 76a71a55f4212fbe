use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{mqtt, registry, resource::fixtures::resource, tls::Identity};

fn config(spec: &Value) -> WorkerConfig {
    worker_config(&resource(spec), Credentials::default()).unwrap()
}

fn refusal(spec: &Value) -> String {
    worker_config(&resource(spec), Credentials::default()).unwrap_err().to_string()
}

#[test]
fn a_resource_with_nothing_but_what_is_required_has_the_documented_defaults() {
    let config = config(&json!({}));
    assert_eq!(config.generation, 3);
    assert_eq!(config.broker.url.to_string(), "mqtt://broker.example:1883");
    assert_eq!((config.broker.version, config.broker.qos), (VersionPreference::Auto, Qos::AtLeastOnce));
    assert_eq!(config.registry.host, "registry.example");
    assert_eq!((config.registry.plain_http, config.registry.max_module_size), (false, 1 << 30));
    assert_eq!(config.prefix.as_str(), "channels/floor-1/messages");
    assert_eq!(config.requests.unwrap().patterns(), ["registry.example/**"]);
    assert_eq!((config.chunk_size.get(), config.pace, config.queue), (512_000, Some(50_000_000), 1024));
}

#[test]
fn every_field_reaches_the_worker() {
    let config = config(&json!({
        "channel": {"id": "floor-1", "tenant": "acme"},
        "broker": {"url": "mqtts://broker.example", "protocol": "MQTT311", "qos": 2, "insecureSkipVerify": true},
        "registry": {"host": "registry.example:5000", "insecure": true},
        "requests": {"enabled": true, "allow": ["wasm/**"]},
        "limits": {"moduleSize": "2Mi", "queue": 7},
        "chunkSize": 4096,
        "pace": "1M",
    }));
    assert_eq!(config.prefix.as_str(), "m/acme/c/floor-1");
    assert_eq!(config.broker.url.to_string(), "mqtts://broker.example:8883");
    assert_eq!((config.broker.version, config.broker.qos), (VersionPreference::V311, Qos::ExactlyOnce));
    assert!(config.broker.tls.insecure_skip_verify && !config.registry.tls.insecure_skip_verify);
    assert_eq!((config.registry.plain_http, config.registry.max_module_size), (true, 2 << 20));
    assert_eq!(config.requests.unwrap().patterns(), ["registry.example:5000/wasm/**"]);
    assert_eq!((config.chunk_size.get(), config.pace, config.queue), (4096, Some(1_000_000), 7));
}

#[test]
fn a_topic_prefix_is_taken_as_it_is() {
    assert_eq!(config(&json!({"channel": {"id": "x", "topicPrefix": "plant/7"}})).prefix.as_str(), "plant/7");
}

#[test]
fn artifacts_keep_their_name_and_get_their_host() {
    let artifacts = config(&json!({"artifacts": [
        {"reference": "wasm/add:1.2", "interval": "90s", "plain": true},
        {"reference": "other.example/sub"},
    ]}))
    .artifacts;
    assert_eq!((artifacts[0].app_name.as_str(), artifacts[0].plain), ("wasm/add:1.2", true));
    assert_eq!(artifacts[0].reference.to_string(), "registry.example/wasm/add:1.2");
    assert_eq!(artifacts[0].interval, Duration::from_secs(90));
    assert_eq!(artifacts[1].reference.to_string(), "other.example/sub:latest");
    assert_eq!(artifacts[1].interval, INTERVAL_DEFAULT);
}

#[test]
fn devices_that_are_not_answered_may_ask_for_nothing() {
    let config = config(&json!({"requests": {"enabled": false}, "artifacts": [{"reference": "a"}]}));
    assert_eq!(config.requests, None);
}

#[test]
fn credentials_reach_the_side_that_they_are_for() {
    let certificates = |ca: &str| Certificates {
        ca: Some(ca.into()),
        identity: Some(Identity { certificate: ca.into(), key: b"key".to_vec() }),
    };
    let credentials = Credentials {
        broker: Some(mqtt::Credentials { username: "user".into(), password: Some("password".into()) }),
        broker_certificates: certificates("broker"),
        registry: registry::Credentials::Token("token".into()),
        registry_certificates: certificates("registry"),
    };
    let config = worker_config(&resource(&json!({})), credentials.clone()).unwrap();
    assert_eq!(config.broker.credentials, credentials.broker);
    assert_eq!(config.broker.tls.ca.as_deref(), Some(b"broker".as_slice()));
    assert!(config.broker.tls.identity == credentials.broker_certificates.identity);
    assert!(!config.broker.tls.system_roots_too, "a private broker's authority speaks for it alone");
    assert_eq!(config.registry.credentials, credentials.registry);
    assert_eq!(config.registry.tls.ca.as_deref(), Some(b"registry".as_slice()));
    assert!(config.registry.tls.system_roots_too, "blob stores have certificates of others");
}

#[test]
fn what_cannot_be_used_names_its_field() {
    for (spec, named) in [
        (json!({"channel": {"id": "+"}}), "spec.channel"),
        (json!({"broker": {"url": "ws://broker.example"}}), "spec.broker.url"),
        (json!({"broker": {"url": "mqtt://broker.example", "qos": 3}}), "spec.broker.qos"),
        (json!({"artifacts": [{"reference": "Wasm/Add"}]}), "spec.artifacts: \"Wasm/Add\""),
        (json!({"artifacts": [{"reference": "a", "interval": "1s"}]}), "spec.artifacts: the interval `1s`"),
        (json!({"requests": {"allow": ["a["]}}), "spec.requests.allow"),
        (json!({"chunkSize": 1}), "spec.chunkSize"),
        (json!({"pace": "fast"}), "spec.pace: `fast`"),
        (json!({"limits": {"moduleSize": "1Pi"}}), "spec.limits.moduleSize: `1Pi`"),
    ] {
        let refusal = refusal(&spec);
        assert!(refusal.starts_with(named), "{refusal}");
    }
}

#[test]
fn one_artifact_in_two_spellings_is_refused() {
    let refusal = refusal(&json!({"artifacts": [{"reference": "add"}, {"reference": "registry.example/add:latest"}]}));
    assert!(refusal.contains("\"add\" and \"registry.example/add:latest\" mean the same"), "{refusal}");
}

#[test]
fn the_client_id_is_stable_and_of_a_known_value() {
    // `printf '11f0\nchannels/floor-1/messages' | sha256sum | xxd -r -p | base32`
    assert_eq!(config(&json!({})).broker.client_id, "wpi7fclwr34dmkbcbny57v");
}

#[test]
fn the_client_id_is_another_for_another_channel() {
    let id = |channel: &str| config(&json!({"channel": {"id": channel}})).broker.client_id;
    assert_ne!(id("a"), id("b"));
}

proptest! {
    #[test]
    fn every_client_id_is_one_that_all_brokers_take(uid in ".{0,64}", channel in "[a-z]{1,64}") {
        let id = client_id(&uid, &TopicPrefix::of_channel(&channel).unwrap());
        prop_assert!(id.len() == 22 && id.starts_with("wp") && id.chars().all(|c| c.is_ascii_alphanumeric()));
    }
}
