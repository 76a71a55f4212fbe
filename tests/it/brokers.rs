//! The same promises with brokers of several makers, in every version of MQTT and at every quality of service that they
//! have. What sets them apart is in docs/brokers.md.

use std::path::PathBuf;

use futures::future::join_all;
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinHandle};
use wasmproxy::{
    device::{self, Asked, Event, FetchError, FetchOptions, Fetched},
    mqtt::{BrokerUrl, Qos, SessionEnd, VersionPreference},
    protocol::TopicPrefix,
    worker::{Progress, Worker, WorkerConfig},
};

use crate::{
    lab::{Broker, Direction, FaultProxy, Maker, Registry},
    modules::module,
    old_device::{Access, OldDevice},
    waiting::soon,
    worker::channel::{CHUNK, Channel, until_listening},
};

const NAME: &str = "wasm/add:1";
/// More chunks than a device asks for at once.
const SIZE: usize = 99 * CHUNK + 1;

/// A channel of its own on a maker's broker.
struct Floor {
    broker: &'static Broker,
    _registry: Registry,
    module: Vec<u8>,
    config: WorkerConfig,
    folder: TempDir,
}

impl Floor {
    /// With a module in its registry.
    async fn on(maker: Maker, version: VersionPreference, qos: Qos) -> Self {
        let (broker, registry) = tokio::join!(Broker::shared(maker), Registry::start());
        let channel: String = std::iter::repeat_with(fastrand::alphanumeric).take(12).collect();
        let mut config = Channel::config(broker, &registry, &TopicPrefix::of_channel(&channel).unwrap());
        (config.broker.client_id, config.broker.version, config.broker.qos) = (channel, version, qos);
        let module = module(SIZE);
        registry.push(NAME, module.clone()).await;
        Self { broker, _registry: registry, module, config, folder: tempfile::tempdir().unwrap() }
    }

    async fn worker(&self) -> Worker {
        let worker = Worker::start(self.config.clone(), Progress::default());
        soon("a worker that listens", until_listening(&worker)).await;
        worker
    }

    async fn old_device(&self) -> OldDevice {
        let id = format!("old{}", self.config.broker.client_id);
        let access = Access { port: self.broker.port(), ..Access::default() };
        OldDevice::connect(&access, &id, self.config.prefix.as_str()).await
    }

    /// A device of the same version and quality of service, by its own way to the broker.
    fn device(&self, url: &BrokerUrl) -> Device {
        let options = FetchOptions {
            version: self.config.broker.version,
            qos: self.config.broker.qos,
            ..FetchOptions::new(url.clone(), self.config.prefix.clone(), "press-4".parse().unwrap())
        };
        let file = self.folder.path().join("module.wasm");
        let (seen, events) = watch::channel(Vec::new());
        let to = file.clone();
        let running = tokio::spawn(async move {
            let see = |event| seen.send_modify(|events: &mut Vec<Event>| events.push(event));
            device::fetch(&NAME.parse().unwrap(), &to, &options, see).await
        });
        Device { running, events, file }
    }
}

/// A device of the full dialect.
struct Device {
    running: JoinHandle<Result<Fetched, FetchError>>,
    events: watch::Receiver<Vec<Event>>,
    file: PathBuf,
}

impl Device {
    /// What it has in the end.
    async fn end(&mut self) -> Vec<u8> {
        soon("the module", &mut self.running).await.unwrap().unwrap();
        std::fs::read(&self.file).unwrap()
    }

    async fn sees(&self, what: impl Fn(&Event) -> bool) {
        let mut events = self.events.clone();
        soon("an event", events.wait_for(|events| events.iter().any(&what))).await.unwrap();
    }

    fn has_asked_by_number(&self) -> bool {
        self.events.borrow().iter().any(|event| matches!(event, Event::Asked { what: Asked::Chunks(_), .. }))
    }
}

async fn modules_arrive_at_devices_of_both_kinds(maker: Maker) {
    for version in maker.versions() {
        for qos in maker.qualities(*version) {
            let floor = Floor::on(maker, *version, *qos).await;
            let _worker = floor.worker().await;
            let mut old = floor.old_device().await;
            old.ask(NAME).await;
            assert!(soon("the module", old.gather(NAME)).await == floor.module, "{version:?}, {qos:?}");
            let mut full = floor.device(&floor.config.broker.url);
            assert!(full.end().await == floor.module, "{version:?}, {qos:?}");
        }
    }
}

async fn what_is_asked_while_the_worker_is_away_is_answered(maker: Maker) {
    for version in maker.versions() {
        let floor = Floor::on(maker, *version, Qos::AtMostOnce).await;
        floor.worker().await.stop(SessionEnd::Keep).await;
        let mut old = floor.old_device().await;
        old.ask(NAME).await;
        let mut full = floor.device(&floor.config.broker.url);
        full.sees(|event| matches!(event, Event::Asked { .. })).await;
        let _worker = floor.worker().await;
        assert!(soon("the module", old.gather(NAME)).await == floor.module, "{version:?}");
        assert!(full.end().await == floor.module, "{version:?}");
    }
}

async fn what_is_lost_at_quality_of_service_0_is_asked_for_by_number(maker: Maker) {
    join_all(maker.versions().iter().map(|version| async move {
        let floor = Floor::on(maker, *version, Qos::AtMostOnce).await;
        let _worker = floor.worker().await;
        let proxy = FaultProxy::to(&floor.broker.host()).await;
        // In the middle of a chunk, on whichever connection brings any: those that only find the version do not.
        proxy.cut_after(Direction::ToClient, [SIZE as u64 / 2; 4]);
        let mut full = floor.device(&format!("mqtt://{}", proxy.host).parse().unwrap());
        assert!(full.end().await == floor.module, "{version:?}");
        assert!(full.has_asked_by_number(), "{version:?}");
    }))
    .await;
}

macro_rules! with_every_maker {
    ($($promise:ident),+) => {
        with_every_maker!(mosquitto, Mosquitto: $($promise),+);
        with_every_maker!(mochi, Mochi: $($promise),+);
        with_every_maker!(rabbitmq, RabbitMq: $($promise),+);
    };
    ($module:ident, $maker:ident: $($promise:ident),+) => {
        mod $module {
            $(
                #[tokio::test]
                async fn $promise() {
                    super::$promise(super::Maker::$maker).await;
                }
            )+
        }
    };
}

with_every_maker!(
    modules_arrive_at_devices_of_both_kinds,
    what_is_asked_while_the_worker_is_away_is_answered,
    what_is_lost_at_quality_of_service_0_is_asked_for_by_number
);
