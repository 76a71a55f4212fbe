//! What a resource says, as a worker understands it.

use std::{collections::HashMap, time::Duration};

use data_encoding::BASE32_NOPAD;
use kube::ResourceExt as _;

use super::credentials::{Certificates, Credentials};
use crate::{
    api::{
        ChannelSpec, INTERVAL_DEFAULT, Protocol, WasmProxy, WasmProxySpec,
        quantity::{InvalidInterval, InvalidQuantity},
    },
    digest::Digest,
    mqtt::{InvalidBrokerUrl, InvalidQos, Qos, VersionPreference},
    protocol::{ChunkSize, TopicPrefix, layout::InvalidChunkSize, topics::InvalidTopic},
    registry::{InvalidReference, Reference, RegistryOptions},
    tls::TlsOptions,
    worker::{AllowList, Artifact, BrokerConfig, InvalidPattern, WorkerConfig},
};

/// How long a connection to the broker, or one packet, may take.
const BROKER_TIMEOUT: Duration = Duration::from_secs(30);

/// A spec that no worker can be given. Admission refuses these; an object may have been admitted by other rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSpec {
    /// What the topics begin with.
    #[error("spec.channel cannot be used: {0}")]
    Channel(#[from] InvalidTopic),
    /// The broker's address.
    #[error("spec.broker.url cannot be used: {0}")]
    BrokerUrl(#[from] InvalidBrokerUrl),
    /// The quality of service.
    #[error("spec.broker.qos cannot be used: {0}")]
    Qos(#[from] InvalidQos),
    /// A reference, or the host that it is taken under.
    #[error("spec.artifacts: {text:?} cannot be used: {source}")]
    Reference {
        /// As it was written.
        text: String,
        /// What is wrong with it.
        source: InvalidReference,
    },
    /// Two references that mean the same.
    #[error("spec.artifacts: {first:?} and {second:?} mean the same artifact: remove one")]
    Twice {
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
    /// The time between two looks at a tag.
    #[error("spec.artifacts: the interval {0}")]
    Interval(#[from] InvalidInterval),
    /// What devices may ask for.
    #[error("spec.requests.allow: {0}")]
    Allow(#[from] InvalidPattern),
    /// The bytes in a chunk.
    #[error("spec.chunkSize cannot be used: {0}")]
    ChunkSize(#[from] InvalidChunkSize),
    /// Bytes a second.
    #[error("spec.pace: {0}")]
    Pace(InvalidQuantity),
    /// The largest module.
    #[error("spec.limits.moduleSize: {0}")]
    ModuleSize(InvalidQuantity),
    /// The room in a Pod's cache.
    #[error("spec.limits.cacheSize: {0}")]
    CacheSize(InvalidQuantity),
}

/// The worker's configuration that a resource and its credentials mean.
///
/// # Errors
/// Where the spec cannot be used, though the API server has accepted it.
pub fn worker_config(resource: &WasmProxy, credentials: Credentials) -> Result<WorkerConfig, InvalidSpec> {
    let spec = &resource.spec;
    let Credentials { broker, broker_certificates, registry, registry_certificates } = credentials;
    let prefix = topic_prefix(&spec.channel)?;
    Ok(WorkerConfig {
        generation: resource.metadata.generation.unwrap_or_default(),
        broker: BrokerConfig {
            url: spec.broker.url.parse()?,
            client_id: client_id(&resource.uid().unwrap_or_default(), &prefix),
            credentials: broker,
            tls: broker_tls(broker_certificates, spec.broker.insecure_skip_verify),
            version: match spec.broker.protocol {
                Protocol::Auto => VersionPreference::Auto,
                Protocol::Mqtt311 => VersionPreference::V311,
                Protocol::Mqtt5 => VersionPreference::V5,
            },
            qos: Qos::try_from(spec.broker.qos)?,
            timeout: BROKER_TIMEOUT,
        },
        registry: RegistryOptions {
            host: spec.registry.host.clone(),
            plain_http: spec.registry.insecure,
            credentials: registry,
            tls: registry_tls(registry_certificates),
            max_module_size: spec.limits.module_size_bytes().map_err(InvalidSpec::ModuleSize)?,
            timeout: RegistryOptions::DEFAULT_TIMEOUT,
            cache: None,
        },
        prefix,
        artifacts: artifacts(spec)?,
        requests: spec.requests.enabled.then(|| AllowList::new(spec.allowed())).transpose()?,
        chunk_size: ChunkSize::new(spec.chunk_size)?,
        pace: Some(spec.pace_bytes().map_err(InvalidSpec::Pace)?),
        queue: usize::try_from(spec.limits.queue).unwrap_or(usize::MAX),
        notes: None,
    })
}

/// A declared reference, fully qualified.
///
/// # Errors
/// Where it is none.
pub fn qualified(text: &str, spec: &WasmProxySpec) -> Result<Reference, InvalidSpec> {
    let reference = Reference::parse(text, &spec.registry.host);
    reference.map_err(|source| InvalidSpec::Reference { text: text.to_owned(), source })
}

fn artifacts(spec: &WasmProxySpec) -> Result<Vec<Artifact>, InvalidSpec> {
    let mut written = HashMap::new();
    spec.artifacts
        .iter()
        .map(|artifact| {
            let reference = qualified(&artifact.reference, spec)?;
            if let Some(first) = written.insert(reference.clone(), artifact.reference.clone()) {
                return Err(InvalidSpec::Twice { first, second: artifact.reference.clone() });
            }
            Ok(Artifact {
                app_name: artifact.reference.clone(),
                reference,
                interval: artifact.interval()?.unwrap_or(INTERVAL_DEFAULT),
                plain: artifact.plain,
            })
        })
        .collect()
}

fn topic_prefix(channel: &ChannelSpec) -> Result<TopicPrefix, InvalidTopic> {
    match channel {
        ChannelSpec { topic_prefix: Some(prefix), .. } => TopicPrefix::new(prefix),
        ChannelSpec { tenant: Some(tenant), id, .. } => TopicPrefix::of_tenant(tenant, id),
        ChannelSpec { id, .. } => TopicPrefix::of_channel(id),
    }
}

/// A private broker's authority is the only one that may speak for it.
fn broker_tls(Certificates { ca, identity }: Certificates, insecure_skip_verify: bool) -> TlsOptions {
    TlsOptions { ca, system_roots_too: false, identity, insecure_skip_verify }
}

/// Registries send their clients on to blob stores with certificates of other authorities.
fn registry_tls(Certificates { ca, identity }: Certificates) -> TlsOptions {
    TlsOptions { ca, system_roots_too: true, identity, insecure_skip_verify: false }
}

/// `wp` and 20 base32 characters of the SHA-256 over UID and topic prefix: the same over restarts, so that the session is
/// found again, and within the 23 characters that every broker takes (MQTT 3.1.1, section 3.1.3.1).
fn client_id(uid: &str, prefix: &TopicPrefix) -> String {
    let digest = Digest::of(format!("{uid}\n{prefix}").as_bytes());
    let mut id = format!("wp{}", BASE32_NOPAD.encode(digest.as_bytes()).to_ascii_lowercase());
    id.truncate(22);
    id
}

#[cfg(test)]
#[path = "translate_tests.rs"]
mod tests;
