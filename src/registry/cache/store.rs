//! The files of a cache: found, checked, given their names, removed.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::{
    CacheError, Kept, Note, blocking,
    index::{Checked, Index, Name},
    partial,
};
use crate::digest::{Digest, Hasher};

/// How names in the folder of partial files begin: whatever else is in there is not ours to remove.
pub(super) const PREFIX: &str = "blob-";
const BLOBS: &str = "sha256";
const NOTES: &str = "layers";
const PARTIAL: &str = "partial";
/// More than any note has.
const MAX_NOTE: u64 = 1024;
/// How long nothing is written after the disk has given trouble.
const REST: Duration = Duration::from_secs(60);
/// Bytes that are hashed at once.
const READ: usize = 256 * 1024;

pub(super) struct Store {
    dir: PathBuf,
    index: Mutex<Index>,
    /// When the disk may be tried again.
    rests_until: Mutex<Option<Instant>>,
    /// It was said that a module is too large for it.
    was_too_small: AtomicBool,
}

/// A file as it was found.
struct Found {
    file: Arc<File>,
    size: u64,
    checked: Checked,
}

impl Store {
    pub(super) fn open(dir: &Path, max: u64) -> Result<Self, CacheError> {
        let unusable = |path: &Path| {
            let path = path.to_owned();
            move |source| CacheError { path, source }
        };
        for folder in [BLOBS, NOTES, PARTIAL].map(|folder| dir.join(folder)) {
            let created = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
            created.map_err(unusable(&folder))?;
        }
        let dir = dir.canonicalize().map_err(unusable(dir))?;
        let store = Self {
            dir,
            index: Mutex::new(Index::new(max)),
            rests_until: Mutex::default(),
            was_too_small: AtomicBool::new(false),
        };
        let partial = store.folder_of_partials();
        partial::clean(&partial).and_then(|()| partial::create(&partial)).map_err(unusable(&partial))?;
        store.scan().map_err(unusable(&store.dir))?;
        store.make_room();
        Ok(store)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn path(&self, name: Name) -> PathBuf {
        let (folder, digest) = match name {
            Name::Blob(digest) => (BLOBS, digest),
            Name::Note(digest) => (NOTES, digest),
        };
        self.dir.join(folder).join(digest.hex())
    }

    pub(super) fn folder_of_partials(&self) -> PathBuf {
        self.dir.join(PARTIAL)
    }

    /// A blob that is what its name says; what a former life or another process left is checked first, once.
    pub(super) async fn get(self: Arc<Self>, digest: Digest) -> Option<Kept> {
        let name = Name::Blob(digest);
        let store = self.clone();
        let Found { file, size, checked } = blocking(move || store.find(name)).await??;
        let is_good = checked.get_or_init(async || {
            let file = file.clone();
            blocking(move || hash(&file).is_ok_and(|actual| actual == digest)).await.unwrap_or_default()
        });
        if *is_good.await {
            return Some(Kept { file, size });
        }
        tracing::warn!(%digest, "what the cache kept has changed on disk, and is removed");
        self.forget(digest).await;
        None
    }

    /// Whether a blob is there that needs no checking.
    pub(super) fn is_good(&self, digest: Digest) -> bool {
        self.index().is_good(Name::Blob(digest))
    }

    pub(super) async fn forget(self: Arc<Self>, digest: Digest) {
        let name = Name::Blob(digest);
        blocking(move || self.remove(name)).await;
    }

    pub(super) async fn note(self: Arc<Self>, layer: Digest) -> Option<Note> {
        let read = move || {
            let Found { file, .. } = self.find(Name::Note(layer))?;
            let mut json = Vec::new();
            file.take(MAX_NOTE).read_to_end(&mut json).ok()?;
            serde_json::from_slice(&json).ok()
        };
        blocking(read).await?
    }

    pub(super) async fn put_note(self: Arc<Self>, layer: Digest, note: Note) {
        let name = Name::Note(layer);
        let write = move || {
            if !self.is_well() {
                return;
            }
            match self.write_note(name, note) {
                Ok(size) => {
                    self.verified(name, size);
                    self.make_room();
                }
                Err(error) => self.trouble(&error),
            }
        };
        blocking(write).await;
    }

    fn write_note(&self, name: Name, note: Note) -> io::Result<u64> {
        let json = serde_json::to_vec(&note)?;
        let (mut file, path) = partial::create(&self.folder_of_partials())?;
        file.write_all(&json)?;
        path.persist(self.path(name))?;
        Ok(json.len() as u64)
    }

    /// Opens a file, and notes that it is in use.
    fn find(&self, name: Name) -> Option<Found> {
        let opened = File::open(self.path(name)).and_then(|file| file.metadata().map(|metadata| (file, metadata)));
        let (file, metadata) = match opened {
            Ok((file, metadata)) if metadata.is_file() => (file, metadata),
            // Too many open files, say: it takes up its room all the same.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return None,
            // Another process, or somebody who cleans up.
            _ => {
                self.index().forget(name);
                return None;
            }
        };
        let _ = file.set_modified(SystemTime::now());
        let checked = self.index().touch(name, metadata.len());
        Some(Found { file: Arc::new(file), size: metadata.len(), checked })
    }

    fn remove(&self, name: Name) {
        self.index().forget(name);
        let _ = fs::remove_file(self.path(name));
    }

    /// Takes in what is there, the least recently used first. What has no name of ours is not ours.
    fn scan(&self) -> io::Result<()> {
        let mut found = Vec::new();
        for (folder, named) in [(BLOBS, Name::Blob as fn(Digest) -> Name), (NOTES, Name::Note)] {
            for entry in fs::read_dir(self.dir.join(folder))? {
                let entry = entry?;
                let digest = entry.file_name().to_str().and_then(|hex| format!("sha256:{hex}").parse().ok());
                // What has vanished meanwhile has not been there.
                let metadata = entry.metadata().ok().filter(fs::Metadata::is_file);
                if let (Some(digest), Some(metadata)) = (digest, metadata) {
                    found.push((metadata.modified()?, named(digest), metadata.len()));
                }
            }
        }
        found.sort_by_key(|(modified, ..)| *modified);
        let mut index = self.index();
        for (_, name, size) in found {
            index.touch(name, size);
        }
        Ok(())
    }

    /// Promises room, which [`Self::make_room`] then makes.
    pub(super) fn promise(&self, bytes: u64) -> bool {
        let mut index = self.index();
        let is_promised = index.promise(bytes);
        let max = index.max();
        drop(index);
        if bytes > max && !self.was_too_small.swap(true, Ordering::Relaxed) {
            tracing::warn!(bytes, max, "larger than the cache: such modules come from the registry each time");
        }
        is_promised
    }

    pub(super) fn release(&self, bytes: u64) {
        self.index().release(bytes);
    }

    pub(super) fn verified(&self, name: Name, size: u64) {
        self.index().verified(name, size);
    }

    /// Removes what is over the bound.
    pub(super) fn make_room(&self) {
        let over = self.index().overflow();
        for name in over {
            let _ = fs::remove_file(self.path(name));
        }
    }

    /// Whether the disk may be written to.
    pub(super) fn is_well(&self) -> bool {
        self.rest().is_none_or(|until| until <= Instant::now())
    }

    /// The disk gave trouble: says so once, and leaves it in peace for a while.
    pub(super) fn trouble(&self, error: &io::Error) {
        let mut rest = self.rest();
        let now = Instant::now();
        if rest.is_none_or(|until| until <= now) {
            let dir = self.dir.display();
            tracing::warn!(%error, %dir, "the cache cannot be written to: modules come from the registry for a minute");
            *rest = Some(now + REST);
        }
    }

    fn rest(&self) -> MutexGuard<'_, Option<Instant>> {
        self.rests_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(file: &Arc<File>) -> io::Result<Digest> {
    let mut reader = Kept { file: file.clone(), size: 0 }.reader();
    let (mut hasher, mut buffer) = (Hasher::new(), vec![0; READ]);
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(read) => hasher.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
