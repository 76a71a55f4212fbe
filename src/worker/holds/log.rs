//! What a pass says before it is verified, written down before it is said.

use std::{
    fs::File,
    io::{self, Write as _},
    path::Path,
};

use super::Begun;
use crate::digest::{Digest, Hasher};

/// The length of a digest in bytes.
const DIGEST: usize = 32;

/// The digests of a pass's chunks, one after the other, in a file: of use only to the worker that follows one that was
/// killed, so it need not outlast a loss of power any more than old devices' parts do.
#[derive(Debug)]
pub(in crate::worker) struct ChunkLog(File);

impl ChunkLog {
    /// An empty log in place of what is there.
    pub(super) fn create(file: &Path) -> io::Result<Self> {
        File::create(file).map(Self)
    }

    /// A chunk with this digest is about to be said.
    pub(in crate::worker) fn note(&self, digest: &Digest) {
        if let Err(error) = (&self.0).write_all(digest.as_bytes()) {
            tracing::warn!(%error, "cannot note what is said before it is verified");
        }
    }

    /// What was said of a pass that nobody knows the end of; `None` where that is nothing.
    pub(super) fn read(file: &Path) -> Option<Begun> {
        let digests = std::fs::read(file).ok()?;
        let chunks = u32::try_from(digests.len() / DIGEST).ok().filter(|chunks| *chunks > 0)?;
        // The last one may be half-written: then its chunk was not said.
        let mut hasher = Hasher::new();
        hasher.update(&digests[..chunks as usize * DIGEST]);
        Some(Begun { chunks, digest: hasher.finish() })
    }
}
