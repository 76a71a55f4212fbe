//! One registry configuration: requests put together, statuses made into errors.

use std::{fmt, sync::Arc};

use reqwest::{
    Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE},
};

use super::{
    artifact::{self, Manifest, Unsupported},
    auth::Authenticator,
    credentials::{Credentials, Logins},
    error::RegistryError,
    reader::{ModuleReader, RangeReader},
    reference::{Reference, canonical_host},
    transport::{Transport, host, odd, read_body, unavailable},
};
use crate::{digest::Digest, tls::TlsOptions};

/// What the distribution specification has registries accept at least, hence as large as manifests are (section
/// "Pushing Manifests").
const MAX_MANIFEST: usize = 4 * 1024 * 1024;

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
}

/// A client of OCI registries, with credentials for one of them. Clones share connections and tokens.
///
/// Requests are tried once: whoever asks knows whether to wait ([`RegistryError::is_retryable`]). Only a transfer under
/// way is resumed by itself.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    host: String,
    max_module_size: u64,
    transport: Transport,
    authenticator: Authenticator,
}

/// A WebAssembly module that a registry has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// What was resolved.
    pub reference: Reference,
    /// The digest of the document that the reference names: a manifest, or an index that leads to one. A tag has moved
    /// when this has changed.
    pub manifest_digest: Digest,
    /// The digest of the module's bytes.
    pub digest: Digest,
    /// The size of the module in bytes; never 0.
    pub size: u64,
    /// The media type of the layer that the module is.
    pub media_type: String,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("host", &self.inner.host).finish_non_exhaustive()
    }
}

impl Registry {
    /// A client with these options; nothing is sent yet.
    ///
    /// # Errors
    /// Where the host, the credentials or the certificates cannot be used.
    pub fn new(options: RegistryOptions) -> Result<Self, RegistryError> {
        let RegistryOptions { host, plain_http, credentials, tls, max_module_size } = options;
        let host = canonical_host(&host).map_err(RegistryError::InvalidHost)?;
        let transport = Transport::new(&host, plain_http, tls)?;
        let authenticator = Authenticator::new(Logins::new(credentials, &host)?);
        let inner = Inner { host, max_module_size, transport, authenticator };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The configured host, in lower case: the default host of references.
    pub fn host(&self) -> &str {
        &self.inner.host
    }

    /// Finds the module that a reference names: one request for its manifest, two where an index leads to it.
    ///
    /// # Errors
    /// See [`RegistryError`]; a manifest that is not what the reference is pinned to is a `DigestMismatch`.
    pub async fn resolve(&self, reference: &Reference) -> Result<Module, RegistryError> {
        let unsupported = |why| RegistryError::UnsupportedArtifact { reference: reference.clone(), why };
        let (manifest_digest, manifest) = self.manifest(reference, reference.digest()).await?;
        let image = match manifest {
            Manifest::Image(image) => image,
            Manifest::Index(index) => {
                let entry = artifact::select_entry(&index).map_err(unsupported)?;
                match self.manifest(reference, Some(entry)).await?.1 {
                    Manifest::Image(image) => image,
                    Manifest::Index(_) => return Err(unsupported(Unsupported::NestedIndex)),
                }
            }
        };
        let layer = artifact::select_layer(&image).map_err(unsupported)?;
        let limit = self.inner.max_module_size;
        if layer.size > limit {
            return Err(RegistryError::TooLarge { reference: reference.clone(), size: layer.size, limit });
        }
        Ok(Module {
            reference: reference.clone(),
            manifest_digest,
            digest: layer.digest,
            size: layer.size,
            media_type: layer.media_type,
        })
    }

    /// Begins to read a module from its first byte, verified.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn open(&self, module: &Module) -> Result<ModuleReader, RegistryError> {
        Ok(ModuleReader::new(self.open_at(module, 0).await?))
    }

    /// Begins to read a module from `offset` on. What comes is as long as it should be, but not verified: compare it
    /// with what was read from a [`ModuleReader`] before.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn open_at(&self, module: &Module, offset: u64) -> Result<RangeReader, RegistryError> {
        RangeReader::open(self.clone(), module.clone(), offset).await
    }

    /// The blob of a module, from `offset` on where the registry knows ranges (206, or 416 past its end), else from its
    /// beginning (200).
    pub(super) async fn blob(&self, module: &Module, offset: u64) -> Result<Response, RegistryError> {
        let mut headers = HeaderMap::new();
        if offset > 0 {
            headers.insert(RANGE, header(&format!("bytes={offset}-"))?);
        }
        let response = self.get(&module.reference, &format!("blobs/{}", module.digest), &headers).await?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => Ok(response),
            _ => self.check(&module.reference, response),
        }
    }

    /// A manifest by digest, verified, or by the reference's tag.
    async fn manifest(&self, of: &Reference, digest: Option<Digest>) -> Result<(Digest, Manifest), RegistryError> {
        let name = digest.map_or_else(|| of.tag().unwrap_or("latest").to_owned(), |digest| digest.to_string());
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(artifact::ACCEPT))]);
        let response = self.get(of, &format!("manifests/{name}"), &headers).await?;
        let response = self.check(of, response)?;
        let content_type = response.headers().get(CONTENT_TYPE).cloned();
        let body = read_body(response, MAX_MANIFEST).await?;
        let actual = Digest::of(&body);
        if let Some(expected) = digest.filter(|expected| *expected != actual) {
            return Err(RegistryError::DigestMismatch { reference: of.clone(), expected, actual });
        }
        let content_type = content_type.as_ref().and_then(|value| value.to_str().ok());
        match Manifest::parse(&body, content_type) {
            Ok(manifest) => Ok((actual, manifest)),
            Err(why) => Err(RegistryError::UnsupportedArtifact { reference: of.clone(), why }),
        }
    }

    /// A request that authenticates once where the registry asks for it, or no longer takes what it took.
    async fn get(&self, of: &Reference, path: &str, headers: &HeaderMap) -> Result<Response, RegistryError> {
        let Inner { transport, authenticator, .. } = &*self.inner;
        let url = transport.url(of, path)?;
        let first = authenticator.first(of)?;
        let response = transport.get(url.clone(), headers, first.as_ref()).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let answer = authenticator.answer(transport, of, response.headers(), first.as_ref()).await?;
        transport.get(url, headers, Some(&answer)).await
    }

    fn check(&self, of: &Reference, response: Response) -> Result<Response, RegistryError> {
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::UNAUTHORIZED => Err(self.inner.authenticator.refused(of)),
            StatusCode::FORBIDDEN => {
                Err(RegistryError::Forbidden { host: host(response.url()), repository: of.repository().to_owned() })
            }
            StatusCode::NOT_FOUND => Err(RegistryError::NotFound { reference: of.clone() }),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(unavailable(&response)),
            status if status.is_server_error() => Err(unavailable(&response)),
            status => Err(odd(host(response.url()), format!("it answered {status}"))),
        }
    }
}

fn header(text: &str) -> Result<HeaderValue, RegistryError> {
    HeaderValue::from_str(text).map_err(|_| odd(text.to_owned(), "it is no header"))
}
