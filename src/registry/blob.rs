//! A blob as a stream of bytes that survives a broken connection.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use reqwest::{Response, StatusCode, header::CONTENT_RANGE};
use tokio::time::{Instant, timeout};

use super::{
    access::Access,
    cache::Source,
    client::{Module, Registry},
    error::RegistryError,
    floor::Floor,
    reference::Reference,
    retry::Retry,
    transport::{host, interrupted, odd},
};
use crate::digest::Digest;

/// Bytes that a registry has, as a manifest says.
#[derive(Debug, Clone)]
pub(super) struct Blob {
    /// Where it is: the repository of this reference.
    pub(super) reference: Reference,
    pub(super) digest: Digest,
    /// In bytes.
    pub(super) size: u64,
}

impl From<&Module> for Blob {
    fn from(module: &Module) -> Self {
        Self { reference: module.reference.clone(), digest: module.digest, size: module.size }
    }
}

impl Blob {
    pub(super) fn wrong_size(&self, actual: u64) -> RegistryError {
        RegistryError::SizeMismatch { reference: self.reference.clone(), expected: self.size, actual }
    }
}

/// The bytes of a blob from an offset on, straight from the registry, in order and in the right number, but not
/// verified.
///
/// A connection that breaks is resumed from the byte reached, by a Range request, or by reading the blob anew and
/// passing over what came before where the registry knows no ranges. The first request is made by the first read. A
/// registry that has let us begin and refuses us later is asked again once there are other credentials.
pub(super) struct BlobReader {
    registry: Registry,
    blob: Blob,
    /// The offset of the byte that comes next.
    position: u64,
    body: Option<Body>,
    retry: Retry,
    /// False once a range was answered with the whole.
    knows_ranges: bool,
    /// As whom it asked last.
    access: Arc<Access>,
    /// It came some way, so the registry has let us read it.
    was_granted: bool,
    /// It was refused since.
    was_refused: bool,
    /// Bytes since the last failure. The attempts are all left again when enough came to call it progress.
    since_failure: u64,
}

struct Body {
    response: Response,
    /// Bytes that were handed out before, still to come from a registry without ranges.
    skip: u64,
    floor: Floor,
}

impl BlobReader {
    pub(super) fn new(registry: Registry, blob: Blob, offset: u64) -> Self {
        let (retry, access) = (Retry::new(), registry.access());
        Self {
            registry,
            blob,
            position: offset,
            body: None,
            retry,
            knows_ranges: true,
            access,
            was_granted: false,
            was_refused: false,
            since_failure: 0,
        }
    }

    /// Makes the first request, if there is anything to read.
    pub(super) async fn open(&mut self) -> Result<(), RegistryError> {
        while self.body.is_none() && self.remaining() > 0 {
            match self.begin().await {
                Ok(body) => self.body = Some(body),
                Err(error) => self.wait(error).await?,
            }
        }
        Ok(())
    }

