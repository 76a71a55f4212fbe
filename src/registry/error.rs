//! What can go wrong between a reference and its bytes, in sentences for the person who can mend it.

use std::time::Duration;

use super::{artifact::Unsupported, reference::Reference};
use crate::{digest::Digest, tls::TlsError};

/// Why a module could not be resolved or read.
///
/// No message holds a credential, a token or the query of a URL.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegistryError {
    /// The registry has no such repository, tag, manifest or blob.
    #[error("{reference} was not found: push it, or correct the reference")]
    NotFound {
        /// What was asked for.
        reference: Reference,
    },
    /// The registry refused our credentials, or asks for some where none are configured (some registries say so of
    /// repositories that do not exist).
    #[error("{host} {}", if *anonymous {
        format!("asks for credentials to read {repository}: configure them, or correct the reference")
    } else {
        format!("refused the credentials for {repository}: correct them, or the reference")
    })]
    Unauthorized {
        /// The registry, or the token service that it names.
        host: String,
        /// What was to be read.
        repository: String,
        /// No credentials are configured for this host.
        anonymous: bool,
    },
    /// The credentials are known, but may not read this (Amazon's registry says so of expired ones).
    #[error("{host} does not let us read {repository}: grant pull access to the credentials, or renew expired ones")]
    Forbidden {
        /// The registry.
        host: String,
        /// What was to be read.
        repository: String,
    },
    /// The artifact is not, or not recognisably, one WebAssembly module.
    #[error("{reference} is not a WebAssembly artifact that can be used: {why}")]
    UnsupportedArtifact {
        /// The artifact.
        reference: Reference,
        /// What it is instead.
        why: Unsupported,
    },
    /// The module is larger than this registry's limit.
    #[error("{reference} has {size} bytes, and {limit} are allowed: push a smaller module, or raise the limit")]
    TooLarge {
        /// The artifact.
        reference: Reference,
        /// The module's size in bytes, as its manifest says.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// What the registry sent is not what the digest promises: of the module's bytes, or of the manifest.
    #[error("what the registry sent for {reference} has the digest {actual}, not {expected}: push it again")]
    DigestMismatch {
        /// The artifact.
        reference: Reference,
        /// The digest that the reference or the manifest says.
        expected: Digest,
        /// The digest of the bytes that came.
        actual: Digest,
    },
    /// What came as one of a module's chunks is not what it was when the whole was verified.
    #[error("chunk {chunk} of {reference} is not what it was when all of it was verified: check the registry")]
    ChunkMismatch {
        /// The artifact.
        reference: Reference,
        /// The chunk's number, from 0.
        chunk: u32,
    },
    /// The blob is shorter or longer than its manifest says.
    #[error("what the registry sent for {reference} has {actual} bytes, not {expected}: push it again")]
    SizeMismatch {
        /// The artifact.
        reference: Reference,
        /// The size in bytes that the manifest says.
        expected: u64,
        /// The size in bytes that the registry has, or those that it sent before we stopped.
        actual: u64,
    },
    /// The disk has changed what was verified when it was written. It is removed from the cache, and fetched when it is
    /// opened anew.
    #[error(
        "what the cache kept of {reference} has changed on disk: it is fetched anew; check the disk, if that happens again"
    )]
    CacheChanged {
        /// The artifact.
        reference: Reference,
    },
    /// A container image could not be unpacked into the cache: it may do better later.
    #[error("{reference} cannot be unpacked: {reason}; make the cache larger, or check its disk")]
    NotUnpacked {
        /// The artifact.
        reference: Reference,
        /// What is missing.
        reason: String,
    },
    /// The registry cannot be reached, is busy or fails: it may do better later.
    #[error("{host} is not available: {reason}; check the registry's address, and that it runs")]
    Unavailable {
        /// Who did not answer, or said so.
        host: String,
        /// What happened.
        reason: String,
        /// How long the registry asks to wait.
        retry_after: Option<Duration>,
    },
    /// The configured registry is no `host[:port]`.
    #[error("the registry's host is not valid: {0}")]
    InvalidHost(#[source] super::reference::InvalidReference),
    /// The configured credentials cannot be used at all.
    #[error("the registry credentials cannot be used: {reason}")]
    InvalidCredentials {
        /// What is wrong with them.
        reason: String,
    },
    /// The configured certificates cannot be used.
    #[error("the registry's TLS settings cannot be used: {0}")]
    Tls(#[from] TlsError),
    /// TLS with the registry failed: it is not trusted, does not trust us, or speaks plain HTTP.
    #[error(
        "no TLS connection to {host}: {source}; check the CA and the client certificate, or say that it speaks plain HTTP, if it does"
    )]
    Handshake {
        /// With whom.
        host: String,
        /// Why.
        source: rustls::Error,
    },
    /// The answer is none that a registry should give.
    #[error("{host} answered as no registry should: {reason}")]
    InvalidResponse {
        /// Who answered.
        host: String,
        /// What was odd.
        reason: String,
    },
}

impl RegistryError {
    /// Whether the same request may succeed later with nobody changing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::CacheChanged { .. } | Self::NotUnpacked { .. })
    }

    /// Whether the same request may succeed with other credentials or certificates.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Unauthorized { .. } | Self::Forbidden { .. } | Self::Handshake { .. })
    }
}
