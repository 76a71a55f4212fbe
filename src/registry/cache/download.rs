//! A download: a task that writes a blob at the registry's speed, and what its readers know of it.
//!
//! ```text
//!            ┌────────── somebody reads ◄───────────────┐
//!   begin ─► going ──── nobody does, or the registry ──► waiting ──── 30 s ──► forsaken
//!              │        fails and may do better later                            ▲
//!              ├─ all of it came, and is what its digest says ──► done           │
//!              ├─ it never will be ──► failed                                    │
//!              └─ the disk gave trouble, or there is no room ────────────────────┘
//! ```
//!
//! A download goes on while somebody reads it, so what nobody wants any more fills no disk. What it has is kept for
//! half a minute: a pass that is tried again goes on from there. Readers of a forsaken download go on by themselves,
//! from the byte reached.

use std::{
    collections::HashMap,
    fs::File,
    io,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::FutureExt as _;
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};
use tracing::Instrument as _;

use super::{Partial, batch::Batch, blocking, follow::Follower, inbox::Inbox, store::Store};
use crate::{
    digest::{Digest, Hasher},
    registry::{RegistryError, RegistryOptions, blob::Blob},
};

/// How long a batch waits to be written for a reader who has still to take the last but one.
const PATIENCE: Duration = Duration::from_millis(5);

/// How long what has come of a blob is kept while nobody reads it.
const GRACE: Duration = Duration::from_secs(30);

/// Where a download's bytes come from, in order; it resumes what breaks by itself.
pub(in crate::registry) trait Source: Send + 'static {
    /// The bytes that come next. A call that is cancelled loses nothing, and after an error that is retryable it may be
    /// called again.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, RegistryError>> + Send;
}

/// What is downloaded, from where, and as whom: only those who would ask the same question share the answer while it is
/// not verified.
#[derive(Debug, Clone)]
pub(in crate::registry) struct Wanted {
    pub(in crate::registry) blob: Blob,
    /// How the registry is reached.
    pub(in crate::registry) access: Arc<RegistryOptions>,
}

/// The downloads under way.
#[derive(Default)]
pub(super) struct Downloads(Mutex<HashMap<Digest, Vec<Arc<Download>>>>);

/// A download as its readers see it.
pub(super) struct Download {
    pub(super) wanted: Wanted,
    pub(super) file: OnceLock<Arc<File>>,
    pub(super) progress: watch::Sender<Progress>,
    /// Somebody wants it to go on.
    pub(super) called: Notify,
    /// How far the reader is who is first.
    pub(super) reached: watch::Sender<u64>,
}

#[derive(Debug, Clone)]
pub(super) struct Progress {
    /// Bytes that can be read.
    pub(super) written: u64,
    /// What was written last, for who is a little behind.
    pub(super) recent: [Option<Arc<Batch>>; 2],
    pub(super) state: State,
    /// How often it has failed.
    pub(super) failures: u32,
}

#[derive(Debug, Clone)]
pub(super) enum State {
    Going,
    /// If the error is retryable, the next attempt begins when somebody calls for it.
    Failed(RegistryError),
    /// All bytes are there, and are what the digest says.
    Done,
    /// It does not go on.
    Forsaken,
}

/// Why a download does not go on, for now or for good.
enum Interruption {
    Deserted,
    Failed(RegistryError),
    Disk(io::Error),
}

impl Wanted {
    fn is_same(&self, other: &Self) -> bool {
        let (a, b) = (&self.blob, &other.blob);
        (a.digest, a.size) == (b.digest, b.size)
            && (a.reference.host(), a.reference.repository()) == (b.reference.host(), b.reference.repository())
            && (Arc::ptr_eq(&self.access, &other.access) || self.access == other.access)
    }
}

impl Downloads {
    /// Joins the download of what is wanted, or begins it. `None` where the blob is kept since.
    pub(super) fn join<S: Source>(
        self: &Arc<Self>,
        store: &Arc<Store>,
        wanted: &Wanted,
        source: impl FnOnce() -> S,
    ) -> Option<Follower> {
        let mut under_way = self.lock();
        let downloads = under_way.entry(wanted.blob.digest).or_default();
        if let Some(download) = downloads.iter().find(|download| download.wanted.is_same(wanted)) {
            let follower = Follower::new(download.clone());
            download.called.notify_one();
            return Some(follower);
        }
        // A download leaves the list only after its blob has got its name.
        if store.is_good(wanted.blob.digest) {
            return None;
        }
        let progress = Progress { written: 0, recent: [None, None], state: State::Going, failures: 0 };
        let download = Arc::new(Download {
            wanted: wanted.clone(),
            file: OnceLock::new(),
            progress: watch::Sender::new(progress),
            called: Notify::new(),
            reached: watch::Sender::new(0),
        });
        downloads.push(download.clone());
        let follower = Follower::new(download.clone());
        let task = Task::new(self.clone(), download, source());
        tokio::spawn(task.run(store.clone()).in_current_span());
        Some(follower)
    }

