//! A file that is being written, and the room that it was promised.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tempfile::TempPath;

use super::{
    Kept, blocking,
    index::Name,
    store::{PREFIX, Store},
};
use crate::digest::Digest;

/// After how long without a write nobody can be writing to a file.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// A file that is being written. It has no name that anybody reads until [`Self::keep`]; dropped before, it is gone.
pub(in crate::registry) struct Partial {
    file: Arc<File>,
    path: TempPath,
    promise: Promise,
}

/// Room for so many bytes; dropped, it is free again.
struct Promise {
    store: Arc<Store>,
    bytes: u64,
}

impl Partial {
    pub(super) async fn create(store: Arc<Store>, bytes: u64) -> Option<Self> {
        if !store.is_well() || !store.promise(bytes) {
            return None;
        }
        let promise = Promise { store: store.clone(), bytes };
        let created = blocking(move || {
            store.make_room();
            create(&store.folder_of_partials())
        });
        match created.await? {
            Ok((file, path)) => Some(Self { file: Arc::new(file), path, promise }),
            Err(error) => {
                promise.store.trouble(&error);
                None
            }
        }
    }

    /// The file, to write to and to read from.
    pub(in crate::registry) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Gives it the name of the blob that it holds: `size` bytes whose digest the caller has verified.
    ///
    /// Where that fails, it can still be read: what is returned outlives its name.
    pub(in crate::registry) async fn keep(self, digest: Digest, size: u64) -> Kept {
        let Self { file, path, promise } = self;
        let written = file.clone();
        let kept = Kept { file, size };
        let renaming = blocking(move || {
            let store = promise.store.clone();
            // As precise as the times of use, which it is compared with.
            let _ = written.set_modified(SystemTime::now());
            match path.persist(store.path(Name::Blob(digest))) {
                Ok(()) => {
                    drop(promise);
                    store.verified(Name::Blob(digest), size);
                    store.make_room();
                }
                Err(error) => store.trouble(&error.error),
            }
        });
        renaming.await;
        kept
    }

    /// Something went wrong with the disk: says so once, and lets the cache rest.
    pub(in crate::registry) fn trouble(&self, error: &io::Error) {
        self.promise.store.trouble(error);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.store.release(self.bytes);
    }
}

/// A new file, locked, so that another process that cleans up leaves it alone.
pub(super) fn create(folder: &Path) -> io::Result<(File, TempPath)> {
    let (file, path) = tempfile::Builder::new().prefix(PREFIX).tempfile_in(folder)?.into_parts();
    // Where the file system knows no locks, another process may take the name away; the file can be used nonetheless.
    let _ = file.try_lock();
    Ok((file, path))
}

/// Removes what a former life left; what somebody is writing to is locked, and stays.
pub(super) fn clean(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if is_ours && File::open(entry.path()).is_ok_and(|file| is_free(&file.try_lock(), || age(&file))) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Whether nobody writes to a file, by what came of locking it. Where the file system knows no locks, its age tells.
fn is_free(locked: &Result<(), TryLockError>, age: impl FnOnce() -> Duration) -> bool {
    match locked {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(_)) => age() > ABANDONED,
    }
}

/// The time since a file was written to last; none if that is in the future.
fn age(file: &File) -> Duration {
    let modified = file.metadata().and_then(|metadata| metadata.modified());
    modified.ok().and_then(|modified| modified.elapsed().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_locks_a_file_is_free_when_nobody_wrote_to_it_for_a_day() {
        let unsupported = || Err(TryLockError::Error(io::ErrorKind::Unsupported.into()));
        assert!(is_free(&unsupported(), || ABANDONED * 2) && !is_free(&unsupported(), || ABANDONED));
        assert!(is_free(&Ok(()), Duration::default));
        assert!(!is_free(&Err(TryLockError::WouldBlock), || ABANDONED * 2));
    }
}
