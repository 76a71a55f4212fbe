//! Lengths, ranges and words, for which Kubernetes has sentences of its own.

use serde_json::{Value, json};

use super::offer;

/// Some validation of `field` says `sentence`.
async fn refused(spec: Value, field: &str, sentence: &str) {
    let Err(status) = offer(json!({"spec": spec})).await else { panic!("accepted: {spec}") };
    let causes = status.details.map(|details| details.causes).unwrap_or_default();
    let said = causes.iter().any(|cause| cause.field == field && cause.message.contains(sentence));
    assert!(said, "expected {field}: {sentence}\nsaid: {causes:#?}");
}

#[tokio::test]
async fn the_three_ends_are_required() {
    for end in ["channel", "broker", "registry"] {
        refused(json!({end: null}), &format!("spec.{end}"), "Required value").await;
    }
}

#[tokio::test]
async fn a_protocol_that_is_no_version_of_mqtt() {
    refused(
        json!({"broker": {"protocol": "5"}}),
        "spec.broker.protocol",
        r#"supported values: "Auto", "MQTT311", "MQTT5""#,
    )
    .await;
}

#[tokio::test]
async fn a_quality_of_service_beyond_2() {
    refused(json!({"broker": {"qos": 3}}), "spec.broker.qos", "should be less than or equal to 2").await;
    refused(json!({"broker": {"qos": -1}}), "spec.broker.qos", "should be greater than or equal to 0").await;
}

#[tokio::test]
async fn chunks_that_are_too_small_or_too_large() {
    refused(json!({"chunkSize": 1023}), "spec.chunkSize", "should be greater than or equal to 1024").await;
    refused(json!({"chunkSize": 16_777_217}), "spec.chunkSize", "should be less than or equal to 16777216").await;
}

#[tokio::test]
async fn queues_that_are_too_short_or_too_long() {
    refused(json!({"limits": {"queue": 0}}), "spec.limits.queue", "should be greater than or equal to 1").await;
    refused(json!({"limits": {"queue": 65_537}}), "spec.limits.queue", "should be less than or equal to 65536").await;
}

#[tokio::test]
async fn more_than_64_artifacts() {
    let artifacts: Vec<_> = (0..65).map(|n| json!({"reference": format!("wasm/a{n}")})).collect();
    refused(json!({"artifacts": artifacts}), "spec.artifacts", "must have at most 64 items").await;
}

#[tokio::test]
async fn an_artifact_that_is_listed_twice() {
    let twice = json!([{"reference": "wasm/add"}, {"reference": "wasm/add", "plain": true}]);
    refused(json!({"artifacts": twice}), "spec.artifacts[1]", "Duplicate value").await;
}

#[tokio::test]
async fn a_reference_over_512_characters() {
    let reference = "a".repeat(513);
    refused(json!({"artifacts": [{"reference": reference}]}), "spec.artifacts[0].reference", "than 512").await;
}

#[tokio::test]
async fn no_pattern_or_more_than_64() {
    refused(json!({"requests": {"allow": []}}), "spec.requests.allow", "should have at least 1 items").await;
    let patterns: Vec<_> = (0..65).map(|n| format!("wasm/a{n}")).collect();
    refused(json!({"requests": {"allow": patterns}}), "spec.requests.allow", "must have at most 64 items").await;
}

#[tokio::test]
async fn an_identifier_over_64_characters() {
    refused(json!({"channel": {"id": "i".repeat(65)}}), "spec.channel.id", "than 64").await;
    refused(json!({"channel": {"tenant": "t".repeat(65)}}), "spec.channel.tenant", "than 64").await;
}

#[tokio::test]
async fn a_topic_prefix_that_is_empty_or_over_102_characters() {
    refused(json!({"channel": {"topicPrefix": ""}}), "spec.channel.topicPrefix", "at least 1 chars").await;
    refused(json!({"channel": {"topicPrefix": "p".repeat(103)}}), "spec.channel.topicPrefix", "than 102").await;
}
