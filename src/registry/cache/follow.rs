//! Reading a file of the cache, also while it is being written.

use std::{fs::File, io, os::unix::fs::FileExt as _, sync::Arc};

use bytes::Bytes;
use tokio::sync::watch;

use super::{
    Kept,
    batch::Batch,
    blocking,
    download::{Download, Progress, State},
};
use crate::{buffers::Buffers, digest::Hasher, registry::RegistryError};

/// The most bytes that are read at once.
const READ: usize = 512 * 1024;

/// A reader of a file.
pub(in crate::registry) struct FileReader {
    file: Reading,
    position: u64,
    size: u64,
    /// What is read from memory, and how many of its pieces were.
    batch: Option<(Arc<Batch>, usize)>,
    buffers: Buffers,
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

/// A part of a file of the cache.
pub(crate) struct Slice {
    file: Arc<File>,
    position: u64,
    /// In bytes.
    pub(crate) len: usize,
}

/// Where the bytes are that come next.
enum Found {
    /// In the file, up to this offset.
    File(Arc<File>, u64),
    /// In memory, as they came.
    Memory(Arc<Batch>),
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
        Self { file, position, size, batch: None, buffers: Buffers::default() }
    }

    /// The offset of the byte that comes next.
    pub(in crate::registry) fn position(&self) -> u64 {
        self.position
    }

    /// The bytes that come next. `hasher` takes them in, and may be ahead of them, but not of what can be had without
    /// waiting. A call that is cancelled loses nothing.
    pub(in crate::registry) async fn next(&mut self, hasher: Option<&mut Hasher>) -> Result<Read, RegistryError> {
        if let Some(bytes) = self.at_hand() {
            return Ok(Read::Bytes(bytes));
        }
        if self.position >= self.size {
            return Ok(Read::End);
        }
        let (file, end) = match &mut self.file {
            Reading::Kept(kept) => (kept.file.clone(), self.size),
            Reading::Growing(follower) => match follower.beyond(self.position).await? {
                Some(Found::File(file, end)) => (file, end),
                Some(Found::Memory(batch)) => {
                    if let Some(hasher) = hasher {
                        batch.update(hasher);
                    }
                    self.batch = Some((batch, 0));
                    return Ok(self.at_hand().map_or(Read::Lost, Read::Bytes));
                }
                None => return Ok(Read::Lost),
            },
        };
        Ok(self.read(file, end, hasher).await.map_or(Read::Broken, Read::Bytes))
    }

    /// The next piece of the batch that is in memory.
    fn at_hand(&mut self) -> Option<Bytes> {
        let (batch, next) = self.batch.as_mut()?;
        let Some(bytes) = batch.pieces.get(*next).cloned() else {
            self.batch = None;
            return None;
        };
        *next += 1;
        self.position += bytes.len() as u64;
        Some(bytes)
    }

    /// Whether all of it is in the file, as [`Self::slice`] wants it.
    pub(in crate::registry) fn is_kept(&self) -> bool {
        matches!(self.file, Reading::Kept(_))
    }

    /// The bytes that come next, so many or as many as there are, for who reads them where it blocks; `None` where they are
    /// not all in the file yet. They count as read.
    pub(in crate::registry) fn slice(&mut self, len: usize) -> Option<Slice> {
        let Reading::Kept(Kept { file, .. }) = &self.file else { return None };
        let (file, position) = (file.clone(), self.position);
        let len = len.min(usize::try_from(self.size - position).unwrap_or(usize::MAX));
        self.position += len as u64;
        Some(Slice { file, position, len })
    }

    /// Reads from the file, which may be read up to `end`; on a thread that may block, so that nobody else waits for it.
    async fn read(&mut self, file: Arc<File>, end: u64, hasher: Option<&mut Hasher>) -> Option<Bytes> {
        let len = READ.min(usize::try_from(end - self.position).unwrap_or(READ));
        let slice = Slice { file, position: self.position, len };
        let (mut buffer, mut running) = (self.buffers.take(len), hasher.as_deref().cloned());
        let reading = blocking(move || {
            slice.read(&mut buffer)?;
            if let Some(running) = &mut running {
                running.update(&buffer);
            }
            io::Result::Ok((buffer, running))
        });
        let (buffer, running) = reading.await?.ok()?;
        self.position += len as u64;
        if let (Some(hasher), Some(running)) = (hasher, running) {
            *hasher = running;
        }
        Some(self.buffers.lend(buffer))
    }
}

impl Slice {
    /// Reads it; blocks. What is in `buffer` from before is overwritten.
    pub(crate) fn read(&self, buffer: &mut Vec<u8>) -> io::Result<()> {
        buffer.resize(self.len, 0);
        self.file.read_exact_at(buffer, self.position)
    }
}

impl Follower {
    pub(super) fn new(download: Arc<Download>) -> Self {
        let progress = download.progress.subscribe();
        let known = progress.borrow().failures;
        Self { download, progress, known }
    }

    /// Waits until there is more than `position` bytes, and tells where. `None` where it goes on no more.
    ///
    /// The last byte may be read when the whole has been verified; and so what comes with it, for whoever keeps up.
    async fn beyond(&mut self, position: u64) -> Result<Option<Found>, RegistryError> {
        let held_back = self.download.wanted.blob.size.saturating_sub(1);
        self.download.reached.send_if_modified(|reached| std::mem::replace(reached, position.max(*reached)) < position);
        loop {
            let Progress { written, recent, state, failures } = self.progress.borrow_and_update().clone();
            let end = if matches!(state, State::Done) { written } else { written.min(held_back) };
            match recent.into_iter().flatten().find(|batch| batch.start == position) {
                Some(batch) if batch.end() <= end => return Ok(Some(Found::Memory(batch))),
                // It is about to be verified.
                Some(_) if matches!(state, State::Going) => {}
                _ if end > position => return Ok(self.download.file.get().map(|file| Found::File(file.clone(), end))),
                _ => {}
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
        Ok(whole.and_then(|_| self.download.file.get()).map(|file| Kept { file: file.clone(), size }))
    }
}
