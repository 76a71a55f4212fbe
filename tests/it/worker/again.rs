//! Everything that is declared is looked at anew, and streamed again, on request.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use wasmproxy::{
    mqtt::SessionEnd,
    protocol::Chunk,
    worker::{FailureReason, Phase, Progress, Worker},
};

use super::channel::{CHUNK, Channel, Said, digest, until, until_published};
use crate::modules::module;

/// Longer than any test: nothing is looked at that nobody asks for.
const NEVER: Duration = Duration::from_secs(3600);

fn request(channel: &mut Channel, worker: &Worker, name: &str) {
    channel.config.requested = Some(name.to_owned());
    worker.reconfigure(channel.config.clone());
}

async fn until_handled(worker: &Worker, name: &str) -> Progress {
    worker.progress().wait_for(|progress| progress.handled.as_deref() == Some(name)).await.unwrap().clone()
}

#[tokio::test]
async fn a_request_looks_at_tags_anew_and_streams_everything_once() {
    let mut channel = Channel::start().await;
    let still = channel.registry.push("wasm/still:1", module(CHUNK * 3)).await;
    channel.registry.push("wasm/moved:1", module(CHUNK)).await;
    channel.declare(&format!("wasm/still@{}", channel.registry.manifest_digest("wasm/still:1").await)).interval = NEVER;
    channel.declare("wasm/moved:1").interval = NEVER;
    let worker = channel.worker();
    let before = worker.progress().wait_for(|progress| progress.settled == Some(1)).await.unwrap().clone();

    let moved = channel.registry.push("wasm/moved:1", module(CHUNK * 2)).await;
    let mut listener = channel.listen().await;
    request(&mut channel, &worker, "first");
    // The two passes may take turns.
    let (mut heard, mut complete) = (BTreeMap::<String, Vec<Chunk>>::new(), 0);
    while complete < 2 {
        match listener.hear().await {
            Said::Full(chunk) => heard.entry(chunk.app_name.clone()).or_default().push(chunk),
            Said::Complete(_) => complete += 1,
            other => panic!("{other:?}"),
        }
    }
    let heard: BTreeSet<_> = heard.values().map(|chunks| digest(chunks)).collect();
    assert_eq!(heard, BTreeSet::from([still, moved]));
    let after = until_handled(&worker, "first").await;
    assert_eq!((after.settled, after.declared()), (Some(1), (2, 2)));
    let first_out = |progress: &Progress| {
        let mut artifacts = progress.artifacts.values();
        artifacts.find(|artifact| artifact.digest == Some(still)).unwrap().completed
    };
    assert_eq!(first_out(&after), first_out(&before), "it was out before");

    // The same request with something else beside it: only that is streamed.
    channel.registry.push("wasm/other:1", module(CHUNK)).await;
    channel.declare("wasm/other:1").interval = NEVER;
    channel.config.generation = 2;
    worker.reconfigure(channel.config.clone());
    worker.progress().wait_for(|progress| progress.settled == Some(2)).await.unwrap();
    let chunks = listener.hear_a_pass().await.0;
    assert_eq!((chunks.len(), chunks[0].app_name.as_str()), (1, "wasm/other:1"));
    assert_eq!(listener.rest().await, 0);
}

#[tokio::test]
async fn what_rests_after_its_pass_is_streamed_again_once_it_has_rested() {
    let mut channel = Channel::start().await;
    channel.registry.push("wasm/add:1", module(CHUNK * 600)).await;
    channel.declare("wasm/add:1").interval = NEVER;
    // Its last 100 chunks take a second, and so does its rest.
    channel.config.pace = Some(100 * CHUNK as u64);
    let mut listener = channel.listen().await;
    let worker = channel.worker();
    let reference = channel.reference("wasm/add:1");
    let first = until_published(&worker, &reference).await;
    let took = first.completed.unwrap().duration_since(first.started.unwrap()).unwrap();
    request(&mut channel, &worker, "first");
    let rested = until(&worker, &reference, |artifact| artifact.started != first.started).await;
    let after = rested.started.unwrap().duration_since(first.started.unwrap()).unwrap();
    // The pace alone makes it rest for longer than this.
    assert!(after > took + Duration::from_millis(500), "the pass took {took:?}, the next began after {after:?}");
    until_handled(&worker, "first").await;
    assert_eq!([listener.hear_a_pass().await.0.len(), listener.hear_a_pass().await.0.len()], [600; 2]);
}

