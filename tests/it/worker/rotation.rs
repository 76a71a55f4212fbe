//! Passwords and certificates that change while chunks are on their way.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::json;
use wasmproxy::{
    digest::Digest,
    mqtt::{ConnectionState, Credentials, FailureKind, VersionPreference},
    protocol::Chunk,
    registry::{self, Reference},
    worker::{FailureReason, Phase, Progress, RegistryState, Worker, WorkerConfig},
};

use super::channel::{CHUNK, Channel, Listener, Said, assembled, digest, until, until_listening, until_published};
use crate::{
    lab::{self, BrokerConfig, FaultProxy, Manner, OddBroker, Pki, RegistryConfig, Transport, User},
    modules::module,
    waiting::soon,
};

const VERSIONS: [VersionPreference; 2] = [VersionPreference::V311, VersionPreference::V5];

/// Publishes in flight at most.
const WINDOW: usize = 4;

const CHUNKS: usize = 600;

fn credentials((username, password): User) -> Option<Credentials> {
    Some(Credentials { username: username.to_owned(), password: Some(password.to_owned()) })
}

/// A channel between a broker that knows these users and a registry, with a declared artifact for old devices and new ones
/// that takes a while: its last 100 chunks at 100 a second. The worker and whoever listens are the first user.
struct Rotation {
    channel: Channel,
    reference: Reference,
    pushed: Digest,
    listener: Listener,
    /// Chunks that the worker has published, in both formats.
    sent: Arc<AtomicUsize>,
    _counting: OddBroker,
}

impl Rotation {
    async fn start(version: VersionPreference, users: &[User]) -> Self {
        let broker = users.iter().fold(BrokerConfig::default(), |config, user| config.user(user.0, user.1));
        let mut channel = Channel::start_with(broker).await;
        let pushed = channel.registry.push("wasm/add:1", module(CHUNK * CHUNKS)).await;
        channel.declare("wasm/add:1").plain = true;
        channel.config.pace = Some(100 * CHUNK as u64);
        channel.config.broker.version = version;
        let listener = channel.listen().await;
        let sent = Arc::<AtomicUsize>::default();
        let (counted, topics) = (sent.clone(), [channel.topics.chunk.clone(), channel.topics.plain.clone()]);
        let counting = OddBroker::before(channel.broker.host(), move |to: &str, _: &[u8]| {
            counted.fetch_add(usize::from(topics.iter().any(|topic| topic == to)), Ordering::Relaxed);
            Manner::Pass
        });
        let counting = counting.await;
        channel.config.broker.url = counting.url.parse().unwrap();
        let reference = channel.reference("wasm/add:1");
        Self { channel, reference, pushed, listener, sent, _counting: counting }
    }

    async fn until_sent(&self, worker: &Worker, chunks: usize) {
        soon("chunks", until(worker, &self.reference, |artifact| artifact.published as usize >= chunks)).await;
    }

    /// Lets the worker be this user.
    fn rotate(&mut self, worker: &Worker, user: User) {
        self.channel.config.broker.credentials = credentials(user);
        worker.reconfigure(self.channel.config.clone());
    }

    /// Hears the pass to its end: all of it, for old devices and new ones, with at most so many chunks said again in each
    /// format.
    async fn complete(&mut self, worker: &Worker, again: usize) {
        let (mut plain, mut full) = (Vec::new(), Vec::new());
        loop {
            match soon("a chunk", self.listener.hear()).await {
                Said::Plain(chunk) => plain.push(chunk),
                Said::Full(chunk) => full.push(chunk),
                Said::Complete(complete) => break assert_eq!(complete.digest, self.pushed),
                other => panic!("{other:?}"),
            }
        }
        for chunks in [&plain, &full] {
            assert_eq!(digest(chunks), self.pushed);
            assert!(most_often(chunks) <= 2, "a chunk was acknowledged more than twice");
            assert!(chunks.len() <= CHUNKS + again, "{} for {CHUNKS}", chunks.len());
        }
        let sent = self.sent.load(Ordering::Relaxed);
        assert!(sent <= 2 * (CHUNKS + again), "{sent} for twice {CHUNKS}");
        let artifact = soon("the end", until_published(worker, &self.reference)).await;
        assert_eq!((artifact.published as usize, artifact.failure), (CHUNKS, None));
        assert_eq!(worker.progress().borrow().totals.failed, 0);
    }
}

/// How often the chunk was said that was said most often.
fn most_often(chunks: &[Chunk]) -> usize {
    let mut said = vec![0; CHUNKS];
    for chunk in chunks {
        said[chunk.index as usize] += 1;
    }
    said.into_iter().max().unwrap()
}

