//! Messages of all kinds, over connections that are cut anywhere.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use fastrand::Rng;
use futures::future::join_all;
use tokio::sync::mpsc;
use wasmproxy::mqtt::{
    Client, ConnectionState, Message, MqttOptions, Publish, Qos, SessionEnd, VersionPreference, connect,
};

use super::{CHUNK, KEPT, VERSIONS, connected, options, payload, soon, subscriber};
use crate::{
    lab::{Broker, Direction, FaultProxy},
    waiting::taken_in,
};

/// Messages in a round.
const MESSAGES: usize = 16;
/// More would mean longer pauses.
const ROUNDS: usize = 2;

/// A client whose connections break, and somebody whose do not, and who hears all it says.
struct Scene {
    /// Names the run, to see it again.
    name: String,
    random: Rng,
    proxy: FaultProxy,
    client: Client,
    heard: mpsc::UnboundedReceiver<Message>,
    said: usize,
    _listener: Client,
    _broker: Broker,
}

/// All to one topic, each with its number.
fn message(number: usize, size: usize, qos: Qos) -> Publish {
    Publish::new("t/cuts", payload(number, size), qos)
}

impl Scene {
    async fn set(version: VersionPreference, seed: u64) -> Self {
        let broker = Broker::start().await;
        let (listener, heard) = connect(subscriber(&broker.url(), version, Qos::ExactlyOnce)).unwrap();
        connected(&listener).await;
        let proxy = FaultProxy::to(&broker.host()).await;
        let options = MqttOptions {
            session: KEPT,
            exactly_once: true,
            ..options(&format!("mqtt://{}", proxy.host), "publisher", version)
        };
        let (client, _) = connect(options).unwrap();
        // What follows is no larger, and goes to the same topic, so that the broker is not suspected of refusing it.
        soon("the first", client.publish(message(0, CHUNK, Qos::AtLeastOnce))).await.unwrap();
        let (name, random) = (format!("{version:?}, seed {seed}"), Rng::with_seed(seed));
        Self { name, random, proxy, client, heard: taken_in(heard), said: 0, _listener: listener, _broker: broker }
    }

    /// The next connections, this one included, are cut at random bytes.
    async fn cut(&mut self, times: usize) {
        for _ in 0..times {
            // A round is some 1.5 MB one way, and 500 bytes the other.
            let (direction, longest) =
                if self.random.bool() { (Direction::ToServer, 800_000) } else { (Direction::ToClient, 250) };
            self.proxy.cut_after(direction, [self.random.u64(0..longest)]);
        }
        let mut state = self.client.state();
        self.proxy.cut();
        let cut = state.wait_for(|state| matches!(state, ConnectionState::Connecting { .. }));
        soon("the first cut", cut).await.unwrap();
    }

    /// Publishes messages of all sizes at all qualities of service, until all are acknowledged.
    async fn publish(&mut self) -> Vec<Publish> {
        let messages: Vec<_> = (0..MESSAGES)
            .map(|_| {
                self.said += 1;
                let qos = Qos::try_from(self.random.u8(0..3)).unwrap();
                let size = if self.random.u8(0..8) == 0 { CHUNK } else { self.random.usize(8..5_000) };
                message(self.said, size, qos)
            })
            .collect();
        let acks = soon("all", join_all(messages.iter().map(|message| self.client.publish(message.clone())))).await;
        assert!(acks.iter().all(Result::is_ok), "{}: {acks:?}", self.name);
        messages
    }

    /// How often each was heard. Nothing else may have been.
    async fn count(mut self, published: &[Publish]) -> Vec<usize> {
        let end = payload(self.said + 1, 8);
        // What comes after all else has arrived as often as it ever will.
        soon("the last", self.client.publish(Publish::new("t/cuts", end.clone(), Qos::ExactlyOnce))).await.unwrap();
        let mut heard: HashMap<Bytes, usize> = HashMap::new();
        loop {
            match soon("a message", self.heard.recv()).await.unwrap().payload {
                payload if payload == end => break,
                payload => *heard.entry(payload).or_default() += 1,
            }
        }
        self.client.disconnect(SessionEnd::Discard, Duration::from_secs(20)).await;
        heard.remove(&payload(0, CHUNK));
        let times = published.iter().map(|message| heard.remove(&message.payload).unwrap_or_default()).collect();
        assert!(heard.is_empty(), "{}: something else arrived", self.name);
        times
    }
}

/// Cuts one connection, and the next one when all is acknowledged.
async fn one_after_the_other(version: VersionPreference, seed: u64) {
    let mut scene = Scene::set(version, seed).await;
    let name = scene.name.clone();
    let mut published = Vec::new();
    for _ in 0..ROUNDS {
        scene.cut(1).await;
        published.extend(scene.publish().await);
    }
    let times = scene.count(&published).await;
    for (number, (message, times)) in (1..).zip(published.iter().zip(times)) {
        match message.qos {
            Qos::AtMostOnce => {}
            Qos::AtLeastOnce => assert!(times >= 1, "{name}: {number} is missing"),
            Qos::ExactlyOnce => assert_eq!(times, 1, "{name}: {number}"),
        }
    }
}

/// Cuts connections before those before them are made good.
async fn at_once(version: VersionPreference, seed: u64) {
    let mut scene = Scene::set(version, seed).await;
    let name = scene.name.clone();
    scene.cut(3).await;
    let published = scene.publish().await;
    let times = scene.count(&published).await;
    for (number, (message, times)) in (1..).zip(published.iter().zip(times)) {
        assert!(message.qos == Qos::AtMostOnce || times >= 1, "{name}: {number} is missing");
    }
}

/// One that is said, to see the same again, or some.
fn seeds() -> Vec<u64> {
    match std::env::var("WASMPROXY_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..5).map(|_| fastrand::u64(..)).collect(),
    }
}

#[tokio::test]
async fn what_is_acknowledged_arrives_and_at_qos_2_once_wherever_a_connection_is_cut() {
    join_all(seeds().into_iter().flat_map(|seed| VERSIONS.map(|version| one_after_the_other(version, seed)))).await;
}

#[tokio::test]
async fn what_is_acknowledged_arrives_wherever_connections_in_a_row_are_cut() {
    join_all(seeds().into_iter().flat_map(|seed| VERSIONS.map(|version| at_once(version, seed)))).await;
}
