//! Brokers that say no: to the worker, to a topic, to a size, for now. Some say it by hanging up.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::json;
use wasmproxy::{
    mqtt::{ConnectionState, Credentials, FailureKind, Qos, VersionPreference},
    protocol::{ChunkSize, ErrorCode, ErrorNotice},
    worker::{FailureReason, Phase, Progress, Worker, WorkerConfig},
};

use super::channel::{CHUNK, Channel, Listener, Said, assembled, until, until_listening, until_published};
use crate::{
    lab::{BrokerConfig, Manner, OddBroker},
    modules::module,
    waiting::soon,
};

const QUOTA_EXCEEDED: u8 = 0x97;

async fn until_unauthorized(worker: &Worker) {
    let refused = |progress: &Progress| match &progress.broker {
        Some(ConnectionState::Connecting { failure: Some(failure), .. }) => failure.kind == FailureKind::Unauthorized,
        _ => false,
    };
    soon("a refusal", worker.progress().wait_for(refused)).await.unwrap();
}

#[tokio::test]
async fn a_password_that_is_corrected_here_or_there_lets_the_worker_in() {
    for here in [true, false] {
        let with = |password| BrokerConfig::default().user("worker", password);
        let mut channel = Channel::start_with(with("right")).await;
        channel.registry.push("wasm/add:1", module(CHUNK)).await;
        channel.declare("wasm/add:1");
        let wrong = Credentials { username: "worker".into(), password: Some("wrong".into()) };
        let right = channel.config.broker.credentials.replace(wrong);
        let worker = channel.worker();
        until_unauthorized(&worker).await;
        if here {
            channel.config.broker.credentials = right;
            worker.reconfigure(WorkerConfig { generation: 2, ..channel.config.clone() });
        } else {
            channel.broker.start_again_as(with("wrong")).await;
        }
        soon("the module", until_published(&worker, &channel.reference("wasm/add:1"))).await;
    }
}

/// mosquitto with a list of what may be done, in `folder`.
fn allowing(rules: &str, folder: &tempfile::TempDir) -> BrokerConfig {
    let file = folder.path().join("acl");
    std::fs::write(&file, rules).unwrap();
    BrokerConfig::default().line(format!("acl_file {}", file.display()))
}

#[tokio::test]
async fn a_topic_for_chunks_that_is_denied_is_named_and_used_once_it_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let mut channel =
        Channel::start_with(allowing("topic readwrite #\ntopic deny +/test/messages/registry/server/chunk\n", &folder))
            .await;
    channel.registry.push("wasm/add:1", module(CHUNK * 3)).await;
    channel.declare("wasm/add:1");
    let reference = channel.reference("wasm/add:1");
    // On MQTT 3.1.1 mosquitto acknowledges what it drops: nobody can tell.
    channel.config.broker.version = VersionPreference::V311;
    let unaware = channel.worker();
    assert_eq!(soon("the end", until_published(&unaware, &reference)).await.published, 3);
    unaware.stop(wasmproxy::mqtt::SessionEnd::Discard).await;

    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let denying = allowing("topic readwrite #\ntopic deny +/test/messages/registry/server/chunk\n", &folder);
        channel.broker.start_again_as(denying).await;
        (channel.config.broker.version, channel.config.broker.qos) = (VersionPreference::V5, qos);
        let worker = channel.worker();
        let failed = soon("a refusal", until(&worker, &reference, |artifact| artifact.phase == Phase::Failed)).await;
        let failure = failed.failure.unwrap();
        assert_eq!(failure.reason, FailureReason::BrokerUnauthorized);
        assert!(failure.message.contains(&channel.topics.chunk), "{}", failure.message);
        channel.broker.start_again_as(BrokerConfig::default()).await;
        soon("the module", until_published(&worker, &reference)).await;
        worker.stop(wasmproxy::mqtt::SessionEnd::Discard).await;
    }
}

#[tokio::test]
async fn a_quota_that_is_used_up_holds_the_pass_up_and_does_not_end_it() {
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let mut channel = Channel::start().await;
        channel.registry.push("wasm/add:1", module(CHUNK * 10)).await;
        channel.declare("wasm/add:1");
        let mut listener = channel.listen().await;
        let (refused, topic) = (Arc::<AtomicUsize>::default(), channel.topics.chunk.clone());
        let broker = OddBroker::before(channel.broker.host(), move |to: &str, _: &[u8]| {
            if to == topic && refused.fetch_add(1, Ordering::Relaxed) < 6 {
                Manner::Refuse(QUOTA_EXCEEDED)
            } else {
                Manner::Pass
            }
        });
        let broker = broker.await;
        channel.config.broker.url = broker.url.parse().unwrap();
        channel.config.broker.qos = qos;
        let worker = channel.worker();
        let reference = channel.reference("wasm/add:1");
        let held_up = soon("a refusal", until(&worker, &reference, |artifact| artifact.failure.is_some())).await;
        assert_eq!((held_up.phase, held_up.published), (Phase::Streaming, 0));
        assert_eq!(held_up.failure.unwrap().reason, FailureReason::BrokerQuotaExceeded);
        let (chunks, _) = soon("all", listener.hear_a_pass()).await;
        assert_eq!((chunks.len(), assembled(&chunks)), (10, module(CHUNK * 10)));
        let published = until_published(&worker, &reference).await;
        assert_eq!((published.failure, worker.progress().borrow().totals.failed), (None, 0));
    }
}

