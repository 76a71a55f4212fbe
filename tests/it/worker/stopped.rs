//! That a worker ends by itself, whoever does not answer.

use std::time::Duration;

use futures::future::join_all;
use wasmproxy::{
    mqtt::{ConnectionState, Credentials, SessionEnd, VersionPreference},
    protocol::ChunkSize,
    registry::Reference,
    worker::{Progress, Worker},
};

use super::{
    channel::{CHUNK, Channel, until, until_listening},
    gated::Gated,
};
use crate::{
    lab::{Direction, FaultProxy},
    modules::module,
    waiting::soon,
};

const VERSIONS: [VersionPreference; 2] = [VersionPreference::V311, VersionPreference::V5];

/// Longer than any test: nothing ends because somebody who does not answer is given up. What is left are the times that an end
/// may take, which together are less than is promised.
const NEVER: Duration = Duration::from_secs(3600);

/// A channel whose broker is behind what gets in the way.
struct Obstructed {
    channel: Channel,
    proxy: FaultProxy,
}

impl Obstructed {
    async fn start(version: VersionPreference) -> Self {
        let mut channel = Channel::start().await;
        let proxy = FaultProxy::to(&channel.broker.host()).await;
        channel.config.broker.url = format!("mqtt://{}", proxy.host).parse().unwrap();
        channel.config.broker.version = version;
        (channel.config.broker.timeout, channel.config.registry.timeout) = (NEVER, NEVER);
        Self { channel, proxy }
    }

    async fn listening(&self) -> Worker {
        let worker = self.channel.worker();
        soon("a connection", until_listening(&worker)).await;
        worker
    }

    /// Declares a module of so many chunks, and waits until some of it is on its way.
    async fn streaming(&mut self, chunks: usize) -> Worker {
        self.channel.registry.push("wasm/add:1", module(CHUNK * chunks)).await;
        self.channel.declare("wasm/add:1");
        let worker = self.listening().await;
        let reference = self.channel.reference("wasm/add:1");
        soon("chunks", until(&worker, &reference, |artifact| artifact.published > 0)).await;
        worker
    }

