//! How soon a small module is there.

use crate::{
    device::{Delivery, Device},
    samples::Results,
    stage::Stage,
    throughput::{ask, rest},
    worker::PREFIX,
};

/// Bytes of the small module.
const SIZE: usize = 100_000;
/// The names that it has, asked for in turns: the next pass of the same has to rest.
const NAMES: usize = 20;

/// Asks for a small module that is in the cache, again and again: by tag, which the registry is asked about each time, and
/// by digest. The registry is asked beside, in the same rhythm.
pub async fn small(stage: &Stage, requests: usize, results: &mut Results) {
    let mut device = Device::connect(stage.broker.port(), PREFIX);
    let worker = stage.worker();
    let tags = stage.push(SIZE, NAMES).await;
    let (repository, _) = tags[0].split_once(':').unwrap();
    let digest = stage.registry.manifest_digest(&tags[0]).await;
    let pinned = [format!("{repository}@{digest}")];
    for name in tags.iter().chain(&pinned) {
        rest(ask(&mut device, &worker, std::slice::from_ref(name)).0);
    }
    for number in 0..requests {
        let tag = &tags[number % NAMES..][..1];
        for (by, name) in [("tag", tag), ("digest", &pinned)] {
            let asked = device.ask(name);
            let delivery = device.gather(asked, name);
            results.add(&format!("100 KB by {by}"), delivery.last.as_secs_f64() * 1e3);
            rest(delivery);
        }
        results.add("100 KB, registry's own HEAD", stage.own.head(&tag[0]).await.as_secs_f64() * 1e3);
        rest(Delivery::default());
    }
}