#[tokio::test]
async fn a_pass_that_was_under_way_goes_on_and_is_followed_by_another() {
    let mut channel = Channel::start().await;
    channel.registry.push("wasm/add:1", module(CHUNK * 600)).await;
    channel.declare("wasm/add:1").interval = NEVER;
    channel.config.pace = Some(100 * CHUNK as u64);
    let mut listener = channel.listen().await;
    let worker = channel.worker();
    until(&worker, &channel.reference("wasm/add:1"), |artifact| artifact.published > 0).await;
    let moved = channel.registry.push("wasm/add:1", module(CHUNK * 2)).await;
    request(&mut channel, &worker, "first");
    let hearing = async {
        assert_eq!(listener.hear_a_pass().await.0.len(), 600);
        let (chunks, _) = listener.hear_a_pass().await;
        assert_eq!((chunks.len(), digest(&chunks)), (2, moved));
    };
    let (handled, ()) = tokio::join!(until_handled(&worker, "first"), hearing);
    let known = &handled.artifacts[&channel.reference("wasm/add:1").to_string()];
    assert_eq!(known.digest, Some(moved), "what the registry said before the request does not do");
}

#[tokio::test]
async fn a_restarted_worker_does_again_what_was_not_handled_and_nothing_else() {
    let mut channel = Channel::start().await;
    channel.registry.push("wasm/add:1", module(CHUNK)).await;
    channel.declare("wasm/add:1").interval = NEVER;
    channel.config.requested = Some("first".to_owned());
    let mut listener = channel.listen().await;
    let worker = channel.worker();
    let handled = until_handled(&worker, "first").await;
    worker.stop(SessionEnd::Keep).await;
    assert_eq!(listener.hear_a_pass().await.0.len(), 1, "the first publication is what was asked for");

    let killed_before_it_was_written = Progress { handled: None, ..handled.clone() };
    let worker = Worker::start(channel.config.clone(), killed_before_it_was_written);
    until_handled(&worker, "first").await;
    worker.stop(SessionEnd::Keep).await;
    assert_eq!(listener.hear_a_pass().await.0.len(), 1);

    channel.registry.push("wasm/other:1", module(CHUNK * 2)).await;
    channel.declare("wasm/other:1").interval = NEVER;
    channel.config.generation = 2;
    let worker = Worker::start(channel.config.clone(), handled);
    worker.progress().wait_for(|progress| progress.settled == Some(2)).await.unwrap();
    assert_eq!(listener.hear_a_pass().await.0.len(), 2);
    assert_eq!(listener.rest().await, 0);
}

#[tokio::test]
async fn a_request_is_handled_once_what_cannot_be_had_has_failed_once() {
    let mut channel = Channel::start().await;
    channel.registry.push("wasm/add:1", module(CHUNK)).await;
    channel.declare("wasm/add:1").interval = NEVER;
    channel.declare("wasm/none:1").interval = NEVER;
    let worker = channel.worker();
    until_published(&worker, &channel.reference("wasm/add:1")).await;
    until(&worker, &channel.reference("wasm/none:1"), |artifact| artifact.phase == Phase::Failed).await;
    let mut listener = channel.listen().await;
    request(&mut channel, &worker, "first");
    let progress = until_handled(&worker, "first").await;
    let failure = progress.artifacts[&channel.reference("wasm/none:1").to_string()].failure.clone();
    assert_eq!(failure.unwrap().reason, FailureReason::ArtifactNotFound);
    loop {
        match listener.hear().await {
            Said::Complete(_) => break,
            Said::Full(_) | Said::Error(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn where_nothing_is_declared_a_request_is_handled_at_once() {
    let mut channel = Channel::start().await;
    let worker = channel.worker();
    request(&mut channel, &worker, "first");
    until_handled(&worker, "first").await;
}
