//! What it costs when a thousand devices ask for one module.

use std::time::Duration;

use crate::{
    device::Device,
    samples::Results,
    stage::{MIB, Stage},
    worker::PREFIX,
};

const DEVICES: usize = 1000;

/// Half of them ask at once, half while the first are being served. All that is published after that is counted, and what
/// the registry's log has of downloads.
pub async fn ask_for_one(stage: &Stage, results: &mut Results) {
    const SIZE: usize = 64 * MIB;
    let mut device = Device::connect(stage.broker.port(), PREFIX);
    let worker = stage.worker();
    let names = stage.push(SIZE, 1).await;
    device.ask_as(&names[0], 0..DEVICES / 2);
    device.until_heard(1);
    device.ask_as(&names[0], DEVICES / 2..DEVICES);
    let (chunks, _) = device.until_silent(Duration::from_secs(2));
    let (repository, _) = names[0].split_once(':').unwrap();
    let downloads = format!("\"GET /v2/{repository}/blobs/");
    let downloads = stage.registry.server().log().matches(&downloads).count();
    let of_one = SIZE.div_ceil(crate::stage::CHUNK_SIZE as usize);
    results.add("1,000 devices: downloads", downloads as f64);
    results.add("1,000 devices: chunks, of one pass", (chunks + 1) as f64 / of_one as f64);
    drop(worker);
}
