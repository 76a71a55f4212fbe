//! Resources that are applied, changed, suspended and deleted, and controllers that come and go.

use futures::{StreamExt as _, TryStreamExt as _};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::json;
use wasmproxy::api::{ArtifactStatus, Phase, ProtocolVersion, Source, WasmProxyStatus, conditions::ConditionType};

use super::floor::{CHUNK, Floor, Mode, ready, says};
use crate::modules::module;

/// Chunks that go as fast as the broker takes them; the pace holds for those after.
const BURST: u64 = 500;

/// Declares these.
fn artifacts(references: &[&str]) -> serde_json::Value {
    let artifacts: Vec<_> = references.iter().map(|reference| json!({"reference": reference})).collect();
    json!({"artifacts": artifacts})
}

fn is_published(artifact: &&ArtifactStatus) -> bool {
    artifact.phase == Phase::Published
}

/// Chunks of what is under way that the broker has acknowledged.
fn chunks_out(status: &WasmProxyStatus) -> u64 {
    status.artifacts.first().and_then(|artifact| artifact.chunks).map_or(0, |chunks| chunks.published)
}

async fn an_applied_resource_is_published_and_counted_and_ready(mode: Mode) {
    let floor = Floor::start(mode).await;
    let bytes = module(12 * CHUNK + 1);
    let digest = floor.registry.push("wasm/add:1.2", bytes.clone()).await;
    let mut listener = floor.listen("line").await;
    let _controller = floor.controller();
    floor.apply("line", artifacts(&["wasm/add:1.2"])).await;

    let status = floor.until_ready("line").await;
    assert_eq!(ready(&status), Some(("True", "Succeeded")));
    for about in [ConditionType::BrokerConnected, ConditionType::RegistryReady, ConditionType::ArtifactsPublished] {
        assert_eq!(says(&status, about).unwrap().0, "True", "{about}");
    }
    assert_eq!((says(&status, ConditionType::Reconciling), says(&status, ConditionType::Stalled)), (None, None));
    assert_eq!((status.observed_generation, status.progress.as_deref()), (Some(1), Some("13/13")));
    assert_eq!((status.published.as_deref(), status.receipts), (Some("1/1"), Some(0)));
    let transfers = status.transfers.unwrap();
    assert_eq!((transfers.completed, transfers.failed, transfers.chunks), (1, 0, 13));
    assert_eq!(transfers.bytes, bytes.len() as u64);
    assert_eq!(status.broker.unwrap().protocol, ProtocolVersion::Mqtt5);

    let [artifact] = status.artifacts.as_slice() else { panic!("{:?}", status.artifacts) };
    assert_eq!(artifact.reference, format!("{}/wasm/add:1.2", floor.registry.host()));
    assert_eq!((artifact.digest.clone(), artifact.size), (Some(digest.to_string()), Some(bytes.len() as u64)));
    assert_eq!((artifact.phase, artifact.source), (Phase::Published, Source::Declared));
    assert!(artifact.started_at.is_some() && artifact.completed_at.is_some());
    assert_eq!(listener.chunks().await, 13);
}

async fn a_fresh_resource_does_not_look_ready_before_its_artifacts_are_out(mode: Mode) {
    let floor = Floor::start(mode).await;
    floor.registry.push("wasm/add:1", module(CHUNK)).await;
    floor.apply("line", artifacts(&["wasm/add:1"])).await;
    assert_eq!(floor.get("line").await.status.unwrap().observed_generation, Some(-1));

    let config = watcher::Config::default().fields("metadata.name=line");
    let mut seen = watcher(floor.resources(), config).applied_objects().boxed();
    let _controller = floor.controller();
    while let Some(resource) = seen.try_next().await.unwrap() {
        let status = resource.status.unwrap_or_default();
        match ready(&status) {
            None => assert_ne!(status.observed_generation, Some(1)),
            Some(("True", _)) => {
                assert_eq!(status.published.as_deref(), Some("1/1"));
                return;
            }
            Some(said) => {
                assert_eq!(said, ("Unknown", "Progressing"));
                assert_eq!(says(&status, ConditionType::Reconciling), Some(("True", "Progressing")));
            }
        }
    }
}

