//! `spec.channel`.

use serde_json::{Value, json};

use super::{accepted, refused};

fn channel(channel: Value) -> Value {
    json!({"spec": {"channel": channel}})
}

#[tokio::test]
async fn a_uuid_and_a_tenant_are_accepted() {
    let uuid = "9b1c7a4e-5d0f-4a3b-8e26-2f6c1d7b9a10";
    accepted(channel(json!({"id": uuid, "tenant": uuid}))).await;
}

#[tokio::test]
async fn an_identifier_that_spans_topic_levels_is_refused() {
    let sentence = "channel.id must be 1 to 64 characters, each a letter, a digit, or one of _ . : -";
    for id in ["", "a/b", "a+", "#", "ä"] {
        refused(channel(json!({"id": id})), sentence).await;
    }
}

#[tokio::test]
async fn a_tenant_that_spans_topic_levels_is_refused() {
    let sentence = "channel.tenant must be 1 to 64 characters, each a letter, a digit, or one of _ . : -";
    for tenant in ["", "a/b", "a+", "#", "ä"] {
        refused(channel(json!({"tenant": tenant})), sentence).await;
    }
}

#[tokio::test]
async fn a_tenant_beside_a_topic_prefix_is_refused() {
    refused(
        channel(json!({"tenant": "acme", "topicPrefix": "plant/7"})),
        "channel.topicPrefix replaces the topics that channel.tenant would give: set one of the two",
    )
    .await;
}

#[tokio::test]
async fn a_tenant_and_an_identifier_that_fill_the_topic_are_accepted() {
    accepted(channel(json!({"id": "i".repeat(64), "tenant": "t".repeat(33)}))).await;
}

#[tokio::test]
async fn a_tenant_and_an_identifier_that_overflow_the_topic_are_refused() {
    refused(
        channel(json!({"id": "i".repeat(64), "tenant": "t".repeat(34)})),
        "channel.tenant and channel.id must be at most 97 characters together: small devices hold topics of 127 bytes",
    )
    .await;
}

#[tokio::test]
async fn topic_prefixes_of_any_shape_that_topics_have_are_accepted() {
    for prefix in ["plant", "plant/7/line 3", "halle/süd", &"p".repeat(102)] {
        accepted(channel(json!({"topicPrefix": prefix}))).await;
    }
}

#[tokio::test]
async fn a_topic_prefix_is_measured_in_bytes() {
    refused(
        channel(json!({"topicPrefix": "ü".repeat(52)})),
        "channel.topicPrefix must be at most 102 bytes: small devices hold topics of 127 bytes",
    )
    .await;
}

#[tokio::test]
async fn a_topic_prefix_with_wildcards_or_control_characters_is_refused() {
    let sentence =
        "channel.topicPrefix must hold neither + nor # nor control characters: it is part of a topic, not a filter";
    for prefix in ["plant/+", "plant/#", "plant\u{0}7", "plant\n7"] {
        refused(channel(json!({"topicPrefix": prefix})), sentence).await;
    }
}

#[tokio::test]
async fn a_topic_prefix_with_a_reserved_or_an_empty_level_at_its_ends_is_refused() {
    for prefix in ["$SYS/plant", "/plant", "plant/"] {
        refused(
            channel(json!({"topicPrefix": prefix})),
            "channel.topicPrefix must not start with $ or /, nor end with /",
        )
        .await;
    }
}
