//! Memory that is asked for, and bytes that are read from the disk, while chunks go by.

use crate::{
    floor::{CHUNK, Floor},
    limits::{FROM_CACHE, FROM_REGISTRY, Limits},
};

/// Enough that what a pass costs besides its chunks does not count.
const CHUNKS: usize = 32;

#[tokio::test]
async fn chunks_cost_no_more_memory_and_bytes_from_the_disk_than_they_may() {
    let mut floor = Floor::start().await;
    // Connections stand, and buffers have grown.
    floor.push(&["wasm/warm:1"], 4).await;
    floor.bring(&["wasm/warm:1"]).await;
    floor.push(&["wasm/add:1"], CHUNKS).await;

    hold(&mut floor, "the registry", &FROM_REGISTRY).await;
    hold(&mut floor, "the cache", &FROM_CACHE).await;
}

/// Brings the module, and holds what that has cost against the limits.
async fn hold(floor: &mut Floor, from: &str, limits: &Limits) {
    let (before, read_before) = (floor.counter.count(), floor.threads.read_bytes());
    floor.bring(&["wasm/add:1"]).await;
    let count = floor.counter.count().since(&before);
    let allocations = count.allocations() as f64 / CHUNKS as f64;
    let bytes = count.bytes as f64 / (CHUNKS * CHUNK) as f64;
    let read = (floor.threads.read_bytes() - read_before) as f64 / (CHUNKS * CHUNK) as f64;
    println!("from {from}, {CHUNKS} chunks: {count}; {read:.2} of it read from the disk");
    assert!(allocations <= limits.allocations, "{allocations:.2} a chunk from {from}: {count}");
    assert!(bytes <= limits.bytes, "{bytes:.2} a byte of a module from {from}: {count}");
    assert!(read <= limits.read, "{read:.2} bytes are read for a byte of a module from {from}");
}