async fn a_tag_that_moves_is_streamed_again_and_the_resource_stays_ready(mode: Mode) {
    let floor = Floor::start(mode).await;
    floor.registry.push("wasm/add:1", module(3 * CHUNK)).await;
    let _controller = floor.controller();
    floor.apply("line", json!({"artifacts": [{"reference": "wasm/add:1", "interval": "10s"}]})).await;
    floor.until_ready("line").await;

    let config = watcher::Config::default().fields("metadata.name=line");
    let mut seen = watcher(floor.resources(), config).applied_objects().boxed();
    let digest = floor.registry.push("wasm/add:1", module(5 * CHUNK)).await.to_string();
    while let Some(resource) = seen.try_next().await.unwrap() {
        let status = resource.status.unwrap();
        assert_eq!(ready(&status).unwrap().0, "True");
        let artifact = &status.artifacts[0];
        if artifact.phase == Phase::Published && artifact.digest.as_ref() == Some(&digest) {
            assert_eq!(status.transfers.unwrap().chunks, 3 + 5);
            return;
        }
    }
}

async fn another_chunk_size_is_ready_once_everything_is_out_again(mode: Mode) {
    let floor = Floor::start(mode).await;
    floor.registry.push("wasm/add:1", module(3 * CHUNK)).await;
    let mut listener = floor.listen("line").await;
    let _controller = floor.controller();
    floor.apply("line", artifacts(&["wasm/add:1"])).await;
    floor.until_ready("line").await;
    assert_eq!(listener.chunks().await, 3);

    let mut larger = artifacts(&["wasm/add:1"]);
    larger["chunkSize"] = json!(2 * CHUNK);
    floor.apply("line", larger).await;
    let status = floor.until_ready("line").await;
    assert_eq!((status.progress.as_deref(), status.transfers.unwrap().chunks), (Some("2/2"), 3 + 2));
    assert_eq!(listener.chunks().await, 2);
}

async fn a_resource_that_declares_nothing_answers_devices_and_is_ready(mode: Mode) {
    let floor = Floor::start(mode).await;
    let _controller = floor.controller();
    floor.apply("line", json!({})).await;
    let status = floor.until_ready("line").await;
    assert_eq!(says(&status, ConditionType::RegistryReady), Some(("Unknown", "NothingDeclared")));
    assert_eq!((status.progress, status.published), (None, None));
}

async fn progress_shows_while_a_module_streams_and_a_change_does_not_disturb_it(mode: Mode) {
    let floor = Floor::start(mode).await;
    floor.registry.push("wasm/large:1", module(2000 * CHUNK)).await;
    floor.registry.push("wasm/small:1", module(CHUNK)).await;
    let _controller = floor.controller();
    // A chunk a second after the first ones: it streams for as long as the test lasts.
    let slow = |artifacts: serde_json::Value| json!({"pace": "1k", "artifacts": artifacts});
    floor.apply("slow", slow(json!([{"reference": "wasm/large:1"}]))).await;
    floor.apply("other", artifacts(&["wasm/small:1"])).await;
    floor.until_ready("other").await;
    let before = floor.until("slow", |status| chunks_out(status) >= BURST).await;
    assert_eq!(before.artifacts[0].phase, Phase::Streaming);
    assert_eq!(before.progress, Some(format!("{}/2000", chunks_out(&before))));

    floor.apply("other", json!({"suspend": true})).await;
    floor.until_ready_is("other", "False", "Suspended").await;
    floor.apply("slow", slow(json!([{"reference": "wasm/large:1"}, {"reference": "wasm/small:1"}]))).await;
    let small_is_out = |status: &WasmProxyStatus| status.published.as_deref() == Some("1/2");
    floor.until("slow", small_is_out).await;

    let after = floor.until("slow", |status| chunks_out(status) > chunks_out(&before)).await;
    assert_eq!(after.artifacts[0].started_at, before.artifacts[0].started_at, "the pass goes on");
    assert_eq!(after.transfers.unwrap().failed, 0);
    assert_eq!(after.observed_generation, Some(2));
}

