//! How a worker ends, and what it leaves behind.

use tokio::sync::watch;
use wasmproxy::{
    mqtt::{Publish, Qos, SessionEnd},
    worker::{Phase, Progress, Worker},
};

use super::channel::{CHUNK, Channel, until, until_listening};
use crate::modules::module;

#[tokio::test]
async fn a_request_made_while_the_worker_is_away_is_answered_when_it_is_back() {
    let channel = Channel::start().await;
    channel.registry.push("wasm/add:1", module(CHUNK)).await;
    let worker = channel.worker();
    until_listening(&worker).await;
    worker.stop(SessionEnd::Keep).await;
    let mut listener = channel.listen().await;
    listener.ask(r#"{"app_name": "wasm/add:1", "device": "d"}"#).await;
    let _worker = channel.worker();
    assert_eq!(listener.hear_a_pass().await.0.len(), 1);
}

#[tokio::test]
async fn a_session_that_was_ended_keeps_nothing() {
    let channel = Channel::start().await;
    for name in ["wasm/add:1", "wasm/add:2"] {
        channel.registry.push(name, module(CHUNK)).await;
    }
    let worker = channel.worker();
    until_listening(&worker).await;
    worker.stop(SessionEnd::Discard).await;
    let mut listener = channel.listen().await;
    listener.ask(r#"{"app_name": "wasm/add:1", "device": "d"}"#).await;
    let worker = channel.worker();
    until_listening(&worker).await;
    listener.ask(r#"{"app_name": "wasm/add:2", "device": "d"}"#).await;
    assert_eq!(listener.hear_a_pass().await.1.app_name, "wasm/add:2");
}

#[tokio::test]
async fn a_worker_that_is_stopped_during_a_pass_waits_for_its_chunks_and_begins_anew_later() {
    let mut channel = Channel::start().await;
    channel.registry.push("wasm/add:1", module(CHUNK * 600)).await;
    channel.declare("wasm/add:1");
    // After its first 500 chunks the pass would take for ever.
    channel.config.pace = Some(1);
    let mut listener = channel.listen().await;
    let worker = channel.worker();
    let progress = worker.progress();
    until(&worker, &channel.reference("wasm/add:1"), |artifact| artifact.published > 10).await;
    worker.stop(SessionEnd::Keep).await;
    let memory: Progress = progress.borrow().clone();
    let artifact = memory.artifacts.values().next().unwrap();
    assert_eq!((artifact.phase, artifact.failure.clone()), (Phase::Pending, None));
    assert_eq!(listener.rest().await, artifact.published as usize, "each chunk that was sent is counted");

    channel.config.pace = None;
    let _worker = Worker::start(channel.config.clone(), memory);
    assert_eq!(listener.hear_a_pass().await.0.len(), 600);
}

#[tokio::test]
async fn what_devices_asked_for_outlives_a_configuration_that_cannot_be_opened() {
    let mut channel = Channel::start().await;
    channel.registry.push("wasm/add:1", module(CHUNK * 600)).await;
    channel.config.pace = Some(1);
    let mut listener = channel.listen().await;
    let worker = channel.worker();
    until_listening(&worker).await;
    listener.ask(r#"{"app_name": "wasm/add:1", "device": "d"}"#).await;
    until(&worker, &channel.reference("wasm/add:1"), |artifact| artifact.published > 10).await;
    let mut unusable = channel.config.clone();
    unusable.generation = 2;
    unusable.registry.host = "no host".to_owned();
    worker.reconfigure(unusable);
    worker.progress().wait_for(|progress| progress.generation == 2).await.unwrap();
    let _ = listener.rest().await;
    channel.config.pace = None;
    worker.reconfigure(channel.config.clone());
    assert_eq!(listener.hear_a_pass().await.0.len(), 600);
}

#[tokio::test]
async fn a_worker_whose_broker_is_away_can_be_stopped() {
    let mut channel = Channel::start().await;
    channel.broker.stop();
    let worker = channel.worker();
    worker.progress().wait_for(|progress| progress.broker.is_some()).await.unwrap();
    worker.stop(SessionEnd::Discard).await;
}

#[tokio::test]
async fn a_worker_that_is_stopped_while_devices_talk_without_end_says_goodbye_all_the_same() {
    let channel = Channel::start().await;
    for name in ["wasm/add:1", "wasm/add:2"] {
        channel.registry.push(name, module(CHUNK)).await;
    }
    let worker = channel.worker();
    until_listening(&worker).await;
    let mut listener = channel.listen_to("registry/server/#").await;
    let (client, topic) = (listener.client.clone(), channel.topics.requests.clone());
    let (said, mut counted) = watch::channel(0);
    let flood = tokio::spawn(async move {
        loop {
            let _ = client.publish(Publish::new(&topic, "x", Qos::AtMostOnce)).await;
            said.send_modify(|said| *said += 1);
        }
    });
    counted.wait_for(|said| *said > 1000).await.unwrap();
    worker.stop(SessionEnd::Discard).await;
    flood.abort();
    listener.ask(r#"{"app_name": "wasm/add:1", "device": "d"}"#).await;
    let worker = channel.worker();
    until_listening(&worker).await;
    listener.ask(r#"{"app_name": "wasm/add:2", "device": "d"}"#).await;
    assert_eq!(listener.hear_a_pass().await.1.app_name, "wasm/add:2", "the session was to be discarded");
}
