//! What a pass says before it is verified, written down before it is said.

use std::{
    fs::File,
    io::{self, Write as _},
    path::Path,
};

use super::super::fingerprint::Fingerprint;
use super::Begun;
use crate::digest::Hasher;

/// The fingerprints of a pass's chunks, one after the other, in a file: of use only to the worker that follows one that was
/// killed, so it need not outlast a loss of power any more than old devices' parts do.
#[derive(Debug)]
pub(in crate::worker) struct ChunkLog(File);

impl ChunkLog {
    /// An empty log in place of what is there.
    pub(super) fn create(file: &Path) -> io::Result<Self> {
        File::create(file).map(Self)
    }

    /// A chunk with this fingerprint is about to be said.
    pub(in crate::worker) fn note(&self, fingerprint: &Fingerprint) {
        if let Err(error) = (&self.0).write_all(fingerprint.as_bytes()) {
            tracing::warn!(%error, "cannot note what is said before it is verified");
        }
    }

    /// What was said of a pass that nobody knows the end of; `None` where that is nothing.
    pub(super) fn read(file: &Path) -> Option<Begun> {
        let fingerprints = std::fs::read(file).ok()?;
        let chunks = u32::try_from(fingerprints.len() / Fingerprint::LEN).ok().filter(|chunks| *chunks > 0)?;
        // The last one may be half-written: then its chunk was not said.
        let mut hasher = Hasher::new();
        hasher.update(&fingerprints[..chunks as usize * Fingerprint::LEN]);
        Some(Begun { chunks, digest: hasher.finish() })
    }
}
