//! What the process costs.

use super::Process;
use crate::{
    lab::{Broker, Registry},
    modules::module,
    old_device::{Access, OldDevice},
};

/// How much more the larger module may take, in bytes: what is in flight at once differs by some chunks. The modules differ
/// by 448 MiB.
const TOLERANCE: u64 = 8 << 20;

/// The peak memory of a worker that streams a module of this size, with a cache or without.
async fn peak(size: usize, has_cache: bool) -> u64 {
    let (broker, registry) = tokio::join!(Broker::start(), Registry::start());
    registry.push("wasm/large:latest", module(size)).await;
    let dir = tempfile::tempdir().unwrap();
    let mut command = Process::command(&broker, &registry);
    if has_cache {
        command.env("PROXY_CACHE_DIR", dir.path());
    }
    let worker = Process::run(&mut command);
    worker.line("connected").await;
    let access = Access { port: broker.port(), ..Access::default() };
    let device = OldDevice::connect(&access, "device", "channels/floor/messages").await;
    device.ask("wasm/large").await;
    worker.line("streaming").await;
    // Nobody has to listen for the chunks to leave.
    drop(device);
    worker.line("published").await;
    worker.peak_memory()
}

#[tokio::test]
async fn peak_memory_does_not_grow_with_the_module() {
    for has_cache in [false, true] {
        let (small, large) = tokio::join!(peak(64 << 20, has_cache), peak(512 << 20, has_cache));
        assert!(large <= small + TOLERANCE, "64 MiB took {small} bytes, 512 MiB took {large}");
    }
}