async fn until_refused(worker: &Worker) {
    let refused = |progress: &Progress| match &progress.broker {
        Some(ConnectionState::Connecting { failure: Some(failure), .. }) => failure.kind == FailureKind::Unauthorized,
        _ => false,
    };
    soon("a refusal", worker.progress().wait_for(refused)).await.unwrap();
}

#[tokio::test]
async fn another_user_goes_on_with_the_pass_and_says_no_chunk_twice() {
    for version in VERSIONS {
        let mut rotation = Rotation::start(version, &[("old", "1"), ("new", "2")]).await;
        let worker = rotation.channel.worker();
        rotation.until_sent(&worker, 20).await;
        rotation.rotate(&worker, ("new", "2"));
        rotation.complete(&worker, 0).await;
        rotation.channel.broker.server().until_it_logs("u'new'", 1).await;
    }
}

#[tokio::test]
async fn a_password_that_is_changed_at_the_broker_first_loses_no_chunk() {
    for version in VERSIONS {
        let mut rotation = Rotation::start(version, &[("listener", "1"), ("worker", "old")]).await;
        rotation.channel.config.broker.credentials = credentials(("worker", "old"));
        let worker = rotation.channel.worker();
        rotation.until_sent(&worker, 20).await;
        rotation.channel.broker.change_password("worker", "new");
        // The broker throws it out.
        until_refused(&worker).await;
        rotation.rotate(&worker, ("worker", "new"));
        rotation.complete(&worker, WINDOW).await;
    }
}

#[tokio::test]
async fn a_password_that_is_wrong_is_said_to_be_and_the_right_one_goes_on_with_the_pass() {
    for version in VERSIONS {
        let mut rotation = Rotation::start(version, &[("old", "1"), ("new", "2")]).await;
        let worker = rotation.channel.worker();
        rotation.until_sent(&worker, 20).await;
        rotation.rotate(&worker, ("new", "wrong"));
        until_refused(&worker).await;
        rotation.rotate(&worker, ("new", "2"));
        rotation.complete(&worker, 0).await;
    }
}

#[tokio::test]
async fn ten_rotations_in_a_row_cost_a_pass_little() {
    const USERS: [User; 11] = [
        ("u0", "0"),
        ("u1", "1"),
        ("u2", "2"),
        ("u3", "3"),
        ("u4", "4"),
        ("u5", "5"),
        ("u6", "6"),
        ("u7", "7"),
        ("u8", "8"),
        ("u9", "9"),
        ("u10", "10"),
    ];
    for version in VERSIONS {
        let mut rotation = Rotation::start(version, &USERS).await;
        let worker = rotation.channel.worker();
        for (number, user) in USERS.into_iter().enumerate().skip(1) {
            // Some in the middle of another, some not.
            if number % 3 == 0 {
                rotation.until_sent(&worker, 20 * number).await;
            }
            rotation.rotate(&worker, user);
            tokio::task::yield_now().await;
        }
        rotation.complete(&worker, WINDOW).await;
        rotation.channel.broker.server().until_it_logs("u'u10'", 1).await;
    }
}

#[tokio::test]
async fn another_client_certificate_goes_on_with_the_pass() {
    for version in VERSIONS {
        let broker = BrokerConfig::default().transport(Transport::MutualTls).line("use_identity_as_username true");
        let mut channel = Channel::start_with(broker).await;
        channel.registry.push("wasm/add:1", module(CHUNK * CHUNKS)).await;
        channel.declare("wasm/add:1");
        (channel.config.pace, channel.config.broker.version) = (Some(100 * CHUNK as u64), version);
        let mut listener = channel.listen().await;
        let worker = channel.worker();
        let reference = channel.reference("wasm/add:1");
        until(&worker, &reference, |artifact| artifact.published >= 20).await;
        channel.config.broker.tls.identity = Some(Pki::within(channel.broker.pki()).issue("renewed", "DNS:localhost"));
        worker.reconfigure(channel.config.clone());
        let (chunks, _) = soon("the pass", listener.hear_a_pass()).await;
        assert_eq!(chunks.len(), CHUNKS, "{version:?}");
        assert!(assembled(&chunks) == module(CHUNK * CHUNKS));
        channel.broker.server().until_it_logs("u'renewed'", 1).await;
    }
}

#[tokio::test]
async fn what_is_asked_for_between_two_credentials_is_answered() {
    for version in VERSIONS {
        let mut channel = Channel::start_with(BrokerConfig::default().user("old", "1").user("new", "2")).await;
        channel.registry.push("wasm/add:1", module(CHUNK * 3)).await;
        let mut listener = channel.listen().await;
        let proxy = FaultProxy::to(&channel.broker.host()).await;
        channel.config.broker.url = format!("mqtt://{}", proxy.host).parse().unwrap();
        channel.config.broker.version = version;
        let worker = channel.worker();
        until_listening(&worker).await;
        proxy.refuse(true);
        channel.config.broker.credentials = credentials(("new", "2"));
        worker.reconfigure(channel.config.clone());
        let gone = |progress: &Progress| !matches!(progress.broker, Some(ConnectionState::Connected { .. }));
        soon("the gap", worker.progress().wait_for(gone)).await.unwrap();
        listener.ask(&json!({"app_name": "wasm/add:1", "device": "press-4"}).to_string()).await;
        proxy.refuse(false);
        let (chunks, _) = soon("the answer", listener.hear_a_pass()).await;
        assert_eq!(assembled(&chunks), module(CHUNK * 3), "{version:?}");
    }
}

