//! What a worker takes of memory, and how soon it is there.

use std::{thread, time::Duration};

use crate::{
    device::Device,
    samples::Results,
    stage::{MIB, Stage},
    throughput::{ask, rest},
    worker::{PREFIX, Settings, Worker},
};

/// So many modules are asked for at once where it is about many passes.
const PASSES: usize = 64;

/// Of many passes of a large module no more is waited for than this, in bytes: what is under way at once is under way by then.
const ENOUGH: u64 = 4 << 30;

/// Starts workers that have nothing to do.
pub fn idle(stage: &Stage, runs: usize, results: &mut Results) {
    for _ in 0..runs {
        let worker = stage.worker();
        results.add("start to subscribed", worker.until_subscribed.as_secs_f64() * 1e3);
        thread::sleep(Duration::from_millis(500));
        let (all, anonymous) = worker.memory();
        results.add("idle memory", all as f64);
        results.add("idle memory, anonymous", anonymous as f64);
    }
}

/// One module of this size and many at once, each with a worker of its own, first from the registry and then from the cache.
pub async fn peak(stage: &Stage, size: usize, results: &mut Results) {
    let name = size / MIB;
    let names = stage.push(size, PASSES).await;
    let mut device = Device::connect(stage.broker.port(), PREFIX);
    let worker = unpaced(stage);
    for from in ["registry", "cache"] {
        let (delivery, _) = ask(&mut device, &worker, &names[..1]);
        results.add(&format!("peak memory, {name} MiB, {from}"), worker.peak_memory() as f64);
        rest(delivery);
    }
    drop(worker);
    let worker = unpaced(stage);
    device.ask(&names);
    device.until_heard(ENOUGH.min((PASSES * size) as u64));
    results.add(&format!("peak memory, {PASSES} passes of {name} MiB"), worker.peak_memory() as f64);
}

fn unpaced(stage: &Stage) -> Worker {
    Worker::start(&Settings { pace: "1T", ..stage.settings() })
}
