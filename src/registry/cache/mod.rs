//! Verified blobs on disk, by digest, within a bound: what was downloaded once is not downloaded again.
//!
//! ```text
//!   <dir>/sha256/<hex>    a blob; its name was given when its digest had been verified, and not before
//!   <dir>/layers/<hex>    a note: which module was found in a layer, under a name that tells layers and configurations apart
//!   <dir>/partial/<any>   what is being written; nobody reads it by name
//!   <dir>/channels/…      workers' notes: none of the cache's business
//! ```
//!
//! - `index` – what is there, what is promised to downloads, who goes first when room is needed (pure);
//! - `store` – files found, checked, given their names, removed;
//! - `partial` – a file that is being written, and the room that it was promised;
//! - `download` – the one task that writes a blob while anybody reads it: what comes waits in an `inbox`, and is written in a
//!   `batch`; `follow` – how it is read meanwhile, and later;
//! - `turns` – who unpacks a layer, while others wait for that;
//! - `error` – why a folder cannot be a cache.
//!
//! **What can be relied on.** A blob of a former life is read in whole and compared with its digest before its first
//! use in this process; so neither a crash nor a power failure needs anything of us, and nothing is ever synced. What
//! is found wrong is removed. Files being read may be removed at any time: who has them open reads on. Recency is the
//! files' time of modification, and survives a restart.
//!
//! **What can go wrong goes wrong without a failed delivery.** A disk that is full or read-only, a folder that has
//! vanished: one warning, and modules come from the registry for a minute, before the next attempt.
//!
//! **Two processes in one folder** do each other no harm. Names are random until they are digests, a digest's file is
//! the same whoever wrote it, and a file that is being written is locked (`flock`) against the other's cleaning up.
//! Each counts what it found when it began and what it used since: together they may take up to twice the bound.
//!
//! Access is none of the cache's business. A digest is learnt from a registry, with the credentials of whoever asks.

mod batch;
mod download;
mod error;
mod follow;
mod inbox;
mod index;
mod partial;
mod store;
mod turns;

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt as _,
    path::Path,
    sync::Arc,
};

use download::Downloads;
pub(super) use download::{Source, Wanted};
pub use error::CacheError;
pub(crate) use follow::Slice;
pub(super) use follow::{FileReader, Read as FileRead, Reading};
pub(super) use partial::Partial;
use store::Store;
use tokio::sync::SemaphorePermit;
pub(super) use turns::Place;
use turns::Turns;

use crate::digest::Digest;

/// A folder of verified blobs. Clones are the same cache; two are equal when their folder is the same.
#[derive(Clone)]
pub struct Cache {
    store: Arc<Store>,
    downloads: Arc<Downloads>,
    turns: Arc<Turns>,
}

/// A blob that is kept, or a part of one that is being written.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    /// Read it by position: the handle is shared.
    pub(super) file: Arc<File>,
    /// The blob's size in bytes.
    pub(super) size: u64,
}

/// Which module was found in a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Note {
    /// The digest of the module's bytes.
    pub(super) digest: Digest,
    /// The module's size in bytes.
    pub(super) size: u64,
}

impl Cache {
    /// Opens a folder, and creates it where it is missing, for our eyes alone. Removes what a former life left
    /// half-written, and what is over `max_bytes`, least recently used first. Reads names and sizes only; blocks
    /// meanwhile.
    ///
    /// # Errors
    /// Where the folder cannot be created, listed or written to.
    pub fn open(dir: impl AsRef<Path>, max_bytes: u64) -> Result<Self, CacheError> {
        Ok(Self {
            store: Arc::new(Store::open(dir.as_ref(), max_bytes)?),
            downloads: Arc::default(),
            turns: Arc::default(),
        })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        self.store.dir()
    }

    /// What is wanted: from the folder, or as the one download of it that is under way, or begins now.
    pub(super) async fn read<S: Source>(&self, wanted: &Wanted, source: impl Fn() -> S) -> Reading {
        loop {
            if let Some(kept) = self.get(wanted.blob.digest).await {
                return Reading::Kept(kept);
            }
            if let Some(follower) = self.downloads.join(&self.store, wanted, &source) {
                return Reading::Growing(follower);
            }
        }
    }

    /// A blob, if it is kept; what a former life left is checked first.
    pub(super) async fn get(&self, digest: Digest) -> Option<Kept> {
        self.store.clone().get(digest).await
    }

    /// A new file to write a blob of so many bytes into. `None` where there is no room, or the disk gave trouble a minute ago or now.
    pub(super) async fn partial(&self, bytes: u64) -> Option<Partial> {
        Partial::create(self.store.clone(), bytes).await
    }

    /// Drops a blob that is not what it should be.
    pub(super) async fn forget(&self, digest: Digest) {
        self.store.clone().forget(digest).await;
    }

    /// What is known of a layer, under the name that whoever unpacks layers has for it.
    pub(super) async fn note(&self, layer: Digest) -> Option<Note> {
        self.store.clone().note(layer).await
    }

    /// Queues to unpack a layer, under the name that [`Self::note`] takes.
    pub(super) fn queue(&self, layer: Digest) -> Place {
        self.turns.queue(layer)
    }

    /// Waits for one of the few processors that may unpack something.
    pub(super) async fn processor(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.processor().await
    }

    /// Remembers what was found in a layer.
    pub(super) async fn put_note(&self, layer: Digest, note: Note) {
        self.store.clone().put_note(layer, note).await;
    }
}

impl PartialEq for Cache {
    fn eq(&self, other: &Self) -> bool {
        self.dir() == other.dir()
    }
}

impl Eq for Cache {}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cache").field(&self.dir()).finish()
    }
}

impl Kept {
    /// The bytes from its first on, for what reads in order; blocks.
    pub(super) fn reader(&self) -> impl Read + Send + use<> {
        Cursor { file: self.file.clone(), position: 0 }
    }
}

/// A place of its own in a file that others read, too.
struct Cursor {
    file: Arc<File>,
    position: u64,
}

impl Read for Cursor {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

/// Runs what blocks on a thread for that. `None` where it panicked, or the runtime ends.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

#[cfg(test)]
mod tests;
