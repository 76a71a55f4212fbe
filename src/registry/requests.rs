//! Requests put together, statuses made into errors. Each is tried once; who asks tries again.

use reqwest::{
    Method, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE},
};

use super::{
    access::Access,
    artifact::{self, Manifest},
    blob::Blob,
    client::Registry,
    error::RegistryError,
    reference::Reference,
    transport::{host, odd, unavailable},
};
use crate::digest::Digest;

/// What the distribution specification has registries accept at least, hence as large as manifests are (section
/// "Pushing Manifests").
const MAX_MANIFEST: usize = 4 * 1024 * 1024;

/// The digest of what a manifest request is answered with (distribution specification, section "Pulling manifests").
const CONTENT_DIGEST: &str = "docker-content-digest";

/// What a registry says of a manifest without sending it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Glance {
    /// It is there; its digest, where that is said.
    There(Option<Digest>),
    /// Nothing to rely on: some do not answer such requests.
    Unknown,
}

impl Registry {
    /// A blob, from `offset` on where the registry knows ranges (206, or 416 past its end), else from its beginning
    /// (200).
    pub(super) async fn request_blob(&self, blob: &Blob, offset: u64) -> Result<Response, RegistryError> {
        let mut headers = HeaderMap::new();
        if offset > 0 {
            headers.insert(RANGE, header(&format!("bytes={offset}-"))?);
        }
        let path = format!("blobs/{}", blob.digest);
        let response = self.request(Method::GET, &blob.reference, &path, &headers).await?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => Ok(response),
            _ => self.check(&blob.reference, response),
        }
    }

    /// A whole blob of at most `limit` bytes, verified.
    pub(super) async fn small_blob(&self, blob: &Blob, limit: usize) -> Result<Vec<u8>, RegistryError> {
        let response = self.request_blob(blob, 0).await?;
        let bytes = self.access().transport.document(response, limit).await?;
        match Digest::of(&bytes) {
            actual if actual == blob.digest => Ok(bytes),
            actual => {
                let (reference, expected) = (blob.reference.clone(), blob.digest);
                Err(RegistryError::DigestMismatch { reference, expected, actual })
            }
        }
    }

    /// The first `len` bytes of a blob, or all where it has fewer; not verified.
    pub(super) async fn beginning(&self, blob: &Blob, len: usize) -> Result<Vec<u8>, RegistryError> {
        let headers = HeaderMap::from_iter([(RANGE, header(&format!("bytes=0-{}", len.saturating_sub(1)))?)]);
        let path = format!("blobs/{}", blob.digest);
        let response = self.request(Method::GET, &blob.reference, &path, &headers).await?;
        let response = match response.status() {
            StatusCode::PARTIAL_CONTENT => response,
            _ => self.check(&blob.reference, response)?,
        };
        self.access().transport.beginning(response, len).await
    }

    /// A manifest by digest, verified, or by the reference's tag.
    pub(super) async fn manifest(
        &self,
        of: &Reference,
        digest: Option<Digest>,
    ) -> Result<(Digest, Manifest), RegistryError> {
        let response = self.request(Method::GET, of, &manifest_path(of, digest), &accept()).await?;
        let response = self.check(of, response)?;
        let content_type = response.headers().get(CONTENT_TYPE).cloned();
        let body = self.access().transport.document(response, MAX_MANIFEST).await?;
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

    /// Asks whether the manifest of a reference is there, and which it is. What a refusal means a GET will tell.
    pub(super) async fn glance(&self, of: &Reference) -> Result<Glance, RegistryError> {
        let path = manifest_path(of, of.digest());
        let response = self.request(Method::HEAD, of, &path, &accept()).await?;
        match response.status() {
            StatusCode::OK => {
                let digest = response.headers().get(CONTENT_DIGEST).and_then(|value| value.to_str().ok()?.parse().ok());
                Ok(Glance::There(digest))
            }
            StatusCode::NOT_IMPLEMENTED => Ok(Glance::Unknown),
            status if is_passing(status) => Err(unavailable(&response)),
            _ => Ok(Glance::Unknown),
        }
    }

    /// A request; once more where the credentials are others by the time that it is refused.
    async fn request(
        &self,
        method: Method,
        of: &Reference,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<Response, RegistryError> {
        loop {
            let access = self.access();
            let answer = request_as(&access, method.clone(), of, path, headers).await;
            let is_refused = match &answer {
                Ok(response) => matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN),
                Err(error) => error.is_refusal(),
            };
            if !is_refused || !self.is_renewed_since(&access) {
                return answer;
            }
        }
    }

    /// Whether it is the registry itself that answers, and not whom it sent us to.
    fn is_of_registry(&self, of: &Reference, response: &Response) -> bool {
        self.access().transport.url(of, "").is_ok_and(|url| url.origin() == response.url().origin())
    }

    fn check(&self, of: &Reference, response: Response) -> Result<Response, RegistryError> {
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::UNAUTHORIZED if self.is_of_registry(of, &response) => {
                Err(self.access().authenticator.refused(of))
            }
            StatusCode::FORBIDDEN => {
                Err(RegistryError::Forbidden { host: host(response.url()), repository: of.repository().to_owned() })
            }
            StatusCode::NOT_FOUND => Err(RegistryError::NotFound { reference: of.clone() }),
            status if is_passing(status) => Err(unavailable(&response)),
            status => Err(odd(host(response.url()), format!("it answered {status}"))),
        }
    }
}

/// A request that authenticates once where the registry asks for it, or no longer takes what it took.
async fn request_as(
    access: &Access,
    method: Method,
    of: &Reference,
    path: &str,
    headers: &HeaderMap,
) -> Result<Response, RegistryError> {
    let Access { transport, authenticator, .. } = access;
    let url = transport.url(of, path)?;
    let send = async |authorization| transport.send(method.clone(), url.clone(), headers, authorization).await;
    let shown = authenticator.first(of)?;
    let mut refused = shown.as_ref().map(|shown| &shown.authorization);
    let mut response = send(refused).await?;
    // Amazon's registry says of an expired token that it forbids: whoever shows none is told what to show.
    if response.status() == StatusCode::FORBIDDEN && shown.as_ref().is_some_and(|shown| shown.is_renewable) {
        refused = None;
        response = send(refused).await?;
    }
    // Whoever the registry sends us to may not choose who hears our secrets.
    if response.status() != StatusCode::UNAUTHORIZED || response.url().origin() != url.origin() {
        return Ok(response);
    }
    let answer = authenticator.answer(transport, of, response.headers(), refused).await?;
    send(Some(&answer)).await
}

/// Whether a status is one that passes by itself.
fn is_passing(status: StatusCode) -> bool {
    matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) || status.is_server_error()
}

fn manifest_path(of: &Reference, digest: Option<Digest>) -> String {
    let name = digest.map_or_else(|| of.tag().unwrap_or("latest").to_owned(), |digest| digest.to_string());
    format!("manifests/{name}")
}

fn accept() -> HeaderMap {
    HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(artifact::ACCEPT))])
}

fn header(text: &str) -> Result<HeaderValue, RegistryError> {
    HeaderValue::from_str(text).map_err(|_| odd(text.to_owned(), "it is no header"))
}
