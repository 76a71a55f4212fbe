//! Artifacts that are streamed without being asked for.

use std::time::Duration;

use serde_json::json;
use wasmproxy::{
    protocol::ErrorCode,
    worker::{FailureReason, Phase, Progress, RegistryState, Totals, Worker, WorkerConfig},
};

use super::channel::{CHUNK, Channel, Said, assembled, digest, until, until_listening, until_published};
use crate::modules::module;

#[tokio::test]
async fn a_declared_artifact_is_streamed_and_counted() {
    let mut channel = Channel::start().await;
    let bytes = module(CHUNK * 12 + 1);
    let pushed = channel.registry.push("wasm/add:1", bytes.clone()).await;
    channel.declare("wasm/add:1");
    let mut listener = channel.listen().await;
    let worker = channel.worker();

    let (chunks, complete) = listener.hear_a_pass().await;
    assert_eq!(assembled(&chunks), bytes);
    assert_eq!((complete.digest, complete.size, complete.total_chunks), (pushed, bytes.len() as u64, 13));
    assert!(chunks.iter().all(|chunk| chunk.app_name == "wasm/add:1"), "the name is said as it was written");

    let artifact = until_published(&worker, &channel.reference("wasm/add:1")).await;
    assert_eq!((artifact.total, artifact.published, artifact.digest), (13, 13, Some(pushed)));
    let totals = Totals { completed: 1, failed: 0, chunks: 13, bytes: bytes.len() as u64 };
    assert_eq!(worker.progress().borrow().totals, totals);
    worker.progress().wait_for(|progress| progress.settled == Some(1)).await.unwrap();
}

#[tokio::test]
async fn a_tag_that_moves_is_streamed_again() {
    let mut channel = Channel::start().await;
    channel.registry.push("wasm/add:1", module(CHUNK)).await;
    channel.declare("wasm/add:1");
    let mut listener = channel.listen().await;
    let _worker = channel.worker();
    listener.hear_a_pass().await;
    let moved = channel.registry.push("wasm/add:1", module(CHUNK * 2)).await;
    let (chunks, complete) = listener.hear_a_pass().await;
    assert_eq!((digest(&chunks), complete.digest), (moved, moved));
}