    /// The bytes that come next; `None` once the byte before was the blob's last. A call that is cancelled loses
    /// nothing.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        while self.remaining() > 0 {
            match self.read().await {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Ok(Some(bytes)),
                Err(error) => self.wait(error).await?,
            }
        }
        self.body = None;
        Ok(None)
    }

    /// Whether the registry may send a part of the blob alone, as far as we know.
    pub(super) fn knows_ranges(&self) -> bool {
        self.knows_ranges
    }

    pub(super) fn remaining(&self) -> u64 {
        self.blob.size.saturating_sub(self.position)
    }

    /// Waits before the next attempt, or gives up with the error that made it necessary.
    async fn wait(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        self.body = None;
        if std::mem::take(&mut self.since_failure) > Floor::least(self.registry.timeout()) {
            self.retry = Retry::new();
        }
        if self.was_granted && self.access.could_help(&self.blob.reference, &error) {
            self.was_refused = true;
            return self.registry.until_renewed(&self.access, &self.blob.reference, error).await;
        }
        self.retry.wait(&self.blob.reference, error).await
    }

    /// One read from the network, less what is to be skipped.
    async fn read(&mut self) -> Result<Bytes, RegistryError> {
        let body = match &mut self.body {
            Some(body) => body,
            None => {
                let body = self.begin().await?;
                self.body.insert(body)
            }
        };
        let chunk = body.read().await?;
        let mut bytes = chunk.ok_or_else(|| RegistryError::Unavailable {
            host: host(body.response.url()),
            reason: format!("it ended the transfer after {} of {} bytes", self.position, self.blob.size),
            retry_after: None,
        })?;
        let skipped = bytes.len().min(usize::try_from(body.skip).unwrap_or(usize::MAX));
        bytes.advance(skipped);
        body.skip -= skipped as u64;
        let end = self.position + bytes.len() as u64;
        if end > self.blob.size {
            return Err(self.blob.wrong_size(end));
        }
        self.position = end;
        self.since_failure += bytes.len() as u64;
        Ok(bytes)
    }

    async fn begin(&mut self) -> Result<Body, RegistryError> {
        self.access = self.registry.access();
        let body = self.request().await?;
        self.knows_ranges &= body.skip == 0;
        self.was_granted = true;
        if std::mem::take(&mut self.was_refused) {
            self.registry.goes_on();
        }
        Ok(body)
    }

    async fn request(&self) -> Result<Body, RegistryError> {
        let response = self.registry.request_blob(&self.blob, self.position).await?;
        let skip = match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                self.check_range(&response)?;
                0
            }
            StatusCode::RANGE_NOT_SATISFIABLE => return Err(self.blob.wrong_size(self.position)),
            _ => self.position,
        };
        let whole = self.blob.size - (self.position - skip);
        match response.content_length() {
            // A registry may send less of a range than was asked for; of the whole, never.
            Some(length) if length > whole || (length < whole && response.status() == StatusCode::OK) => {
                Err(self.blob.wrong_size((self.position - skip).saturating_add(length)))
            }
            _ => Ok(Body { response, skip, floor: Floor::new(self.registry.timeout()) }),
        }
    }

    /// A part from another place would only be found out by the digest, at the very end.
    fn check_range(&self, response: &Response) -> Result<(), RegistryError> {
        let range = response.headers().get(CONTENT_RANGE).and_then(|value| content_range(value.to_str().ok()?));
        match range {
            Some((start, size)) if start == self.position => match size.filter(|size| *size != self.blob.size) {
                Some(size) => Err(self.blob.wrong_size(size)),
                None => Ok(()),
            },
            _ => Err(odd(host(response.url()), "it sent another range than was asked for")),
        }
    }
}

impl Source for BlobReader {
    async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        BlobReader::next(self).await
    }
}

impl Body {
    /// One read from the network, none where the body ends; an error where they come too slowly.
    async fn read(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            let began = Instant::now();
            let read = timeout(self.floor.left(), self.response.chunk()).await;
            let bytes = match &read {
                Ok(Ok(Some(bytes))) => bytes.len(),
                _ => 0,
            };
            let is_fast_enough = self.floor.read(began.elapsed(), bytes);
            match read {
                Ok(Err(error)) => return Err(interrupted(self.response.url(), error)),
                _ if !is_fast_enough => return Err(self.too_slow()),
                Ok(Ok(bytes)) => return Ok(bytes),
                Err(_) => {}
            }
        }
    }

    fn too_slow(&self) -> RegistryError {
        let host = host(self.response.url());
        RegistryError::Unavailable { host, reason: "it sends nothing, or too slowly".to_owned(), retry_after: None }
    }
}

/// The first byte and, where it is said, the size of the whole, of `bytes 5-9/10` (RFC 9110, section 14.4).
pub(super) fn content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, size) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _end) = range.split_once('-')?;
    Some((start.parse().ok()?, if size == "*" { None } else { Some(size.parse().ok()?) }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_content_range_is_read_or_refused() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        for text in ["", "bytes */10", "bytes 5-9", "bytes x-9/10", "bytes 5-9/x", "items 5-9/10"] {
            assert_eq!(content_range(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_content_range_reads_back(start: u64, end: u64, size in prop::option::of(any::<u64>())) {
            let whole = size.map_or("*".to_owned(), |size| size.to_string());
            prop_assert_eq!(content_range(&format!("bytes {start}-{end}/{whole}")), Some((start, size)));
        }
    }
}
