//! How a registry is reached.

use std::time::Duration;

use super::{cache::Cache, credentials::Credentials};
use crate::tls::TlsOptions;

/// How a registry is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryOptions {
    /// The registry that `credentials` and the client certificate are for: `host` or `host:port`.
    pub host: String,
    /// Speak plain HTTP with `host`. Everybody else is spoken to over TLS, always.
    pub plain_http: bool,
    /// Who we are.
    pub credentials: Credentials,
    /// Whom we trust; the client certificate is shown to `host` alone.
    pub tls: TlsOptions,
    /// The largest module to accept, in bytes.
    pub max_module_size: u64,
    /// How long the head of an answer may take, a whole document, and each read of a blob, which must bring a KiB for
    /// each second of it on average.
    pub timeout: Duration,
    /// Where modules are kept; `None`: each reading comes from the registry.
    pub cache: Option<Cache>,
}

impl RegistryOptions {
    /// [`Self::timeout`] where nobody says otherwise.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
}
