//! What throughput and memory depend upon: the points of the plots.

use crate::{
    device::Device,
    raw::{Plan, RawPublisher},
    samples::Results,
    stage::{MIB, Stage},
    throughput::{ask, rate, raw, rest},
    worker::{PREFIX, Settings, Worker},
};

/// Modules of these sizes, in MiB: raw, from the registry, from the cache; and what a worker of their own takes.
pub async fn module_sizes(stage: &Stage, sizes: &[usize], runs: usize, window: usize, results: &mut Results) {
    let mut device = Device::connect(stage.broker.port(), PREFIX);
    for &mib in sizes {
        let size = mib * MIB;
        let mut publisher = RawPublisher::start(stage.plan(size, window));
        for _ in 0..runs {
            let worker = Worker::start(&Settings { pace: "1T", ..stage.settings() });
            let names = stage.push(size, 1).await;
            results.add_to("size/raw", mib as f64, rate(size, raw(&device, &mut publisher)));
            for from in ["registry", "cache"] {
                let (delivery, _) = ask(&mut device, &worker, &names);
                results.add_to(&format!("size/{from}"), mib as f64, rate(size, delivery));
                rest(delivery);
            }
            results.add_to("size/memory", mib as f64, worker.peak_memory() as f64 / MIB as f64);
        }
    }
}

/// Chunks of these sizes, in bytes: a module raw, and from the cache.
pub async fn chunk_sizes(stage: &Stage, sizes: &[u32], runs: usize, window: usize, results: &mut Results) {
    const SIZE: usize = 64 * MIB;
    let mut device = Device::connect(stage.broker.port(), PREFIX);
    let names = stage.push(SIZE, 1).await;
    for &chunk_size in sizes {
        let kilobytes = f64::from(chunk_size) / 1e3;
        let mut publisher = RawPublisher::start(Plan { chunk_size, ..stage.plan(SIZE, window) });
        let worker = Worker::start(&Settings { pace: "1T", chunk_size, ..stage.settings() });
        rest(ask(&mut device, &worker, &names).0);
        for _ in 0..runs {
            results.add_to("chunk/raw", kilobytes, rate(SIZE, raw(&device, &mut publisher)));
            let (delivery, _) = ask(&mut device, &worker, &names);
            results.add_to("chunk/cache", kilobytes, rate(SIZE, delivery));
            rest(delivery);
        }
        results.add_to("chunk/memory", kilobytes, worker.peak_memory() as f64 / MIB as f64);
    }
}

/// Windows of so many chunks: a module raw, on this machine, and over a port that leads over a link.
pub fn windows(stage: &Stage, link: u16, runs: usize, results: &mut Results) {
    let device = Device::connect(stage.broker.port(), PREFIX);
    for window in [1, 2, 3, 4, 6, 8, 10] {
        let mut near = RawPublisher::start(stage.plan(64 * MIB, window));
        let mut far = RawPublisher::start(Plan { port: link, ..stage.plan(4 * MIB, window) });
        for _ in 0..runs {
            results.add_to("window/near", window as f64, rate(64 * MIB, raw(&device, &mut near)));
        }
        results.add_to("window/far", window as f64, rate(4 * MIB, raw(&device, &mut far)));
    }
}
