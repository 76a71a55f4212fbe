//! The access list of docs/protocol.md, in a real broker: everything works, and nobody may do more than that.

use tempfile::TempDir;
use tokio::sync::mpsc;
use wasmproxy::{
    device::{FetchError, FetchOptions, Listen},
    mqtt::{Client, Credentials, Message, MqttOptions, Publish, PublishError, Qos, connect},
    protocol::{DeviceName, ErrorCode, TopicPrefix, Topics, request::Wanted},
    worker::Worker,
};

use super::block;
use crate::{
    lab::BrokerConfig,
    modules::module,
    old_device::{Access, OldDevice},
    waiting::{connected, taken_in},
    worker::{
        channel::{CHUNK, Channel, until, until_listening},
        fetched::{fetch, options},
    },
};

const PASSWORD: &str = "secret";

/// A device of the plain dialect.
const OLD: &str = "conveyor-7";

/// The channel of the document, with its access list, and a worker.
struct Floor {
    channel: Channel,
    worker: Worker,
    folder: TempDir,
}

impl Floor {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rules = folder.path().join("acl");
        std::fs::write(&rules, block("acl")).unwrap();
        let mut broker = BrokerConfig::default().line(format!("acl_file {}", rules.display()));
        for user in ["worker", OLD, "press-4", "press-5"] {
            broker = broker.user(user, PASSWORD);
        }
        let mut channel = Channel::start_with(broker).await;
        channel.config.prefix = TopicPrefix::of_channel("line-1").unwrap();
        channel.topics = Topics::new(&channel.config.prefix);
        let worker = channel.worker();
        until_listening(&worker).await;
        Self { channel, worker, folder }
    }

    fn options(&self, device: &str) -> FetchOptions {
        FetchOptions { device: device.parse().unwrap(), credentials: credentials(device), ..options(&self.channel) }
    }

    async fn old_device(&self) -> OldDevice {
        let access = Access { port: self.channel.broker.port(), user: Some((OLD, PASSWORD)), ..Access::default() };
        OldDevice::connect(&access, OLD, self.channel.config.prefix.as_str()).await
    }

    /// Somebody who hears whatever the broker lets them hear.
    async fn client(&self, user: &str) -> (Client, mpsc::UnboundedReceiver<Message>) {
        let filter = format!("{}/#", self.channel.config.prefix);
        let (client, messages) = connect(MqttOptions {
            credentials: credentials(user),
            subscriptions: vec![(filter, Qos::AtLeastOnce)],
            ..MqttOptions::new(self.channel.config.broker.url.clone(), format!("{user}-2"))
        })
        .unwrap();
        connected(&client).await;
        (client, taken_in(messages))
    }

    /// Where a device says that it holds a module, and where it hears chunks of its own.
    fn own(&self, device: &str) -> (String, String) {
        let device: DeviceName = device.parse().unwrap();
        (self.channel.topics.receipt(&device).unwrap(), self.channel.topics.device(&device).unwrap())
    }
}

fn credentials(user: &str) -> Option<Credentials> {
    Some(Credentials { username: user.to_owned(), password: Some(PASSWORD.to_owned()) })
}

#[tokio::test]
async fn a_full_device_gets_what_it_asks_for_in_every_way_and_is_counted() {
    let floor = Floor::start().await;
    let file = floor.folder.path().join("module.wasm");
    let ways = [
        (Wanted::Json, Listen::Everything),
        (Wanted::Raw, Listen::Everything),
        (Wanted::Json, Listen::OwnTopic),
        (Wanted::Raw, Listen::OwnTopic),
    ];
    for (number, (format, listen)) in ways.into_iter().enumerate() {
        let name = format!("wasm/add:{number}");
        let pushed = floor.channel.registry.push(&name, module(CHUNK * 5 + number)).await;
        let options = FetchOptions { format, listen, ..floor.options("press-4") };
        let fetched = fetch(&name, &file, &options).await.unwrap();
        assert_eq!((fetched.whole.digest, fetched.receipt), (pushed, Ok(())));
    }
    until(&floor.worker, &floor.channel.reference("wasm/add:1"), |artifact| artifact.receipts == 1).await;
    let refused = fetch("wasm/nothing:1", &file, &floor.options("press-4")).await;
    assert!(matches!(&refused, Err(FetchError::Refused(notice)) if notice.code == ErrorCode::NotFound), "{refused:?}");
}

#[tokio::test]
async fn an_old_device_gets_what_it_asks_for() {
    let floor = Floor::start().await;
    let bytes = module(CHUNK * 5 + 1);
    floor.channel.registry.push("wasm/add:latest", bytes.clone()).await;
    let mut device = floor.old_device().await;
    device.ask("wasm/add").await;
    assert_eq!(device.gather("wasm/add").await, bytes);
}

#[tokio::test]
async fn a_device_says_nothing_in_the_place_of_the_worker_or_of_another() {
    let floor = Floor::start().await;
    let Topics { requests, plain, chunk, raw, complete, error, .. } = &floor.channel.topics;
    let (receipt, own) = floor.own("press-4");
    let (others_receipt, others) = floor.own("press-5");
    let everything = [requests, plain, chunk, raw, complete, error, &receipt, &own, &others_receipt, &others];
    for (user, allowed) in [("press-4", vec![requests, &receipt]), (OLD, vec![requests])] {
        let (client, _) = floor.client(user).await;
        for topic in everything {
            let said = client.publish(Publish::new(topic, "{}", Qos::AtLeastOnce)).await;
            let denied = matches!(said, Err(PublishError::NotAuthorized { .. }));
            assert!(said.is_ok() || denied, "{said:?}");
            assert_eq!(said.is_ok(), allowed.contains(&topic), "{user} on {topic}");
        }
    }
}

#[tokio::test]
async fn a_device_hears_nothing_that_is_for_another() {
    let floor = Floor::start().await;
    floor.channel.registry.push("wasm/add:1", module(CHUNK * 5)).await;
    let (_client, mut heard) = floor.client("press-5").await;
    let (_old_client, mut old_heard) = floor.client(OLD).await;
    let file = floor.folder.path().join("module.wasm");
    let fetches = [("press-4", Listen::OwnTopic), ("press-4", Listen::Everything), ("press-5", Listen::OwnTopic)];
    for (device, listen) in fetches {
        fetch("wasm/add:1", &file, &FetchOptions { listen, ..floor.options(device) }).await.unwrap();
    }
    let mut old = floor.old_device().await;
    old.ask("wasm/add:1").await;
    old.gather("wasm/add:1").await;

    // What was said before has come when the last chunks have that each may hear.
    let Topics { plain, chunk, complete, error, .. } = &floor.channel.topics;
    let (_, own) = floor.own("press-5");
    let mut chunks = 0;
    while chunks < 5 {
        let topic = heard.recv().await.unwrap().topic;
        assert!([chunk, complete, error, &own].contains(&&topic), "press-5 heard {topic}");
        chunks += usize::from(topic == own);
    }
    chunks = 0;
    while chunks < 5 {
        let topic = old_heard.recv().await.unwrap().topic;
        assert!([plain, chunk, complete, error].contains(&&topic), "{OLD} heard {topic}");
        chunks += usize::from(topic == *plain);
    }
}
