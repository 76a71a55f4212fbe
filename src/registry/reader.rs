//! A blob as a stream of bytes that survives a broken connection, and is verified as it passes.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use bytes::{Buf, Bytes};
use reqwest::{Response, StatusCode, header::CONTENT_RANGE};

use super::{
    artifact::{PREAMBLE_LEN, Unsupported, may_be_wasm},
    client::{Module, Registry},
    error::RegistryError,
    transport::{broken, host, odd},
};
use crate::digest::{Digest, Hasher};

/// A registry that asks for more patience than this gets it from whoever asked for the module.
const MAX_PATIENCE: Duration = Duration::from_secs(30);

/// The delays before a transfer that makes no progress is resumed: five, some three to six seconds together.
fn backoff() -> ExponentialBackoff {
    let delays = ExponentialBuilder::new().with_min_delay(Duration::from_millis(100)).with_factor(2.0);
    delays.with_max_times(5).with_jitter().build()
}

/// The bytes of a module in order, each under the running digest.
///
/// Holds no more than one read from the network. After an error that is retryable it can be asked again, and goes on
/// from the byte reached; after another it is spent.
pub struct ModuleReader {
    blob: RangeReader,
    hasher: Hasher,
    preamble: Vec<u8>,
    /// The digest of the whole, once all of it has come.
    actual: Option<Digest>,
}

impl ModuleReader {
    pub(super) fn new(blob: RangeReader) -> Self {
        Self { blob, hasher: Hasher::new(), preamble: Vec::with_capacity(PREAMBLE_LEN), actual: None }
    }

    /// The bytes that come next; `None` after exactly [`Module::size`] bytes whose digest is [`Module::digest`].
    ///
    /// The last bytes are handed out only when the whole has been verified: whoever gathers all that comes never holds
    /// a complete module that is not what its digest says. A call that is cancelled loses nothing.
    ///
    /// # Errors
    /// `UnsupportedArtifact` where the bytes begin unlike a module; `DigestMismatch` or `SizeMismatch` where they are
    /// others than promised; and whatever a request can fail with, once resuming has not helped.
    pub async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        if self.actual.is_some() {
            return self.verify().map(|()| None);
        }
        let bytes = self.blob.next().await?.unwrap_or_default();
        self.check_preamble(&bytes)?;
        self.hasher.update(&bytes);
        if self.blob.remaining() == 0 {
            self.actual = Some(std::mem::take(&mut self.hasher).finish());
            self.verify()?;
        }
        Ok((!bytes.is_empty()).then_some(bytes))
    }

    fn check_preamble(&mut self, bytes: &Bytes) -> Result<(), RegistryError> {
        let missing = PREAMBLE_LEN - self.preamble.len();
        self.preamble.extend(bytes.iter().take(missing));
        if may_be_wasm(&self.preamble) {
            return Ok(());
        }
        let reference = self.blob.module.reference.clone();
        Err(RegistryError::UnsupportedArtifact { reference, why: Unsupported::NotWasm })
    }

    fn verify(&self) -> Result<(), RegistryError> {
        let Module { digest: expected, reference, .. } = &self.blob.module;
        match self.actual {
            Some(actual) if actual != *expected => {
                Err(RegistryError::DigestMismatch { reference: reference.clone(), expected: *expected, actual })
            }
            _ => Ok(()),
        }
    }
}

/// The bytes of a module from an offset on, in order and in the right number, but not verified.
///
/// A connection that breaks is resumed from the byte reached, by a Range request, or by reading the blob anew and
/// passing over what came before where the registry knows no ranges.
pub struct RangeReader {
    registry: Registry,
    module: Module,
    /// The offset of the byte that comes next.
    position: u64,
    body: Option<Body>,
    /// The delays that are left; all of them again after each progress.
    backoff: ExponentialBackoff,
}

struct Body {
    response: Response,
    /// Bytes that were handed out before, still to come from a registry without ranges.
    skip: u64,
}