#[tokio::test]
async fn an_artifact_declared_plain_is_said_to_old_devices_too() {
    let mut channel = Channel::start().await;
    let bytes = module(CHUNK * 3);
    channel.registry.push("wasm/add:1", bytes.clone()).await;
    channel.declare("wasm/add:1").plain = true;
    let mut listener = channel.listen().await;
    let worker = channel.worker();
    let (mut plain, mut full) = (Vec::new(), Vec::new());
    loop {
        match listener.hear().await {
            Said::Plain(chunk) => plain.push(chunk),
            Said::Full(chunk) => full.push(chunk),
            Said::Complete(_) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((assembled(&plain), assembled(&full)), (bytes.clone(), bytes));
    assert!(plain.iter().all(|chunk| chunk.whole.is_none()), "old devices know four fields");
    assert_eq!(until_published(&worker, &channel.reference("wasm/add:1")).await.published, 3);
}

#[tokio::test]
async fn what_was_published_is_not_sent_again_by_the_next_worker() {
    let mut channel = Channel::start().await;
    channel.registry.push("wasm/add:1", module(CHUNK * 3)).await;
    channel.declare("wasm/add:1");
    let first = channel.worker();
    let reference = channel.reference("wasm/add:1");
    until_published(&first, &reference).await;
    let mut memory = first.progress().borrow().clone();
    memory.registry = RegistryState::Unknown;
    first.stop(wasmproxy::mqtt::SessionEnd::Keep).await;

    let mut listener = channel.listen().await;
    let second = Worker::start(channel.config.clone(), memory.clone());
    let settled = |progress: &Progress| progress.registry == RegistryState::Ready;
    until_listening(&second).await;
    second.progress().wait_for(settled).await.unwrap();
    // Something else that is asked for ends after the declared one was looked at.
    channel.registry.push("wasm/other:1", module(CHUNK)).await;
    listener.ask(r#"{"app_name": "wasm/other:1", "format": "json"}"#).await;
    let (chunks, _) = listener.hear_a_pass().await;
    assert_eq!(chunks.len(), 1);
    assert_eq!(chunks[0].app_name, "wasm/other:1");
    let artifact = until_published(&second, &reference).await;
    assert_eq!(artifact, memory.artifacts[&reference.to_string()]);
    assert_eq!(second.progress().borrow().totals.chunks, 4, "counters go on");
}

#[tokio::test]
async fn another_chunk_size_is_another_target_and_is_sent_anew() {
    let mut channel = Channel::start().await;
    channel.registry.push("wasm/add:1", module(CHUNK * 4)).await;
    channel.declare("wasm/add:1");
    let mut listener = channel.listen().await;
    let worker = channel.worker();
    assert_eq!(listener.hear_a_pass().await.0.len(), 4);
    channel.config.chunk_size = wasmproxy::protocol::ChunkSize::new(2000).unwrap();
    channel.config.generation = 2;
    worker.reconfigure(channel.config.clone());
    assert_eq!(listener.hear_a_pass().await.0.len(), 2);
    worker.progress().wait_for(|progress| progress.settled == Some(2)).await.unwrap();
}

#[tokio::test]
async fn an_artifact_that_is_not_there_is_said_to_be_missing_and_sent_once_it_is_pushed() {
    let mut channel = Channel::start().await;
    channel.declare("wasm/add:1");
    let mut listener = channel.listen().await;
    let worker = channel.worker();
    let reference = channel.reference("wasm/add:1");
    let failed = until(&worker, &reference, |artifact| artifact.phase == Phase::Failed).await;
    assert_eq!(failed.failure.unwrap().reason, FailureReason::ArtifactNotFound);
    assert_eq!(listener.hear_an_error().await.code, ErrorCode::NotFound);
    // A change of the resource makes it look again at once.
    channel.registry.push("wasm/add:1", module(CHUNK)).await;
    channel.config.generation = 2;
    worker.reconfigure(channel.config.clone());
    assert_eq!(listener.hear_a_pass().await.0.len(), 1);
}

#[tokio::test]
async fn another_pace_holds_for_the_pass_under_way() {
    let mut channel = Channel::start().await;
    channel.registry.push("wasm/add:1", module(CHUNK * 700)).await;
    channel.declare("wasm/add:1");
    // A chunk in a quarter of an hour.
    channel.config.pace = Some(1);
    let mut listener = channel.listen().await;
    let worker = channel.worker();
    let reference = channel.reference("wasm/add:1");
    until(&worker, &reference, |artifact| artifact.published > 500).await;
    channel.config.pace = Some(50_000_000);
    channel.config.generation = 2;
    worker.reconfigure(channel.config.clone());
    let (chunks, _) = listener.hear_a_pass().await;
    assert_eq!(chunks.len(), 700, "each once");
}

#[tokio::test]
async fn a_change_leaves_the_pass_under_way_alone() {
    let mut channel = Channel::start().await;
    let pushed = channel.registry.push("wasm/add:1", module(CHUNK * 700)).await;
    channel.registry.push("wasm/other:1", module(CHUNK)).await;
    channel.declare("wasm/add:1");
    // Its last 200 chunks take a second, so that it is under way when the change comes.
    channel.config.pace = Some(200 * CHUNK as u64);
    let mut listener = channel.listen().await;
    let worker = channel.worker();
    until(&worker, &channel.reference("wasm/add:1"), |artifact| artifact.published > 0).await;
    channel.declare("wasm/other:1");
    channel.config.generation = 2;
    worker.reconfigure(channel.config.clone());
    worker.progress().wait_for(|progress| progress.settled == Some(2)).await.unwrap();
    let (mut chunks, mut complete) = (Vec::new(), 0);
    while complete < 2 {
        match listener.hear().await {
            Said::Full(chunk) if chunk.app_name == "wasm/add:1" => chunks.push(chunk),
            Said::Complete(_) => complete += 1,
            _ => {}
        }
    }
    assert_eq!(chunks.len(), 700, "each chunk was sent once");
    assert_eq!(digest(&chunks), pushed);
}

#[tokio::test]
async fn an_artifact_declared_plain_later_is_sent_anew() {
    let mut channel = Channel::start().await;
    channel.registry.push("wasm/add:1", module(CHUNK)).await;
    channel.declare("wasm/add:1");
    let mut listener = channel.listen().await;
    let worker = channel.worker();
    listener.hear_a_pass().await;
    channel.config.artifacts[0].plain = true;
    channel.config.generation = 2;
    worker.reconfigure(channel.config.clone());
    while !matches!(listener.hear().await, Said::Plain(_)) {}
    worker.progress().wait_for(|progress| progress.settled == Some(2)).await.unwrap();
}

#[tokio::test]
async fn what_is_published_stays_so_while_the_registry_is_away() {
    let mut channel = Channel::start().await;
    channel.registry.push("wasm/add:1", module(CHUNK)).await;
    channel.declare("wasm/add:1");
    let worker = channel.worker();
    let reference = channel.reference("wasm/add:1");
    until_published(&worker, &reference).await;
    channel.registry.stop();
    let away = until(&worker, &reference, |artifact| artifact.failure.is_some()).await;
    assert_eq!(away.phase, Phase::Published);
    assert!(matches!(worker.progress().borrow().registry, RegistryState::Failed(_)));
}

#[tokio::test]
async fn what_old_devices_asked_for_is_streamed_to_all_once_it_is_declared() {
    let mut channel = Channel::start().await;
    channel.registry.push("wasm/add:1", module(CHUNK)).await;
    let worker = channel.worker();
    until_listening(&worker).await;
    let mut listener = channel.listen().await;
    listener.ask(r#"{"app_name": "wasm/add:1"}"#).await;
    assert!(matches!(listener.hear().await, Said::Plain(_)));
    until_published(&worker, &channel.reference("wasm/add:1")).await;
    channel.declare("wasm/add:1");
    channel.config.generation = 2;
    worker.reconfigure(channel.config.clone());
    assert_eq!(listener.hear_a_pass().await.0.len(), 1);
    worker.progress().wait_for(|progress| progress.settled == Some(2)).await.unwrap();
}

#[tokio::test]
async fn what_was_asked_for_under_another_name_is_still_said_under_the_declared_one() {
    let mut channel = Channel::start().await;
    channel.registry.push("wasm/add:1", module(CHUNK)).await;
    channel.declare("wasm/add:1").interval = Duration::from_secs(1);
    let mut listener = channel.listen().await;
    let _worker = channel.worker();
    listener.hear_a_pass().await;
    let moved = channel.registry.push("wasm/add:1", module(CHUNK * 2)).await;
    let alias = format!("{}/wasm/add:1", channel.registry.host());
    listener.ask(&json!({"app_name": alias, "device": "press-4"}).to_string()).await;
    let mut names = [listener.hear_a_pass().await.1, listener.hear_a_pass().await.1].map(|complete| {
        assert_eq!(complete.digest, moved);
        complete.app_name
    });
    names.sort_by_key(String::len);
    assert_eq!(names, ["wasm/add:1".to_owned(), alias]);
}

#[tokio::test]
async fn an_artifact_that_is_declared_again_while_its_pass_ends_is_sent() {
    let mut channel = Channel::start().await;
    channel.registry.push("wasm/add:1", module(CHUNK * 600)).await;
    channel.declare("wasm/add:1");
    let worker = channel.worker();
    until(&worker, &channel.reference("wasm/add:1"), |artifact| artifact.published > 10).await;
    let without = WorkerConfig { generation: 2, artifacts: Vec::new(), ..channel.config.clone() };
    worker.reconfigure(without);
    worker.progress().wait_for(|progress| progress.generation == 2).await.unwrap();
    worker.reconfigure(WorkerConfig { generation: 3, ..channel.config.clone() });
    worker.progress().wait_for(|progress| progress.settled == Some(3)).await.unwrap();
}

#[tokio::test]
async fn chunks_are_counted_of_one_pass_though_another_is_about_the_same_artifact() {
    let mut channel = Channel::start().await;
    channel.registry.push("wasm/add:1", module(CHUNK * 600)).await;
    channel.declare("wasm/add:1");
    channel.config.pace = Some(100 * CHUNK as u64);
    let mut listener = channel.listen().await;
    let worker = channel.worker();
    let reference = channel.reference("wasm/add:1");
    until(&worker, &reference, |artifact| artifact.published >= 100).await;
    listener.ask(r#"{"app_name": "wasm/add:1"}"#).await;
    let mut progress = worker.progress();
    let mut before = 0;
    loop {
        let artifact = progress.borrow_and_update().artifacts[&reference.to_string()].clone();
        assert!((before..=600).contains(&artifact.published), "{before}, then {}", artifact.published);
        assert_eq!(artifact.phase == Phase::Published, artifact.published == 600, "{artifact:?}");
        before = artifact.published;
        if before == 600 {
            break;
        }
        // The last acknowledgement and the end of the pass are two changes.
        let go_on = |progress: &Progress| {
            let artifact = &progress.artifacts[&reference.to_string()];
            artifact.published != before && (artifact.published < 600 || artifact.phase == Phase::Published)
        };
        progress.wait_for(go_on).await.unwrap();
    }
    while !matches!(listener.hear().await, Said::Plain(_)) {}
}