    fn remove(&self, download: &Arc<Download>) {
        let mut under_way = self.lock();
        let digest = download.wanted.blob.digest;
        if let Some(downloads) = under_way.get_mut(&digest) {
            downloads.retain(|other| !Arc::ptr_eq(other, download));
            if downloads.is_empty() {
                under_way.remove(&digest);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Vec<Arc<Download>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Task<S> {
    list: Arc<Downloads>,
    download: Arc<Download>,
    source: S,
    inbox: Inbox,
    written: Written,
}

/// What is written.
#[derive(Default)]
struct Written {
    /// The offset of the byte after its last.
    end: u64,
    hasher: Hasher,
}

impl<S: Source> Task<S> {
    fn new(list: Arc<Downloads>, download: Arc<Download>, source: S) -> Self {
        Self { list, download, source, inbox: Inbox::default(), written: Written::default() }
    }

    async fn run(mut self, store: Arc<Store>) {
        let blob = self.download.wanted.blob.clone();
        let Some(partial) = Partial::create(store, blob.size).await else { return };
        // Nobody else sets it.
        let _ = self.download.file.set(partial.file().clone());
        if self.complete(&blob, &partial).await {
            partial.keep(blob.digest, blob.size).await;
            self.list.remove(&self.download);
            return self.report(|progress| progress.state = State::Done);
        }
        // The disk takes its time to give up a large file.
        blocking(move || {
            drop(partial);
            drop(self);
        })
        .await;
    }

    /// Whether all of it came in the end.
    async fn complete(&mut self, blob: &Blob, partial: &Partial) -> bool {
        loop {
            match self.transfer(blob, partial).await {
                Ok(()) => return true,
                Err(Interruption::Disk(error)) => {
                    partial.trouble(&error);
                    return false;
                }
                Err(Interruption::Failed(error)) => {
                    let may_go_on = error.is_retryable();
                    self.fail(error);
                    if !may_go_on {
                        return false;
                    }
                }
                Err(Interruption::Deserted) => {}
            }
            self.report(|progress| progress.recent = [None, None]);
            if timeout(GRACE, self.download.called.notified()).await.is_err() {
                return false;
            }
            self.report(|progress| progress.state = State::Going);
        }
    }

    async fn transfer(&mut self, blob: &Blob, partial: &Partial) -> Result<(), Interruption> {
        let Self { download, source, inbox, written, .. } = self;
        let receiving = async {
            inbox.fill_from(source).await;
            Ok(())
        };
        tokio::try_join!(receiving, write(download, inbox, written, partial.file()))?;
        if let Some(Err(error)) = inbox.take_end() {
            return Err(Interruption::Failed(error));
        }
        let actual = written.hasher.clone().finish();
        if actual == blob.digest {
            return Ok(());
        }
        let (reference, expected) = (blob.reference.clone(), blob.digest);
        Err(Interruption::Failed(RegistryError::DigestMismatch { reference, expected, actual }))
    }

    fn fail(&self, error: RegistryError) {
        // Whoever called before did not know of this failure.
        let _ = self.download.called.notified().now_or_never();
        self.report(|progress| {
            progress.failures += 1;
            progress.state = State::Failed(error);
        });
    }
}

impl<S> Task<S> {
    fn report(&self, change: impl FnOnce(&mut Progress)) {
        self.download.progress.send_modify(change);
    }
}

/// Writes what comes, until no more does.
async fn write(
    download: &Download,
    inbox: &Inbox,
    written: &mut Written,
    file: &Arc<File>,
) -> Result<(), Interruption> {
    let mut deserted = pin!(download.progress.closed());
    loop {
        tokio::select! {
            biased;
            () = &mut deserted => return Err(Interruption::Deserted),
            came = inbox.wait() => if !came {
                return Ok(());
            },
        }
        download.wait_for_readers().await;
        let (pieces, len) = inbox.take();
        let batch = Batch::new(written.end, pieces, len, written.hasher.clone());
        let batch = batch.write(file.clone()).await.map_err(Interruption::Disk)?;
        *written = Written { end: batch.end(), hasher: batch.after.clone() };
        download.progress.send_modify(|progress| {
            progress.written = batch.end();
            progress.recent = [Some(batch), progress.recent[0].take()];
        });
    }
}

impl Download {
    /// Waits, if not for long, until somebody has taken what is no longer among the recent when more is written: whoever
    /// keeps up saves a reading of the file, and a digest.
    async fn wait_for_readers(&self) {
        let [_, Some(oldest)] = self.progress.borrow().recent.clone() else { return };
        let mut reached = self.reached.subscribe();
        let _ = timeout(PATIENCE, reached.wait_for(|reached| *reached >= oldest.end())).await;
    }
}

impl<S> Drop for Task<S> {
    /// However it ends: nobody waits for it any more.
    fn drop(&mut self) {
        self.list.remove(&self.download);
        self.report(|progress| match &progress.state {
            State::Done => {}
            State::Failed(error) if !error.is_retryable() => {}
            _ => progress.state = State::Forsaken,
        });
    }
}
