//! The environment of a standalone worker: a map of variables becomes [`Settings`].
//!
//! The variables are those of Propeller's proxy, by all the names that they have had, and a few of ours
//! (`PROXY_REQUESTS_ALLOW`, `PROXY_PACE`, `PROXY_CACHE_DIR`, `PROXY_CACHE_SIZE`, `PROXY_HTTP_HOST`); an empty value means unset. Everything here is pure but for the files that
//! variables name, which come through [`Surroundings::read`].
//!
//! - `variables` – values looked up by their newest name, and read;
//! - `identity` – who we are on which channel, from the environment or `config.toml`;
//! - `broker`, `registry` – how to reach those two;
//! - `error` – a mistake, in one line that names its variable.

mod broker;
mod error;
mod identity;
mod registry;
#[cfg(test)]
mod tests;
mod variables;

use std::{collections::BTreeMap, io, net::IpAddr, ops::RangeInclusive, path::Path};

pub use error::SettingsError;
use identity::Identity;
pub use registry::CacheSettings;
use variables::Variables;

use crate::{
    api::quantity::parse_bytes,
    protocol::ChunkSize,
    registry::Cache,
    telemetry::logs::LogLevel,
    worker::{AllowList, BrokerConfig, WorkerConfig},
};

/// The port of the probes unless `PROXY_HTTP_PORT` says otherwise.
const DEFAULT_HTTP_PORT: u16 = 9191;
/// Bytes a second after a pass's first chunks: the resource's default.
const PACE: u64 = 50_000_000;
/// The bounds of that: the resource's.
const PACES: RangeInclusive<u64> = 1_000..=1_000_000_000_000;
/// Requests that may wait at once: the resource's default.
const QUEUE: usize = 1024;

/// Variables that later versions of Propeller's proxy have, which may be set, and which do nothing here yet.
const NOT_YET: [&str; 2] = ["PROXY_OTEL_URL", "PROXY_TRACE_RATIO"];

/// What a standalone worker finds when it starts.
pub struct Surroundings<'a> {
    /// The environment, at least the variables that begin with `PROXY_`.
    pub variables: &'a BTreeMap<String, String>,
    /// The machine's name: an identity for workers that are given none.
    pub hostname: &'a str,
    /// Reads a file.
    pub read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
}

/// What a standalone worker is told.
#[derive(Debug, PartialEq)]
pub struct Settings {
    /// What the worker does; without a cache, until [`Self::open_cache`].
    pub worker: WorkerConfig,
    /// Where modules are kept; `None`: each reading comes from the registry.
    pub cache: Option<CacheSettings>,
    /// Where probes are answered; `None` for nowhere.
    pub http: Option<HttpAddress>,
    /// What is worth a log line, where the environment says it.
    pub log_level: Option<LogLevel>,
    /// What this instance is called, in the log and the health document.
    pub instance_id: Option<String>,
    /// What somebody should look at, each in one line. None holds a secret.
    pub warnings: Vec<String>,
}