#[tokio::test]
async fn that_nobody_listens_is_said_until_somebody_does() {
    let mut channel = Channel::start().await;
    let pushed = channel.registry.push("wasm/add:1", module(CHUNK * 2)).await;
    channel.declare("wasm/add:1");
    let worker = channel.worker();
    let reference = channel.reference("wasm/add:1");
    assert!(until_published(&worker, &reference).await.no_subscribers);
    // A device that pulls never listens to the broadcast.
    let listener = channel.listen_to("registry/server/device/press-4").await;
    let missing = json!({"app_name": "wasm/add:1", "device": "press-4", "digest": pushed, "chunk_size": CHUNK, "chunks": [[0, 1]]});
    listener.ask(&missing.to_string()).await;
    soon("the end", until(&worker, &reference, |artifact| !artifact.no_subscribers)).await;
}

/// The next error notice; chunks and others are passed over.
async fn refusal(listener: &mut Listener) -> ErrorNotice {
    loop {
        if let Said::Error(notice) = soon("a notice", listener.hear()).await {
            return notice;
        }
    }
}

#[tokio::test]
async fn chunks_that_an_old_broker_finds_too_large_are_told_and_all_else_goes_through() {
    let limited = |bytes: usize| BrokerConfig::default().line(format!("max_packet_size {bytes}"));
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let mut channel = Channel::start_with(limited(20_000)).await;
        channel.config.chunk_size = ChunkSize::new(20_000).unwrap();
        (channel.config.broker.version, channel.config.broker.qos) = (VersionPreference::V311, qos);
        channel.registry.push("wasm/large:1", module(100_000)).await;
        channel.registry.push("wasm/small:1", module(10_000)).await;
        let reference = channel.reference("wasm/large:1");
        channel.declare("wasm/large:1");
        let mut listener = channel.listen().await;
        let worker = channel.worker();
        let failed = soon("a refusal", until(&worker, &reference, |artifact| artifact.phase == Phase::Failed)).await;
        let failure = failed.failure.unwrap();
        assert_eq!(failure.reason, FailureReason::ChunkTooLarge, "{}", failure.message);
        assert_eq!(refusal(&mut listener).await.code, ErrorCode::TooLarge);

        listener.ask(&json!({"app_name": "wasm/small:1", "device": "press-4"}).to_string()).await;
        loop {
            match soon("the small one", listener.hear()).await {
                Said::Full(chunk) if chunk.app_name == "wasm/small:1" => assert_eq!(chunk.data, module(10_000)),
                Said::Complete(complete) => break assert_eq!(complete.app_name, "wasm/small:1"),
                Said::Error(notice) => assert_eq!(notice.app_name, "wasm/large:1"),
                other => panic!("{other:?}"),
            }
        }
        channel.broker.start_again_as(limited(100_000)).await;
        soon("the large one", until_published(&worker, &reference)).await;
    }
}

#[tokio::test]
async fn a_broker_that_denies_notices_hears_no_more_of_them_and_all_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let rules = "topic readwrite #\ntopic deny +/test/messages/registry/server/complete\n\
                 topic deny +/test/messages/registry/server/error\n";
    let mut channel = Channel::start_with(allowing(rules, &folder)).await;
    channel.config.broker.version = VersionPreference::V5;
    does_without_notices(channel).await;

    // A stand-in for one that hangs up, as cloud brokers do.
    let mut channel = Channel::start().await;
    let notices = [channel.topics.complete.clone(), channel.topics.error.clone()];
    let closing = OddBroker::before(channel.broker.host(), move |topic: &str, _: &[u8]| {
        if notices.iter().any(|notice| notice == topic) { Manner::HangUp } else { Manner::Pass }
    });
    let closing = closing.await;
    channel.config.broker.url = closing.url.parse().unwrap();
    channel.config.broker.version = VersionPreference::V311;
    does_without_notices(channel).await;
}

async fn does_without_notices(mut channel: Channel) {
    channel.registry.push("wasm/add:1", module(CHUNK * 3)).await;
    channel.registry.push("wasm/other:1", module(CHUNK * 600)).await;
    channel.declare("wasm/add:1");
    let worker = channel.worker();
    until_listening(&worker).await;
    soon("the first", until_published(&worker, &channel.reference("wasm/add:1"))).await;
    let complete = |progress: &Progress| progress.denied_notices.contains(&channel.topics.complete);
    assert!(complete(&worker.progress().borrow()));

    // A notice of an error, while chunks are on their way.
    channel.declare("wasm/other:1");
    channel.declare("wasm/none:1");
    worker.reconfigure(WorkerConfig { generation: 2, ..channel.config.clone() });
    let both = |progress: &Progress| progress.denied_notices.len() == 2;
    soon("the second denial", worker.progress().wait_for(both)).await.unwrap();
    soon("the second", until_published(&worker, &channel.reference("wasm/other:1"))).await;
}
