//! Broker, registry and what is in it: what every measurement starts from.

use crate::{
    lab::{Broker, Registry, RegistryConfig, Transport},
    modules::module,
    own_times,
    raw::Plan,
    samples::Results,
    wire::Version,
    worker::{PREFIX, Settings, Worker},
};

/// Bytes of a module in a chunk, wherever that is not what varies.
pub const CHUNK_SIZE: u32 = 512_000;

pub const MIB: usize = 1 << 20;

/// The servers.
pub struct Stage {
    pub broker: Broker,
    pub registry: Registry,
    /// A client of the registry's that has nothing else to do.
    pub own: own_times::Registry,
    broker_url: String,
    registry_url: String,
    ca: std::path::PathBuf,
    cache: tempfile::TempDir,
    pushed: std::cell::Cell<u64>,
}

impl Stage {
    /// mosquitto, and docker-registry behind TLS.
    pub async fn set() -> Self {
        let registry = RegistryConfig::default().transport(Transport::Tls);
        let (broker, registry) = tokio::join!(Broker::start(), registry.start());
        let (broker_url, registry_url) = (broker.url(), format!("https://{}", registry.host()));
        let ca = registry.pki().join("ca.crt");
        let own = own_times::Registry::at(&registry.host(), &std::fs::read(&ca).unwrap());
        let cache = crate::worker::folder();
        Self { broker, registry, own, broker_url, registry_url, ca, cache, pushed: 0.into() }
    }

    /// A worker's settings, with a cache that all have in common.
    pub fn settings(&self) -> Settings<'_> {
        Settings {
            broker: &self.broker_url,
            registry: &self.registry_url,
            ca: &self.ca,
            cache: self.cache.path(),
            chunk_size: CHUNK_SIZE,
            pace: "50M",
        }
    }

    pub fn worker(&self) -> Worker {
        Worker::start(&self.settings())
    }

    /// What a raw publisher does for one module of this size.
    pub fn plan(&self, size: usize, window: usize) -> Plan {
        Plan {
            port: self.broker.port(),
            version: Version::V5,
            topic: format!("{PREFIX}/registry/server/chunk"),
            name: "raw".to_owned(),
            modules: 1,
            size,
            chunk_size: CHUNK_SIZE,
            window,
        }
    }

    /// Notes what the registry takes by itself for this module.
    pub async fn own_times(&self, name: &str, results: &mut Results) {
        self.own.measure(name, CHUNK_SIZE as usize, results).await;
    }

    /// Pushes a module that nobody has seen before, under each of these tags; returns the references.
    pub async fn push(&self, size: usize, tags: usize) -> Vec<String> {
        let number = self.pushed.replace(self.pushed.get() + 1);
        let mut bytes = module(size);
        // Behind the header, which is looked at.
        bytes[8..16].copy_from_slice(&number.to_le_bytes());
        let bytes = bytes::Bytes::from(bytes);
        let names: Vec<_> = (0..tags).map(|tag| format!("wasm/module-{number}:{tag}")).collect();
        self.registry.push(&names[0], bytes).await;
        let (client, auth) = (self.registry.client(), self.registry.auth());
        let (manifest, _) = client.pull_manifest(&self.registry.reference(&names[0]), &auth).await.unwrap();
        for name in &names[1..] {
            client.push_manifest(&self.registry.reference(name), &manifest).await.unwrap();
        }
        names
    }
}
