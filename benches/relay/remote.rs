//! How well a link is filled that is long and narrow.

use crate::{
    device::{Delivery, Device},
    link,
    raw::{Plan, RawPublisher},
    samples::Results,
    stage::{MIB, Stage},
    throughput::{ask, rate, raw, rest},
    worker::{PREFIX, Settings, Worker},
};

/// A module from the cache, over the link to the broker, in turns with the same chunks raw. The registry is near.
pub async fn over_a_link(stage: &Stage, runs: usize, window: usize, results: &mut Results) {
    const SIZE: usize = 8 * MIB;
    let port = link::open(stage.broker.port());
    let url = format!("mqtt://127.0.0.1:{port}");
    let mut device = Device::connect(stage.broker.port(), PREFIX);
    let worker = Worker::start(&Settings { broker: &url, ..stage.settings() });
    let mut publisher = RawPublisher::start(Plan { port, ..stage.plan(SIZE, window) });
    let names = stage.push(SIZE, 1).await;
    rest(ask(&mut device, &worker, &names).0);
    for _ in 0..runs {
        results.add("raw over a link", rate(SIZE, raw(&device, &mut publisher)));
        let (delivery, _) = ask(&mut device, &worker, &names);
        results.add("cache over a link", rate(SIZE, delivery));
        // Its last acknowledgements are on their way, too.
        rest(Delivery { last: delivery.last + 4 * link::ROUND_TRIP, ..delivery });
    }
}