impl RangeReader {
    pub(super) async fn open(registry: Registry, module: Module, offset: u64) -> Result<Self, RegistryError> {
        let mut reader = Self { registry, module, position: offset, body: None, backoff: backoff() };
        if reader.remaining() > 0 {
            reader.body = Some(reader.request().await?);
        }
        Ok(reader)
    }

    /// The bytes that come next; `None` once the byte before was the module's last. A call that is cancelled loses
    /// nothing.
    ///
    /// # Errors
    /// `SizeMismatch` where the blob has another size than promised; and whatever a request can fail with, once
    /// resuming has not helped.
    pub async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        while self.remaining() > 0 {
            match self.read().await {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => {
                    self.backoff = backoff();
                    return Ok(Some(bytes));
                }
                Err(error) => {
                    self.body = None;
                    self.wait(error).await?;
                }
            }
        }
        self.body = None;
        Ok(None)
    }

    pub(super) fn remaining(&self) -> u64 {
        self.module.size.saturating_sub(self.position)
    }

    /// Waits before the next attempt, or gives up with the error that made it necessary.
    async fn wait(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        let asked = match &error {
            RegistryError::Unavailable { retry_after, .. } => retry_after.unwrap_or_default(),
            _ => return Err(error),
        };
        let Some(delay) = self.backoff.next().filter(|_| asked <= MAX_PATIENCE) else {
            self.backoff = backoff();
            return Err(error);
        };
        tracing::warn!(reference = %self.module.reference, position = self.position, %error, "resuming a transfer");
        tokio::time::sleep(delay.max(asked)).await;
        Ok(())
    }

    /// One read from the network, less what is to be skipped.
    async fn read(&mut self) -> Result<Bytes, RegistryError> {
        let body = match &mut self.body {
            Some(body) => body,
            None => {
                let body = self.request().await?;
                self.body.insert(body)
            }
        };
        let chunk = body.response.chunk().await.map_err(|error| broken(body.response.url(), error))?;
        let mut bytes = chunk.ok_or_else(|| RegistryError::Unavailable {
            host: host(body.response.url()),
            reason: format!("it ended the transfer after {} of {} bytes", self.position, self.module.size),
            retry_after: None,
        })?;
        let skipped = bytes.len().min(usize::try_from(body.skip).unwrap_or(usize::MAX));
        bytes.advance(skipped);
        body.skip -= skipped as u64;
        let end = self.position + bytes.len() as u64;
        if end > self.module.size {
            return Err(self.wrong_size(end));
        }
        self.position = end;
        Ok(bytes)
    }

    async fn request(&self) -> Result<Body, RegistryError> {
        let response = self.registry.blob(&self.module, self.position).await?;
        let skip = match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                self.check_range(&response)?;
                0
            }
            StatusCode::RANGE_NOT_SATISFIABLE => return Err(self.wrong_size(self.position)),
            _ => self.position,
        };
        let whole = self.module.size - (self.position - skip);
        match response.content_length() {
            // A registry may send less of a range than was asked for; of the whole, never.
            Some(length) if length > whole || (length < whole && response.status() == StatusCode::OK) => {
                Err(self.wrong_size(self.position - skip + length))
            }
            _ => Ok(Body { response, skip }),
        }
    }

    /// A part from another place would only be found out by the digest, at the very end.
    fn check_range(&self, response: &Response) -> Result<(), RegistryError> {
        let range = response.headers().get(CONTENT_RANGE).and_then(|value| content_range(value.to_str().ok()?));
        match range {
            Some((start, size)) if start == self.position => match size.filter(|size| *size != self.module.size) {
                Some(size) => Err(self.wrong_size(size)),
                None => Ok(()),
            },
            _ => Err(odd(host(response.url()), "it sent another range than was asked for")),
        }
    }

    fn wrong_size(&self, actual: u64) -> RegistryError {
        let Module { reference, size, .. } = &self.module;
        RegistryError::SizeMismatch { reference: reference.clone(), expected: *size, actual }
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