async fn a_suspended_resource_ends_its_session_and_sends_nothing_again_when_it_goes_on(mode: Mode) {
    let floor = Floor::start(mode).await;
    floor.registry.push("wasm/add:1", module(3 * CHUNK)).await;
    floor.registry.push("wasm/sub:1", module(CHUNK)).await;
    let mut listener = floor.listen("line").await;
    let _controller = floor.controller();
    let running = artifacts(&["wasm/add:1"]);
    floor.apply("line", running.clone()).await;
    let before = floor.until_ready("line").await;

    let mut suspended = running.clone();
    suspended["suspend"] = json!(true);
    floor.apply("line", suspended).await;
    floor.until_ready_is("line", "False", "Suspended").await;
    // In a Pod it is the worker that says so, and neither waits for the other.
    let status = floor.until("line", |status| status.broker.is_none()).await;
    assert_eq!((ready(&status), &status.artifacts), (Some(("False", "Suspended")), &before.artifacts));
    assert_eq!(says(&status, ConditionType::WorkerAvailable), Some(("False", "Suspended")));
    assert_eq!(says(&status, ConditionType::BrokerConnected), Some(("Unknown", "WorkerUnavailable")));
    assert_eq!(listener.chunks().await, 3);

    listener.ask("wasm/add:1").await;
    floor.apply("line", running).await;
    let status = floor.until_ready("line").await;
    assert_eq!(status.artifacts, before.artifacts);
    assert_eq!(listener.chunks().await, 0);
    listener.ask("wasm/sub:1").await;
    let status = floor.until("line", |status| status.artifacts.iter().filter(is_published).count() == 2).await;
    assert_eq!(status.transfers.unwrap().chunks, 3 + 1, "what was asked meanwhile nobody has heard");
}

async fn a_deleted_resource_takes_its_worker_with_it(mode: Mode) {
    let floor = Floor::start(mode).await;
    floor.registry.push("wasm/add:1", module(CHUNK)).await;
    let _controller = floor.controller();
    floor.apply("line", artifacts(&["wasm/add:1"])).await;
    floor.until_ready("line").await;
    floor.broker.server().until_it_logs(" as wp", 1).await;

    floor.delete("line").await;
    let gone = |resource: Option<&wasmproxy::api::WasmProxy>| resource.is_none();
    floor.until_resource("line", gone).await;
    floor.broker.server().until_it_logs("Client wp", 1).await;
}

async fn a_resource_that_was_deleted_while_nobody_watched_is_another_one_when_it_comes_back(mode: Mode) {
    let floor = Floor::start(mode).await;
    floor.registry.push("wasm/add:1", module(3 * CHUNK)).await;
    let mut listener = floor.listen("line").await;
    let controller = floor.controller();
    floor.apply("line", artifacts(&["wasm/add:1"])).await;
    floor.until_ready("line").await;
    controller.stop().await;
    floor.delete("line").await;
    floor.apply("line", artifacts(&["wasm/add:1"])).await;
    assert_eq!(listener.chunks().await, 3);

    let _controller = floor.controller();
    floor.until_ready("line").await;
    assert_eq!(listener.chunks().await, 3);
}

async fn a_restarted_controller_sends_nothing_again_and_has_nothing_to_write(mode: Mode) {
    let floor = Floor::start(mode).await;
    floor.registry.push("wasm/add:1", module(3 * CHUNK)).await;
    floor.registry.push("wasm/sub:1", module(2 * CHUNK)).await;
    let mut listener = floor.listen("line").await;
    let controller = floor.controller();
    floor.apply("line", artifacts(&["wasm/add:1"])).await;
    let before = floor.until_ready("line").await;
    controller.stop().await;
    assert_eq!(floor.get("line").await.status.as_ref(), Some(&before), "a controller that goes says nothing");
    assert_eq!(listener.chunks().await, 3);

    let _controller = floor.controller();
    floor.apply("line", artifacts(&["wasm/add:1", "wasm/sub:1"])).await;
    let after = floor.until_ready("line").await;
    assert_eq!(after.artifacts[0], before.artifacts[0]);
    assert_eq!(listener.chunks().await, 2, "only what is new is sent");
    assert_eq!(after.transfers.unwrap().chunks, 5, "counters go on");
}

in_both_modes! {
    an_applied_resource_is_published_and_counted_and_ready,
    a_fresh_resource_does_not_look_ready_before_its_artifacts_are_out,
    a_tag_that_moves_is_streamed_again_and_the_resource_stays_ready,
    another_chunk_size_is_ready_once_everything_is_out_again,
    a_resource_that_declares_nothing_answers_devices_and_is_ready,
    progress_shows_while_a_module_streams_and_a_change_does_not_disturb_it,
    a_suspended_resource_ends_its_session_and_sends_nothing_again_when_it_goes_on,
    a_deleted_resource_takes_its_worker_with_it,
    a_resource_that_was_deleted_while_nobody_watched_is_another_one_when_it_comes_back,
    a_restarted_controller_sends_nothing_again_and_has_nothing_to_write,
}
