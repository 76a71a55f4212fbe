//! Reading a file of the cache, also while it is being written.

use std::{fs::File, io, os::unix::fs::FileExt as _, sync::Arc};

use bytes::Bytes;
use tokio::sync::watch;

use super::{
    Kept, blocking,
    download::{Download, Progress, State},
};
use crate::{digest::Hasher, registry::RegistryError};

/// The most bytes that are read at once.
const READ: u64 = 512 * 1024;

/// A reader of a file.
pub(in crate::registry) struct FileReader {
    file: Reading,
    position: u64,
    size: u64,
}

/// What is read.
pub(in crate::registry) enum Reading {
    /// All of it is there, verified.
    Kept(Kept),
    /// It is being downloaded.
    Growing(Follower),
}

/// What a read comes to.
pub(in crate::registry) enum Read {
    Bytes(Bytes),
    End,
    /// The download does not go on: do so elsewhere, from here.
    Lost,
    /// The file cannot be read: it should be removed, and read elsewhere, from here.
    Broken,
}

/// A reader's part of a download; the download goes on while there are any.
pub(in crate::registry) struct Follower {
    download: Arc<Download>,
    progress: watch::Receiver<Progress>,
    /// The failures that this reader was told of, or that were before its time.
    known: u32,
}

impl FileReader {
    /// Reads from `position` on.
    pub(in crate::registry) fn new(file: Reading, position: u64, size: u64) -> Self {
        Self { file, position, size }
    }

    /// The offset of the byte that comes next.
    pub(in crate::registry) fn position(&self) -> u64 {
        self.position
    }

    /// The bytes that come next, which `hasher` takes in, too. A call that is cancelled loses nothing.
    pub(in crate::registry) async fn next(&mut self, hasher: Option<&mut Hasher>) -> Result<Read, RegistryError> {
        if self.position >= self.size {
            return Ok(Read::End);
        }
        let (file, end) = match &mut self.file {
            Reading::Kept(kept) => (kept.file.clone(), self.size),
            Reading::Growing(follower) => match follower.beyond(self.position).await? {
                Some(found) => found,
                None => return Ok(Read::Lost),
            },
        };
        let (position, len) = (self.position, READ.min(end - self.position));
        // On a thread that may block anyway, so that nobody else waits for it.
        let mut running = hasher.as_deref().cloned();
        let reading = blocking(move || {
            let bytes = read(&file, position, len)?;
            if let Some(running) = &mut running {
                running.update(&bytes);
            }
            io::Result::Ok((bytes, running))
        });
        let Some(Ok((bytes, running))) = reading.await else { return Ok(Read::Broken) };
        self.position += len;
        if let (Some(hasher), Some(running)) = (hasher, running) {
            *hasher = running;
        }
        Ok(Read::Bytes(bytes))
    }
}

fn read(file: &File, position: u64, len: u64) -> io::Result<Bytes> {
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, position)?;
    Ok(bytes.into())
}

impl Follower {
    pub(super) fn new(download: Arc<Download>) -> Self {
        let progress = download.progress.subscribe();
        let known = progress.borrow().failures;
        Self { download, progress, known }
    }

    /// Waits until there is more than `position` bytes: the file, and where what may be read of it ends. `None` where
    /// it goes on no more.
    ///
    /// The last byte may be read when the whole has been verified.
    async fn beyond(&mut self, position: u64) -> Result<Option<(Arc<File>, u64)>, RegistryError> {
        let held_back = self.download.wanted.blob.size.saturating_sub(1);
        loop {
            let Progress { written, state, failures } = self.progress.borrow_and_update().clone();
            let end = if matches!(state, State::Done) { written } else { written.min(held_back) };
            if end > position {
                return Ok(self.download.file.get().map(|file| (file.clone(), end)));
            }
            match state {
                State::Going => {}
                State::Done | State::Forsaken => return Ok(None),
                State::Failed(error) if failures > self.known || !error.is_retryable() => {
                    self.known = failures;
                    return Err(error);
                }
                State::Failed(_) => self.download.called.notify_one(),
            }
            if self.progress.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    /// Waits for the whole; `None` where it does not come to that.
    pub(in crate::registry) async fn whole(mut self) -> Result<Option<Kept>, RegistryError> {
        let size = self.download.wanted.blob.size;
        let whole = self.beyond(size.saturating_sub(1)).await?;
        Ok(whole.map(|(file, size)| Kept { file, size }))
    }
}
