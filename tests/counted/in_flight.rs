//! What is on its way, and what is held meanwhile.

use crate::{
    allocator::Peak,
    floor::Floor,
    limits::{HELD, PEAK, WINDOW},
    tap::BrokerTap,
};

const PASSES: usize = 64;

/// Chunks of each module.
const CHUNKS: usize = 2;

#[tokio::test]
async fn no_more_is_in_flight_than_the_window_nor_held_than_the_budget_however_many_passes_there_are() {
    let (mut floor, tap) = Floor::start_with(async |channel| {
        let tap = BrokerTap::to(channel.broker.host()).await;
        channel.config.broker.url = format!("mqtt://{}", tap.host).parse().unwrap();
        channel.config.queue = PASSES;
        tap
    })
    .await;
    let names: Vec<_> = (0..PASSES).map(|index| format!("wasm/module-{index}:1")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    floor.push(&["wasm/alone:1"], PASSES).await;
    floor.push(&names, CHUNKS).await;

    let alone = crowd(&mut floor, &tap, &["wasm/alone:1"], PASSES, "one from the registry").await;
    assert!(alone.chunks >= WINDOW, "chunks in flight are counted: {alone:?}");
    crowd(&mut floor, &tap, &names, PASSES * CHUNKS, "all from the registry").await;
    crowd(&mut floor, &tap, &names, PASSES * CHUNKS, "all from the cache").await;
}

/// Brings modules of so many chunks together, all at once. Acknowledgements come one by one, and only where the window is
/// full: whatever can gather does.
async fn crowd(floor: &mut Floor, tap: &BrokerTap, names: &[&str], chunks: usize, what: &str) -> Peak {
    floor.counter.forget_peak();
    tap.hold();
    floor.ask(names).await;
    for _ in 0..chunks - WINDOW {
        tap.until_in_flight(WINDOW).await;
        tap.allow(1);
    }
    tap.release();
    floor.until_brought(names.len()).await;

    let (most, peak) = (tap.most_in_flight(), floor.counter.peak());
    println!("{what}: {most} in flight, {peak:?}");
    assert!(most <= WINDOW, "{what}: {most} messages are in flight");
    assert!(peak.chunks <= HELD, "{what}: {} chunks are held", peak.chunks);
    assert!(peak.bytes <= PEAK, "{what}: {} bytes are held", peak.bytes);
    peak
}
