//! Devices, brokers and workers that go away for a while.

use futures::future::join_all;
use wasmproxy::device::{Event, FetchOptions, Listen};

use super::floor::{CHUNK, Floor};
use crate::lab::{BrokerConfig, Direction, FaultProxy};

const CHUNKS: usize = 200;

/// More than a first answer by number, and less than all.
fn has_some(event: &Event) -> bool {
    matches!(event, Event::Gathered { chunks: 70.., .. })
}

#[tokio::test]
async fn a_device_that_slept_through_the_rest_asks_for_just_that() {
    let (floor, registry, bytes) = Floor::gated(BrokerConfig::default(), CHUNKS).await;
    let proxy = FaultProxy::to(&floor.channel.broker.host()).await;
    let mut ears = floor.ears("#").await;
    let mut fetch = floor.fetch(floor.patiently_through(&proxy));
    registry.release(40 * CHUNK);
    fetch.sees(|event| matches!(event, Event::Gathered { chunks: 40, .. })).await;
    proxy.refuse(true);
    proxy.cut();
    registry.release(bytes.len());
    floor.until_complete().await;
    proxy.refuse(false);
    fetch.end().await.unwrap();
    assert_eq!(floor.fetched(), bytes);
    let heard = ears.all().await;
    assert_eq!(heard.numbers(), (40..CHUNKS).collect::<Vec<_>>());
    assert_eq!((heard.to_everyone, heard.complete), (CHUNKS, 1), "nobody else was troubled");
}

#[tokio::test]
async fn a_connection_that_is_cut_at_any_byte_and_often_brings_the_module_whole() {
    let case = async |(seed, listen): (u64, Listen)| {
        let floor = Floor::open().await;
        let bytes = floor.push(CHUNKS).await;
        let proxy = FaultProxy::to(&floor.channel.broker.host()).await;
        let mut random = fastrand::Rng::with_seed(seed);
        // Together less than the module takes, so that each of them happens.
        let cuts: Vec<_> = (0..5).map(|_| random.u64(0..40_000)).collect();
        proxy.cut_after(Direction::ToClient, cuts.iter().copied());
        floor.fetch(FetchOptions { listen, ..floor.through(&proxy) }).end().await.unwrap();
        assert!(floor.fetched() == bytes, "seed {seed}, {listen:?}, cut at {cuts:?}");
        assert_eq!(proxy.connections(), cuts.len() + 1, "seed {seed}, {listen:?}");
    };
    join_all([1, 2].into_iter().flat_map(|seed| [(seed, Listen::OwnTopic), (seed, Listen::Everything)]).map(case))
        .await;
}

#[tokio::test]
async fn a_broker_that_restarts_half_way_loses_nothing_for_good() {
    for listen in [Listen::OwnTopic, Listen::Everything] {
        let (mut floor, registry, bytes) = Floor::gated(BrokerConfig::default(), CHUNKS).await;
        let mut fetch = floor.fetch(FetchOptions { listen, ..floor.options() });
        registry.release(if listen == Listen::Everything { 80 * CHUNK } else { bytes.len() });
        fetch.sees(has_some).await;
        floor.channel.broker.kill();
        fetch.sees(|event| matches!(event, Event::NotConnected(_))).await;
        floor.channel.broker.start_again().await;
        registry.release(bytes.len());
        fetch.end().await.unwrap();
        assert_eq!(floor.fetched(), bytes);
    }
}

#[tokio::test]
async fn a_worker_that_restarts_half_way_is_asked_for_the_rest() {
    for listen in [Listen::OwnTopic, Listen::Everything] {
        let (mut floor, registry, bytes) = Floor::gated(BrokerConfig::default(), CHUNKS).await;
        let mut fetch = floor.fetch(FetchOptions { listen, ..floor.options() });
        registry.release(if listen == Listen::Everything { 80 * CHUNK } else { bytes.len() });
        fetch.sees(has_some).await;
        floor = floor.with_another_worker().await;
        registry.release(bytes.len());
        fetch.end().await.unwrap();
        assert_eq!(floor.fetched(), bytes);
    }
}