/// Where probes are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpAddress {
    /// An address of this machine; `None` for all.
    pub host: Option<IpAddr>,
    /// The TCP port, never 0.
    pub port: u16,
}

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    /// The first mistake.
    pub fn read(surroundings: &Surroundings<'_>) -> Result<Self, SettingsError> {
        let mut variables = Variables::new(surroundings);
        refuse_encryption(&mut variables)?;
        let registry = registry::options(&mut variables)?;
        let cache = registry::cache(&mut variables)?;
        let requests = requests(&mut variables, &registry.host)?;
        let identity = Identity::read(&mut variables, surroundings)?;
        let worker = WorkerConfig {
            generation: 0,
            broker: broker::config(&mut variables, &identity)?,
            registry,
            prefix: identity.prefix,
            artifacts: Vec::new(),
            requested: None,
            requests: Some(requests),
            chunk_size: chunk_size(&mut variables)?,
            pace: Some(pace(&mut variables)?),
            queue: QUEUE,
            notes: None,
        };
        let http = http(&mut variables)?;
        let log_level = variables.parse("PROXY_LOG_LEVEL", "say error, warn, info, debug or trace")?;
        let instance_id = variables.get("PROXY_INSTANCE_ID").map(str::to_owned);
        for name in NOT_YET {
            if variables.get(name).is_some() {
                variables.warn(format!("{name} has no effect: traces are not supported yet"));
            }
        }
        let warnings = variables.into_warnings();
        Ok(Self { worker, cache, http, log_level, instance_id, warnings })
    }

    /// Opens the cache, before anything is started.
    ///
    /// # Errors
    /// Names the variable, where its directory cannot be used.
    pub fn open_cache(&mut self) -> Result<(), SettingsError> {
        if let Some(CacheSettings { dir, size }) = &self.cache {
            let cache = Cache::open(dir, *size).map_err(|error| SettingsError::wrong(registry::CACHE_DIR, error))?;
            self.worker.keep_in(&cache);
        }
        Ok(())
    }

    /// Refuses TLS material that cannot be used, before anything is started.
    ///
    /// # Errors
    /// Names the variable that holds it.
    pub fn check_tls(&self) -> Result<(), SettingsError> {
        let BrokerConfig { url, tls, .. } = &self.worker.broker;
        if !url.is_tls() {
            return Ok(());
        }
        tls.client_config().map(drop).map_err(|error| broker::tls_error(&error))
    }
}

/// Later proxies encrypt modules with this key. Devices that expect that would refuse what we send, and whoever set the key
/// does not want the modules to be readable: so it must not be ignored.
fn refuse_encryption(variables: &mut Variables<'_>) -> Result<(), SettingsError> {
    match variables.get("PROXY_WORKLOAD_KEY") {
        None => Ok(()),
        Some(_) => Err(SettingsError::wrong("PROXY_WORKLOAD_KEY", identity::NO_ENCRYPTION)),
    }
}

/// What devices may ask for: patterns separated by commas or white space, anything under the registry unless said.
fn requests(variables: &mut Variables<'_>, host: &str) -> Result<AllowList, SettingsError> {
    const NAME: &str = "PROXY_REQUESTS_ALLOW";
    match variables.get(NAME) {
        None => AllowList::anything_under(host).map_err(|error| SettingsError::wrong(registry::URL, error)),
        Some(text) => {
            let patterns = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|pattern| !pattern.is_empty());
            AllowList::new(patterns).map_err(|error| SettingsError::wrong(NAME, error))
        }
    }
}

fn chunk_size(variables: &mut Variables<'_>) -> Result<ChunkSize, SettingsError> {
    const NAME: &str = "PROXY_CHUNK_SIZE";
    let Some(text) = variables.get(NAME) else { return Ok(ChunkSize::DEFAULT) };
    // Too long a number is no less a size out of bounds than too large a one.
    let bytes = if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().unwrap_or(u32::MAX) } else { 0 };
    ChunkSize::new(bytes).map_err(|error| SettingsError::invalid(NAME, text, error))
}

fn pace(variables: &mut Variables<'_>) -> Result<u64, SettingsError> {
    const NAME: &str = "PROXY_PACE";
    let Some(text) = variables.get(NAME) else { return Ok(PACE) };
    let pace = parse_bytes(text).ok().filter(|pace| PACES.contains(pace));
    pace.ok_or_else(|| SettingsError::invalid(NAME, text, "say bytes a second between 1k and 1T, such as 500k or 50M"))
}

fn http(variables: &mut Variables<'_>) -> Result<Option<HttpAddress>, SettingsError> {
    let host = variables.parse("PROXY_HTTP_HOST", "say an IP address of this machine")?;
    let port = variables.parse("PROXY_HTTP_PORT", "say a port, or 0 for no probes")?.unwrap_or(DEFAULT_HTTP_PORT);
    Ok((port != 0).then_some(HttpAddress { host, port }))
}
