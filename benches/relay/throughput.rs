//! How fast modules go out, beside how fast the same chunks go that are ready.

use std::{thread, time::Duration};

use crate::{
    device::{Delivery, Device},
    raw::{Plan, RawPublisher},
    samples::Results,
    stage::{MIB, Stage},
    wire::Version,
    worker::{PREFIX, Settings, Worker},
};

/// MB/s of a module's bytes.
pub fn rate(bytes: usize, delivery: Delivery) -> f64 {
    bytes as f64 / 1e6 / delivery.last.as_secs_f64()
}

/// Has a raw publisher go once; returns what the device heard.
pub fn raw(device: &Device, publisher: &mut RawPublisher) -> Delivery {
    let begun = publisher.go();
    let delivery = device.gather(begun, &publisher.plan.names());
    publisher.acknowledged();
    delivery
}

/// Asks the worker, and waits until all is there; returns what the device heard, and the worker's CPU seconds.
pub fn ask(device: &mut Device, worker: &Worker, names: &[String]) -> (Delivery, f64) {
    let cpu = worker.cpu();
    let asked = device.ask(names);
    let delivery = device.gather(asked, names);
    // The last acknowledgements, and what the worker does when all is sent.
    thread::sleep(Duration::from_millis(30));
    (delivery, (worker.cpu() - cpu).as_secs_f64())
}

/// Waits until what was delivered so may be asked for again: it rests for as long as it took, to the last acknowledgement.
///
/// That one is late, as is a request that is made just then: mosquitto leaves Nagle's algorithm on and keeps back what is
/// small until the worker's kernel has acknowledged what was before, which takes its time where nothing else is to be said.
pub fn rest(delivery: Delivery) {
    thread::sleep(delivery.last + LATE);
}

/// Linux acknowledges after 40 ms at the latest, and there are two things that may wait for that.
const LATE: Duration = Duration::from_millis(120);

/// A module of 64 MiB: raw, from the registry, from the cache; in turns.
pub async fn module(stage: &Stage, runs: usize, window: usize, results: &mut Results) {
    const SIZE: usize = 64 * MIB;
    let mut device = Device::connect(stage.broker.port(), PREFIX);
    let worker = stage.worker();
    let mut publisher = RawPublisher::start(stage.plan(SIZE, window));
    let mut older = RawPublisher::start(Plan { version: Version::V311, ..stage.plan(SIZE, window) });
    raw(&device, &mut publisher);
    for _ in 0..runs {
        let names = stage.push(SIZE, 1).await;
        let delivery = raw(&device, &mut publisher);
        results.add("raw 64 MiB", rate(SIZE, delivery));
        results.add("raw first chunk", delivery.first.as_secs_f64() * 1e3);
        results.add("raw 64 MiB, MQTT 3.1.1", rate(SIZE, raw(&device, &mut older)));
        stage.own_times(&names[0], results).await;
        results.add("registry's own rate", stage.own.rate(&names[0]).await);
        for from in ["registry", "cache"] {
            let (delivery, cpu) = ask(&mut device, &worker, &names);
            results.add(&format!("{from} 64 MiB"), rate(SIZE, delivery));
            results.add(&format!("{from} first chunk"), delivery.first.as_secs_f64() * 1e3);
            results.add(&format!("{from} CPU"), cpu / (SIZE as f64 / 1e9));
            rest(delivery);
        }
    }
}

/// A large module from the cache with the pace off, in turns with the same chunks raw.
pub async fn large(stage: &Stage, size: usize, runs: usize, window: usize, results: &mut Results) {
    let mut device = Device::connect(stage.broker.port(), PREFIX);
    let worker = Worker::start(&Settings { pace: "1T", ..stage.settings() });
    let names = stage.push(size, 1).await;
    let mut publisher = RawPublisher::start(stage.plan(size, window));
    rest(ask(&mut device, &worker, &names).0);
    results.add("large", (size / MIB) as f64);
    for _ in 0..runs {
        results.add("raw large", rate(size, raw(&device, &mut publisher)));
        let (delivery, cpu) = ask(&mut device, &worker, &names);
        results.add("cache large", rate(size, delivery));
        results.add("cache large CPU", cpu / (size as f64 / 1e9));
        rest(delivery);
    }
}

/// Many modules of 1 MiB that are asked for at once: from the registry, from the cache, and raw.
pub async fn many(stage: &Stage, modules: usize, runs: usize, window: usize, results: &mut Results) {
    let mut device = Device::connect(stage.broker.port(), PREFIX);
    let worker = stage.worker();
    let plan = Plan { modules, ..stage.plan(MIB, window) };
    let mut publisher = RawPublisher::start(plan);
    for _ in 0..runs {
        let mut names = Vec::new();
        for _ in 0..modules {
            names.extend(stage.push(MIB, 1).await);
        }
        results.add(&format!("raw {modules} × 1 MiB"), rate(modules * MIB, raw(&device, &mut publisher)));
        for from in ["registry", "cache"] {
            let asked = device.ask(&names);
            let delivery = device.gather_some(asked, &names);
            results.add(&format!("{from} {modules} × 1 MiB, delivered"), delivery.modules as f64);
            results.add(&format!("{from} {modules} × 1 MiB"), rate(delivery.modules * MIB, delivery));
            rest(delivery);
        }
    }
    drop(worker);
}
