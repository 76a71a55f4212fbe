//! The servers of a run, the worker as a process, and the ways between them.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::Child;

use super::ledger::{Kind, Ledger, module};
use crate::{
    lab::{Broker, BrokerConfig, Direction, FaultProxy, Registry},
    standalone::worker,
};

/// The channel's prefix.
pub const PREFIX: &str = "channels/soak/messages";
/// The module's bytes in a chunk.
pub const CHUNK: usize = 10_000;
/// Sizes of modules around those that matter, in bytes: of a chunk, of what a device asks for at once, of many.
const SIZES: [usize; 9] = [8, 9_999, 10_000, 10_001, 100_000, 300_000, 640_001, 1_500_000, 4_000_000];
/// Tags that move.
const MOVING: usize = 6;
/// Tags for old devices.
const PLAIN: usize = 3;
/// The ways of full devices, and those of old ones, which must not be given another byte than was sent.
pub const LINKS: usize = 6;
pub const OLD_LINKS: usize = 2;

/// The servers, and what stands between them.
pub struct Floor {
    pub broker: Broker,
    pub registry: Registry,
    /// The worker's way to the broker.
    pub to_broker: FaultProxy,
    /// The worker's way to the registry.
    pub to_registry: FaultProxy,
    /// The devices' ways to the broker: of full ones first.
    pub links: Vec<FaultProxy>,
    pub ledger: Ledger,
    worker: Option<Child>,
    /// What stays where a run fails.
    pub folder: PathBuf,
    peak_memory: u64,
}

impl Floor {
    pub async fn start(seed: u64, random: &mut fastrand::Rng) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("soak-{}-{seed}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (broker, registry) = tokio::join!(BrokerConfig::default().persistent().start(), Registry::start());
        let mut links = Vec::new();
        for _ in 0..LINKS + OLD_LINKS {
            links.push(FaultProxy::to(&broker.host()).await);
        }
        let to_broker = FaultProxy::to(&broker.host()).await;
        let to_registry = FaultProxy::to(&registry.host()).await;
        let ledger = Ledger::default();
        let mut floor =
            Self { broker, registry, to_broker, to_registry, links, ledger, worker: None, folder, peak_memory: 0 };
        floor.stock(random).await;
        floor
    }

    /// Pushes what there is at the beginning.
    async fn stock(&mut self, random: &mut fastrand::Rng) {
        for (kind, count) in [(Kind::Moving, MOVING), (Kind::Plain, PLAIN)] {
            for number in 0..count {
                let name = format!("soak/{kind:?}-{number}:1").to_lowercase();
                self.ledger.add(&name, kind);
                self.push(&name, random).await;
            }
        }
        let tag = "soak/pinned:1";
        let bytes = module(SIZES[5], random);
        let digest = self.registry.push(tag, bytes).await;
        let pinned = format!("soak/pinned@{}", self.registry.manifest_digest(tag).await);
        self.ledger.add(&pinned, Kind::Pinned);
        self.ledger.pushed(&pinned, digest, SIZES[5]);

        self.registry.push_layer("soak/odd:1", "text/plain", &b"no module"[..]).await;
        self.ledger.add("soak/odd:1", Kind::Odd);
        self.ledger.add("soak/missing:1", Kind::Missing);
        self.ledger.add("registry.example/soak/moving-0:1", Kind::Denied);
    }

    /// Gives a name another module; mostly of as many chunks as before, since only such could be mixed up.
    pub async fn push(&mut self, name: &str, random: &mut fastrand::Rng) {
        let same = self.ledger.size(name).filter(|_| random.u8(..4) > 0);
        let size = same.unwrap_or_else(|| SIZES[random.usize(..SIZES.len())]);
        let digest = self.registry.push(name, module(size, random)).await;
        self.ledger.pushed(name, digest, size);
    }

    /// Starts the worker, where none runs. It has a cache: what it must know after it was killed is kept there.
    pub fn start_worker(&mut self) {
        if self.worker.is_some() {
            return;
        }
        let (broker, registry) =
            (format!("mqtt://{}", self.to_broker.host), format!("http://{}", self.to_registry.host));
        let cache = self.folder.join("cache").display().to_string();
        let chunk = CHUNK.to_string();
        let variables = [
            ("PROXY_MQTT_ADDRESS", broker.as_str()),
            ("PROXY_REGISTRY_URL", &registry),
            ("PROXY_CHANNEL_ID", "soak"),
            ("PROXY_ENTITY_ID", "soak-worker"),
            ("PROXY_CHUNK_SIZE", &chunk),
            ("PROXY_MQTT_TIMEOUT", "5s"),
            ("PROXY_LOG_LEVEL", "debug"),
            ("PROXY_CACHE_DIR", &cache),
        ];
        let child = worker(&variables).stderr(Stdio::from(self.log())).spawn().unwrap();
        self.worker = Some(child);
    }

    /// Ends the worker: with a signal that it hears (`TERM`), or does not (`KILL`).
    pub async fn end_worker(&mut self, signal: &str) {
        self.look_at_worker();
        let Some(mut worker) = self.worker.take() else { return };
        let pid = worker.id().unwrap().to_string();
        std::process::Command::new("kill").args(["-s", signal, &pid]).status().unwrap();
        let status = worker.wait().await.unwrap();
        // One that has hardly begun does not hear signals yet, and the system ends it.
        assert!(status.success() || status.signal().is_some(), "the worker ended with {status}");
    }

    /// # Panics
    /// Where the worker has ended by itself.
    pub fn look_at_worker(&mut self) {
        let Some(worker) = &mut self.worker else { return };
        if let Some(status) = worker.try_wait().unwrap() {
            panic!("the worker has ended by itself: {status}");
        }
        // Between its start and its first page there is none yet.
        let status = fs::read_to_string(format!("/proc/{}/status", worker.id().unwrap())).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        let peak = peak.and_then(|kibibytes| kibibytes.parse::<u64>().ok()).unwrap_or_default() * 1024;
        self.peak_memory = self.peak_memory.max(peak);
    }

    /// The most memory that a worker has had, in bytes.
    pub fn peak_memory(&self) -> u64 {
        self.peak_memory
    }

    /// The ways by number: the worker's to the broker and to the registry, then the devices'.
    pub fn way(&self, number: usize) -> &FaultProxy {
        match number {
            0 => &self.to_broker,
            1 => &self.to_registry,
            link => &self.links[link - 2],
        }
    }

    /// How much has gone which way.
    pub fn bytes(&self) -> [(&'static str, u64); 3] {
        let to_devices = self.links.iter().map(|link| link.sent(Direction::ToClient)).sum();
        [
            ("from the registry", self.to_registry.sent(Direction::ToClient)),
            ("from the worker to the broker", self.to_broker.sent(Direction::ToServer)),
            ("to devices", to_devices),
        ]
    }

    fn log(&self) -> File {
        OpenOptions::new().create(true).append(true).open(self.folder.join("worker.log")).unwrap()
    }
}