    /// Whether the broker has kept a session: what is asked now is heard by the next worker.
    async fn has_session(&mut self) -> bool {
        self.proxy.heal();
        let mut listener = self.channel.listen_to("registry/server/error").await;
        self.channel.config.artifacts.clear();
        let asked = |name: &str| format!(r#"{{"app_name": "other.example/{name}", "device": "d"}}"#);
        listener.ask(&asked("before")).await;
        let worker = self.listening().await;
        listener.ask(&asked("after")).await;
        let heard = soon("a notice", listener.hear_an_error()).await.app_name;
        worker.stop(SessionEnd::Discard).await;
        heard == "other.example/before"
    }
}

/// Stops a worker in the state that it is in.
async fn stop(state: &str, worker: Worker) {
    soon(&format!("the end of a worker: {state}"), worker.stop(SessionEnd::Discard)).await;
}

/// The same in both versions of MQTT at once.
async fn in_every_version(test: impl AsyncFn(VersionPreference)) {
    join_all(VERSIONS.iter().map(|version| test(*version))).await;
}

#[tokio::test]
async fn a_worker_ends_before_the_broker_has_answered() {
    in_every_version(async |version| {
        let silent = Obstructed::start(version).await;
        silent.proxy.stall_all();
        let worker = silent.channel.worker();
        silent.proxy.more_than(0).await;
        stop("a broker that does not answer", worker).await;

        let closing = Obstructed::start(version).await;
        closing.proxy.refuse(true);
        let worker = closing.channel.worker();
        closing.proxy.more_than(2).await;
        stop("a broker that hangs up", worker).await;
    })
    .await;
}

#[tokio::test]
async fn a_worker_ends_while_the_connection_hangs() {
    in_every_version(async |version| {
        let mut idle = Obstructed::start(version).await;
        let worker = idle.listening().await;
        idle.proxy.stall();
        stop("nothing under way", worker).await;
        assert!(!idle.has_session().await, "{version:?}: a new connection could have ended it");

        let mut streaming = Obstructed::start(version).await;
        let worker = streaming.streaming(5000).await;
        streaming.proxy.stall();
        stop("a pass under way", worker).await;
        assert!(!streaming.has_session().await, "{version:?}: a new connection could have ended it");
    })
    .await;
}

#[tokio::test]
async fn a_worker_ends_while_nobody_can_connect_any_more() {
    in_every_version(async |version| {
        let mut gone = Obstructed::start(version).await;
        let worker = gone.streaming(5000).await;
        gone.proxy.stall_all();
        stop("a broker that is stalled", worker).await;

        let mut away = Obstructed::start(version).await;
        let worker = away.streaming(5000).await;
        away.proxy.refuse(true);
        away.proxy.cut();
        let lost = |progress: &Progress| !matches!(progress.broker, Some(ConnectionState::Connected { .. }));
        soon("the loss", worker.progress().wait_for(lost)).await.unwrap();
        stop("between two attempts to connect", worker).await;
    })
    .await;
}

#[tokio::test]
async fn a_worker_ends_while_it_is_told_something_else() {
    in_every_version(async |version| {
        for hangs in [false, true] {
            let mut rotating = Obstructed::start(version).await;
            let worker = rotating.streaming(5000).await;
            if hangs {
                rotating.proxy.stall_all();
            }
            let mut config = rotating.channel.config.clone();
            config.broker.credentials = Some(Credentials { username: "another".into(), password: None });
            worker.reconfigure(config);
            stop("other credentials", worker).await;

            let mut moving = Obstructed::start(version).await;
            let worker = moving.streaming(5000).await;
            if hangs {
                moving.proxy.stall_all();
            }
            let mut config = moving.channel.config.clone();
            config.broker.client_id = "another".into();
            worker.reconfigure(config);
            // Whether that has begun or not.
            tokio::task::yield_now().await;
            stop("another channel", worker).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_worker_ends_while_the_registry_says_nothing() {
    let mut mute = Obstructed::start(VersionPreference::Auto).await;
    let registry = FaultProxy::to(&mute.channel.registry.host()).await;
    mute.channel.take_from(&registry.host);
    mute.channel.declare("wasm/add:1").reference = Reference::parse("wasm/add:1", &registry.host).unwrap();
    registry.stall_all();
    let worker = mute.listening().await;
    registry.more_than(0).await;
    stop("a registry that does not answer", worker).await;

    let mut halfway = Obstructed::start(VersionPreference::Auto).await;
    let registry = Gated::start(module(CHUNK * 20)).await;
    halfway.channel.take_from(&registry.host);
    let reference = Reference::parse("wasm/add:1", &registry.host).unwrap();
    halfway.channel.declare("wasm/add:1").reference = reference.clone();
    registry.release(CHUNK * 10);
    let worker = halfway.listening().await;
    soon("a half", until(&worker, &reference, |artifact| artifact.published == 10)).await;
    stop("a registry that stalls in the middle", worker).await;
}

#[tokio::test]
async fn a_worker_ends_while_a_large_chunk_is_on_a_slow_link() {
    in_every_version(async |version| {
        let mut slow = Obstructed::start(version).await;
        slow.channel.config.chunk_size = ChunkSize::new(1_000_000).unwrap();
        slow.channel.registry.push("wasm/add:1", module(8_000_000)).await;
        slow.channel.declare("wasm/add:1");
        let worker = slow.listening().await;
        // A chunk takes half a minute.
        slow.proxy.throttle(50_000);
        slow.proxy.until_sent(Direction::ToServer, 100_000).await;
        stop("a large chunk", worker).await;
        assert!(!slow.has_session().await, "{version:?}: a new connection could have ended it");
    })
    .await;
}
