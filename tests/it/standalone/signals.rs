//! How the process ends.

use super::Process;
use crate::{
    lab::{Broker, Registry},
    modules::module,
    old_device::{Access, OldDevice},
};

const PREFIX: &str = "channels/floor/messages";

struct Floor {
    broker: Broker,
    registry: Registry,
}

impl Floor {
    async fn start() -> Self {
        let (broker, registry) = tokio::join!(Broker::start(), Registry::start());
        Self { broker, registry }
    }

    async fn worker(&self) -> Process {
        let worker = Process::between(&self.broker, &self.registry);
        worker.line("connected").await;
        worker
    }

    async fn device(&self) -> OldDevice {
        OldDevice::connect(&Access { port: self.broker.port(), ..Access::default() }, "device", PREFIX).await
    }

    /// A worker with a chunk in flight, whose broker does not answer any more.
    async fn stuck(&self) -> (Process, Frozen<'_>) {
        let worker = self.worker().await;
        let device = self.device().await;
        self.registry.push("wasm/large:latest", module(64 << 20)).await;
        device.ask("wasm/large").await;
        worker.line("streaming").await;
        self.broker.server().signal("STOP");
        while unread(self.broker.port()) < 100_000 {
            tokio::task::yield_now().await;
        }
        (worker, Frozen(&self.broker))
    }
}

/// The most bytes that the server on this port has on one connection and has not read, as the kernel says.
fn unread(port: u16) -> u64 {
    let connections = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let local = format!(":{port:04X}");
    // sl, local address, remote address, state, and the queues as `sent:received`.
    let queued = connections.lines().filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let (_, received) = fields.get(4).filter(|_| fields[1].ends_with(&local))?.split_once(':')?;
        u64::from_str_radix(received, 16).ok()
    });
    queued.max().unwrap_or_default()
}

/// A broker that does nothing until this is dropped: it could not even be ended.
struct Frozen<'a>(&'a Broker);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        self.0.server().signal("CONT");
    }
}

#[tokio::test]
async fn what_is_asked_while_it_is_away_is_answered_when_it_is_back() {
    let floor = Floor::start().await;
    let bytes = module(1000);
    floor.registry.push("wasm/add:latest", bytes.clone()).await;
    let mut polite_ends = 0;
    for signal in ["TERM", "INT"] {
        let worker = floor.worker().await;
        let client = worker.line("starting").await["client"].as_str().unwrap().to_owned();
        worker.signal(signal);
        assert_eq!(worker.end().await.code(), Some(0), "{signal}");

        let mut device = floor.device().await;
        device.ask("wasm/add").await;
        let _worker = floor.worker().await;
        assert_eq!(device.gather("wasm/add").await, bytes, "{signal}");

        polite_ends += 1;
        let log = floor.broker.server().log();
        assert_eq!(log.matches(&format!("Client {client} disconnected.")).count(), polite_ends, "{log}");
    }
}

#[tokio::test]
async fn a_broker_that_does_not_answer_does_not_hold_it_up() {
    let floor = Floor::start().await;
    let (worker, _frozen) = floor.stuck().await;
    worker.signal("TERM");
    assert_eq!(worker.end().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let floor = Floor::start().await;
    let (worker, _frozen) = floor.stuck().await;
    worker.signal("TERM");
    worker.line("ending").await;
    worker.signal("TERM");
    assert_eq!(worker.end().await.code(), Some(143));
}
