//! Several resources that mean the same channel.

use serde_json::{Value, json};
use wasmproxy::api::conditions::ConditionType;

use super::floor::{CHUNK, Floor, Mode, message, says};
use crate::modules::module;

in_both_modes!(
    the_younger_of_two_says_which_is_the_older_and_sends_nothing,
    the_younger_gets_the_channel_when_the_older_is_suspended_and_loses_it_when_that_goes_on,
    the_younger_gets_the_channel_when_the_older_goes,
    each_gets_a_channel_when_one_of_them_moves_to_another,
    a_channel_in_another_spelling_is_the_same,
);

/// A resource on the channel `shared`.
fn shared(more: Value) -> Value {
    let mut spec = json!({"channel": {"id": "shared"}, "artifacts": [{"reference": "wasm/add:1"}]});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

/// Two on the same channel, the first of which is older by its name at least.
async fn two(floor: &Floor) {
    floor.registry.push("wasm/add:1", module(3 * CHUNK)).await;
    floor.apply("a", shared(json!({}))).await;
    floor.apply("b", shared(json!({}))).await;
}

async fn the_younger_of_two_says_which_is_the_older_and_sends_nothing(mode: Mode) {
    let floor = Floor::start(mode).await;
    let mut listener = floor.listen("shared").await;
    two(&floor).await;
    let _controller = floor.controller();
    floor.until_ready("a").await;
    let status = floor.until_ready_is("b", "False", "ChannelConflict").await;
    let said = format!("{}/a has this channel", floor.namespace);
    assert!(message(&status).starts_with(&said), "{}", message(&status));
    assert_eq!(says(&status, ConditionType::Stalled), Some(("True", "ChannelConflict")));
    assert_eq!(says(&status, ConditionType::WorkerAvailable), Some(("False", "ChannelConflict")));
    assert_eq!(listener.chunks().await, 3);
}

async fn the_younger_gets_the_channel_when_the_older_is_suspended_and_loses_it_when_that_goes_on(mode: Mode) {
    let floor = Floor::start(mode).await;
    two(&floor).await;
    let controller = floor.controller();
    floor.until_ready_is("b", "False", "ChannelConflict").await;

    floor.apply("a", shared(json!({"suspend": true}))).await;
    let status = floor.until_ready("b").await;
    assert_eq!(says(&status, ConditionType::Stalled), None);

    floor.apply("a", shared(json!({}))).await;
    floor.until_ready_is("b", "False", "ChannelConflict").await;
    floor.until_ready("a").await;

    // Another controller sees it no other way.
    controller.stop().await;
    let before = floor.get("b").await.metadata.resource_version;
    let _controller = floor.controller();
    floor.apply("c", shared(json!({}))).await;
    floor.until_ready_is("c", "False", "ChannelConflict").await;
    assert_eq!(floor.get("b").await.metadata.resource_version, before);
}

async fn the_younger_gets_the_channel_when_the_older_goes(mode: Mode) {
    let floor = Floor::start(mode).await;
    two(&floor).await;
    let _controller = floor.controller();
    floor.until_ready_is("b", "False", "ChannelConflict").await;
    floor.delete("a").await;
    floor.until_ready("b").await;
}

async fn each_gets_a_channel_when_one_of_them_moves_to_another(mode: Mode) {
    let floor = Floor::start(mode).await;
    two(&floor).await;
    let _controller = floor.controller();
    floor.until_ready_is("b", "False", "ChannelConflict").await;
    floor.apply("a", shared(json!({"channel": {"id": "other"}}))).await;
    floor.until_ready("b").await;
    floor.until_ready("a").await;

    // And back again: the older wins, though the younger has a worker there.
    floor.apply("a", shared(json!({}))).await;
    floor.until_ready_is("b", "False", "ChannelConflict").await;
    floor.until_ready("a").await;
}

async fn a_channel_in_another_spelling_is_the_same(mode: Mode) {
    let floor = Floor::start(mode).await;
    floor.registry.push("wasm/add:1", module(CHUNK)).await;
    floor.apply("a", shared(json!({}))).await;
    let outright = json!({"id": "b", "topicPrefix": "channels/shared/messages"});
    floor.apply("b", shared(json!({"channel": outright}))).await;
    let _controller = floor.controller();
    floor.until_ready("a").await;
    floor.until_ready_is("b", "False", "ChannelConflict").await;
}