/// A channel whose registry wants a password, behind what makes a transfer last until the test has done its part.
struct Guarded {
    channel: Channel,
    registry: lab::Registry,
    proxy: FaultProxy,
    reference: Reference,
}

impl Guarded {
    async fn start() -> Self {
        let mut channel = Channel::start().await;
        let registry = RegistryConfig::default().user("worker", "old").start().await;
        registry.push("wasm/add:1", module(CHUNK * CHUNKS)).await;
        let proxy = FaultProxy::to(&registry.host()).await;
        channel.take_from(&proxy.host);
        let reference = Reference::parse("wasm/add:1", &proxy.host).unwrap();
        channel.declare("wasm/add:1").reference = reference.clone();
        // Twenty seconds for all of it.
        proxy.throttle(CHUNK as u64 * 30);
        let mut guarded = Self { channel, registry, proxy, reference };
        guarded.be("old");
        guarded
    }

    /// Gives the worker this password for the registry.
    fn be(&mut self, password: &str) {
        let (username, password) = ("worker".to_owned(), password.to_owned());
        self.channel.config.registry.credentials = registry::Credentials::Basic { username, password };
    }

    /// Breaks the transfer, which has to go on by another connection.
    fn interrupt(&self) {
        self.proxy.throttle(None);
        self.proxy.cut();
    }

    /// Hears the whole pass, each chunk once, and that the registry has sent it in two parts.
    async fn complete(&self, worker: &Worker, listener: &mut Listener) {
        let (chunks, _) = soon("the pass", listener.hear_a_pass()).await;
        assert_eq!(chunks.len(), CHUNKS);
        assert!(assembled(&chunks) == module(CHUNK * CHUNKS));
        assert!(!self.proxy.lines("range: bytes=").is_empty(), "the transfer was resumed");
        soon("the end", until_published(worker, &self.reference)).await;
        assert_eq!(worker.progress().borrow().totals.failed, 0);
        worker.progress().wait_for(|progress| progress.registry == RegistryState::Ready).await.unwrap();
    }
}

#[tokio::test]
async fn a_transfer_goes_on_with_the_registrys_new_password() {
    let mut guarded = Guarded::start().await;
    let mut listener = guarded.channel.listen().await;
    let worker = guarded.channel.worker();
    until(&worker, &guarded.reference, |artifact| artifact.published >= 20).await;
    guarded.registry.change_password("new");
    guarded.be("new");
    worker.reconfigure(WorkerConfig { generation: 2, ..guarded.channel.config.clone() });
    worker.progress().wait_for(|progress| progress.generation == 2).await.unwrap();
    guarded.interrupt();
    guarded.complete(&worker, &mut listener).await;

    // And so does what begins anew.
    let missing = json!({
        "app_name": "wasm/add:1", "device": "press-4", "digest": Digest::of(&module(CHUNK * CHUNKS)),
        "chunk_size": CHUNK, "chunks": [[7, 7]],
    });
    listener.ask(&missing.to_string()).await;
    assert!(
        matches!(soon("a chunk", listener.hear()).await, Said::Device(device, chunk) if device == "press-4" && chunk.index == 7)
    );
}

#[tokio::test]
async fn a_transfer_that_is_refused_in_the_middle_waits_for_the_new_password_and_says_so() {
    for cached in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let mut guarded = Guarded::start().await;
        guarded.channel.config.registry.cache = cached.then(|| registry::Cache::open(folder.path(), 1 << 30).unwrap());
        let mut listener = guarded.channel.listen().await;
        let worker = guarded.channel.worker();
        until(&worker, &guarded.reference, |artifact| artifact.published >= 20).await;
        guarded.registry.change_password("new");
        guarded.interrupt();
        let refused = |progress: &Progress| match &progress.registry {
            RegistryState::Failed(failure) => failure.reason == FailureReason::RegistryUnauthorized,
            _ => false,
        };
        soon("the refusal", worker.progress().wait_for(refused)).await.unwrap();
        let artifact = until(&worker, &guarded.reference, |_| true).await;
        assert_eq!((artifact.phase, artifact.failure), (Phase::Streaming, None));
        guarded.be("new");
        worker.reconfigure(guarded.channel.config.clone());
        guarded.complete(&worker, &mut listener).await;
    }
}
