//! Connections to the broker that break, or go silent, while chunks are on their way.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use wasmproxy::{
    mqtt::{ConnectFailure, ConnectionState, Qos, VersionPreference},
    protocol::ChunkSize,
    worker::{Progress, Worker},
};

use super::channel::{CHUNK, Channel, assembled, until, until_listening, until_published};
use crate::{
    lab::{BrokerConfig, Direction, FaultProxy, Manner, OddBroker},
    modules::module,
    waiting::soon,
};

const VERSIONS: [VersionPreference; 2] = [VersionPreference::V311, VersionPreference::V5];

/// Publishes in flight at most.
const WINDOW: usize = 4;

/// The next failure that the worker reports of its connection.
async fn failure(worker: &Worker) -> ConnectFailure {
    let failure = |progress: &Progress| match &progress.broker {
        Some(ConnectionState::Connecting { failure, .. }) => failure.clone(),
        _ => None,
    };
    let mut progress = worker.progress();
    let failed = soon("a failure", progress.wait_for(|progress| failure(progress).is_some())).await.unwrap().clone();
    failure(&failed).unwrap()
}

#[tokio::test]
async fn a_pass_goes_on_at_the_first_chunk_that_was_not_acknowledged() {
    const CHUNKS: usize = 400;
    for persistent in [true, false] {
        for (version, qos) in VERSIONS
            .into_iter()
            .flat_map(|version| [Qos::AtLeastOnce, Qos::ExactlyOnce].into_iter().map(move |qos| (version, qos)))
        {
            let broker = if persistent { BrokerConfig::default().persistent() } else { BrokerConfig::default() };
            let mut channel = Channel::start_with(broker).await;
            channel.registry.push("wasm/add:1", module(CHUNK * CHUNKS)).await;
            channel.declare("wasm/add:1");
            let sent = Arc::<AtomicUsize>::default();
            let (counted, topic) = (sent.clone(), channel.topics.chunk.clone());
            let counting = OddBroker::before(channel.broker.host(), move |to: &str, _: &[u8]| {
                counted.fetch_add(usize::from(to == topic), Ordering::Relaxed);
                Manner::Pass
            });
            let counting = counting.await;
            channel.config.broker.url = counting.url.parse().unwrap();
            (channel.config.broker.version, channel.config.broker.qos) = (version, qos);
            let worker = channel.worker();
            let reference = channel.reference("wasm/add:1");
            until(&worker, &reference, |artifact| artifact.published >= 20).await;

            if persistent {
                channel.broker.stop();
            } else {
                channel.broker.kill();
            }
            let said = failure(&worker).await.message;
            assert!(said.contains(counting.url.trim_start_matches("mqtt://")), "{said}");
            let acknowledged = worker.progress().borrow().artifacts[&reference.to_string()].published as usize;
            assert!(acknowledged < CHUNKS, "it was killed too late");
            let before = sent.load(Ordering::Relaxed);
            channel.broker.start_again().await;
            soon("the rest", until_published(&worker, &reference)).await;
            let (after, what) = (sent.load(Ordering::Relaxed), format!("{version:?} {qos:?} {persistent}"));
            assert!(after - before <= CHUNKS - acknowledged, "{what}: {} of {CHUNKS} again", after - before);
            assert!(after <= CHUNKS + WINDOW, "{what}: {after} for {CHUNKS}");
        }
    }
}

#[tokio::test]
async fn what_is_asked_for_while_the_worker_is_cut_off_is_answered() {
    for version in VERSIONS {
        let mut channel = Channel::start().await;
        channel.registry.push("wasm/add:1", module(CHUNK * 3)).await;
        let mut listener = channel.listen().await;
        let proxy = FaultProxy::to(&channel.broker.host()).await;
        channel.config.broker.url = format!("mqtt://{}", proxy.host).parse().unwrap();
        channel.config.broker.version = version;
        let worker = channel.worker();
        until_listening(&worker).await;
        proxy.refuse(true);
        proxy.cut();
        failure(&worker).await;
        listener.ask(&json!({"app_name": "wasm/add:1", "device": "press-4"}).to_string()).await;
        proxy.refuse(false);
        let (chunks, _) = soon("the answer", listener.hear_a_pass()).await;
        assert_eq!(assembled(&chunks), module(CHUNK * 3), "{version:?}");
    }
}

#[tokio::test]
async fn a_connection_that_stalls_in_the_middle_of_a_pass_is_replaced() {
    for version in VERSIONS {
        let mut channel = Channel::start().await;
        channel.registry.push("wasm/add:1", module(CHUNK * 500)).await;
        channel.declare("wasm/add:1");
        let mut listener = channel.listen().await;
        let proxy = FaultProxy::to(&channel.broker.host()).await;
        channel.config.broker.url = format!("mqtt://{}", proxy.host).parse().unwrap();
        (channel.config.broker.version, channel.config.broker.timeout) = (version, Duration::from_secs(1));
        let worker = channel.worker();
        proxy.until_sent(Direction::ToServer, 100_000).await;
        proxy.stall();
        let said = failure(&worker).await.message;
        assert!(said.contains(&proxy.host), "{said}");
        let (chunks, _) = soon("the rest", listener.hear_a_pass()).await;
        assert_eq!(assembled(&chunks), module(CHUNK * 500), "{version:?}");
        // On a busy machine a connection may be silent for a second by itself.
        let replaced = proxy.connections() - 1;
        assert!(chunks.len() <= 500 + WINDOW * replaced, "{version:?}: {} over {replaced} more", chunks.len());
    }
}

#[tokio::test]
async fn a_link_too_slow_for_one_chunk_in_the_time_allowed_is_not_cut() {
    let deliveries = VERSIONS.map(|version| async move {
        let mut channel = Channel::start().await;
        channel.registry.push("wasm/add:1", module(2_000_000)).await;
        channel.declare("wasm/add:1");
        let mut listener = channel.listen().await;
        let proxy = FaultProxy::to(&channel.broker.host()).await;
        // A chunk takes almost nine seconds, and several pieces of it pass in each of them, on a busy machine too.
        proxy.throttle(300_000);
        channel.config.broker.url = format!("mqtt://{}", proxy.host).parse().unwrap();
        (channel.config.broker.version, channel.config.broker.timeout) = (version, Duration::from_secs(5));
        channel.config.chunk_size = ChunkSize::new(2_000_000).unwrap();
        let _worker = channel.worker();
        let (chunks, _) = soon("all", listener.hear_a_pass()).await;
        assert!(chunks.len() == 1 && assembled(&chunks) == module(2_000_000), "{version:?}");
        assert_eq!(proxy.connections(), 1, "{version:?}");
    });
    futures::future::join_all(deliveries).await;
}
