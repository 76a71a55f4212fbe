//! Devices that are slower than their worker, behind a broker that holds only so much for them.

use wasmproxy::device::{Event, FetchOptions, Listen};

use super::floor::{CHUNK, Floor};
use crate::lab::{BrokerConfig, FaultProxy};

const CHUNKS: usize = 200;

/// Chunks that a broker of little room holds for a device: those that wait, and those that it has sent and hears nothing
/// of, which are as many as the device takes. It drops the rest.
const HELD: usize = 8 + 16;

fn little_room() -> BrokerConfig {
    BrokerConfig::default().line("max_queued_messages 8")
}

#[tokio::test]
async fn what_the_broker_dropped_is_asked_for_by_number_though_the_end_was_dropped_too() {
    let (floor, registry, bytes) = Floor::gated(little_room(), CHUNKS).await;
    let proxy = FaultProxy::to(&floor.channel.broker.host()).await;
    let mut ears = floor.ears("registry/proplet").await;
    let mut fetch = floor.fetch(floor.through(&proxy));
    // Never more at once than the broker holds for a device that has heard nothing yet.
    for came in (8..=40_u32).step_by(8) {
        registry.release(came as usize * CHUNK);
        fetch.sees(|event| matches!(event, Event::Gathered { chunks, .. } if *chunks == came)).await;
    }
    proxy.stall();
    registry.release(bytes.len());
    floor.until_complete().await;
    proxy.resume();
    fetch.end().await.unwrap();
    assert_eq!(floor.fetched(), bytes);

    let heard = ears.all().await;
    assert_eq!(heard.asked()[0], 0, "the whole module, once");
    let numbers = heard.numbers();
    let first = numbers[0];
    assert!((40..=40 + HELD).contains(&first), "{numbers:?}");
    assert_eq!(numbers.last(), Some(&(CHUNKS - 1)), "the tail");
    assert!(numbers.len() <= 2 * (CHUNKS - first), "{numbers:?}");
}

#[tokio::test]
async fn a_device_that_sets_its_own_pace_is_sent_little_twice() {
    let floor = Floor::open_with(little_room()).await;
    let proxy = FaultProxy::to(&floor.channel.broker.host()).await;
    let bytes = floor.push(CHUNKS).await;
    let mut ears = floor.ears("registry/proplet").await;
    proxy.throttle(64 << 10);
    let mut fetch = floor.fetch(FetchOptions { listen: Listen::OwnTopic, ..floor.patiently_through(&proxy) });
    fetch.end().await.unwrap();
    assert_eq!(floor.fetched(), bytes);

    // The first answer overflows what the broker holds; from then on it is asked for as much as came.
    let asked = ears.all().await.asked();
    assert_eq!(asked[..2], [1, 64]);
    assert!(asked[2] < 64 && asked.iter().sum::<usize>() < CHUNKS * 3 / 2, "{asked:?}");
}
