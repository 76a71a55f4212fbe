//! The file that a module is gathered in: beside its target, until it is verified.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use tempfile::{NamedTempFile, TempPath};
use tokio::task::spawn_blocking;

use crate::digest::{Digest, Hasher};

/// Why a module cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The target is a folder.
    #[error("{} is a folder: name a file in it, as in {}", .0.display(), .0.join("module.wasm").display())]
    IsFolder(PathBuf),
    /// The target is something else that would be destroyed by putting a file in its place.
    #[error("{} is no regular file, and is not replaced: name another one", .0.display())]
    IsSpecial(PathBuf),
    /// The target's folder is not there.
    #[error("there is no folder {}: make it, or name another one", .0.display())]
    NoFolder(PathBuf),
    /// The target's folder takes no files from us.
    #[error("no file can be made in the folder {}: {error}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The disk is full, mostly.
    #[error("cannot write {}: {error}", target.display())]
    Write {
        /// What the file was to become.
        target: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
}

impl FileError {
    /// Whether another target would do.
    pub fn is_usage(&self) -> bool {
        !matches!(self, Self::Write { .. })
    }
}

/// A file in the making, in the folder of its target; removed when dropped before [`PartialFile::keep`].
///
/// Chunks are written where they belong, so none is ever held: what is missing is a hole.
#[derive(Debug)]
pub struct PartialFile {
    target: PathBuf,
    // Apart from the file: a write that is under way keeps that open, but not the name alive.
    path: TempPath,
    file: Arc<File>,
}

impl PartialFile {
    /// An empty file that is to become `target`.
    ///
    /// # Errors
    /// Where `target` is something else than a file, or its folder cannot be written to.
    pub async fn create(target: &Path) -> Result<Self, FileError> {
        let path = target.to_owned();
        let created = spawn_blocking(move || Self::create_now(path)).await;
        created.unwrap_or_else(|error| Err(FileError::Write { target: target.to_owned(), error: error.into() }))
    }

    fn create_now(target: PathBuf) -> Result<Self, FileError> {
        let Some(name) = target.file_name() else { return Err(FileError::IsFolder(target)) };
        // Renaming would replace a device or a socket.
        match target.metadata() {
            Ok(metadata) if metadata.is_dir() => return Err(FileError::IsFolder(target)),
            Ok(metadata) if !metadata.is_file() => return Err(FileError::IsSpecial(target)),
            _ => (),
        }
        let folder = folder(&target);
        if !folder.is_dir() {
            return Err(FileError::NoFolder(folder.to_owned()));
        }
        // Without the name that a library adds: nobody knows our temporary file by it.
        let refused = |error: io::Error| FileError::Folder { folder: folder.to_owned(), error: error.kind().into() };
        let temporary = temporary(&format!(".{}.", name.to_string_lossy()), folder).map_err(refused)?;
        let (file, path) = temporary.into_parts();
        Ok(Self { file: Arc::new(file), path, target })
    }

    /// Empties the file and makes room for `size` bytes.
    ///
    /// # Errors
    /// Where the file system holds no file so large.
    pub async fn begin(&self, size: u64) -> Result<(), FileError> {
        let file = self.file.clone();
        self.blocking(move || {
            file.set_len(0)?;
            file.set_len(size)
        })
        .await
    }

    /// Writes `data` at `offset`, in bytes.
    ///
    /// # Errors
    /// Those of the file system: it is full, mostly.
    pub async fn write(&self, offset: u64, data: Vec<u8>) -> Result<(), FileError> {
        let file = self.file.clone();
        self.blocking(move || {
            let mut file = &*file;
            file.seek(SeekFrom::Start(offset))?;
            file.write_all(&data)
        })
        .await
    }

    /// The digest of what is in the file, read back from it.
    ///
    /// # Errors
    /// Those of the file system.
    pub async fn digest(&self) -> Result<Digest, FileError> {
        let file = self.file.clone();
        self.blocking(move || {
            let mut file = &*file;
            file.seek(SeekFrom::Start(0))?;
            let mut hasher = Hasher::new();
            let mut buffer = vec![0; 1 << 18];
            loop {
                match file.read(&mut buffer)? {
                    0 => return Ok(hasher.finish()),
                    read => hasher.update(&buffer[..read]),
                }
            }
        })
        .await
    }

    /// Gives the file its name, in place of what had it: after a loss of power the old one is there, or the new one.
    ///
    /// # Errors
    /// Those of the file system; the file is removed then.
    pub async fn keep(self) -> Result<(), FileError> {
        let Self { target, path, file } = self;
        let name = target.clone();
        blocking(target, move || {
            file.sync_all()?;
            path.persist(&name).map_err(|error| error.error)?;
            // The name is on the disk when its folder is. Not every file system has that to offer.
            let _ = File::open(folder(&name)).and_then(|folder| folder.sync_all());
            Ok(())
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, FileError> {
        blocking(self.target.clone(), work).await
    }
}

fn folder(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn temporary(prefix: &str, folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix).suffix(".part");
    // As any file that a user makes: the umask decides. Temporary files are their owner's alone otherwise.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

async fn blocking<T: Send + 'static>(
    target: PathBuf,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, FileError> {
    let done = spawn_blocking(work).await.unwrap_or_else(|error| Err(error.into()));
    done.map_err(|error| FileError::Write { target, error })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn names(folder: &TempDir) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[tokio::test]
    async fn chunks_may_come_in_any_order() {
        let folder = TempDir::new().unwrap();
        let target = folder.path().join("module.wasm");
        let file = PartialFile::create(&target).await.unwrap();
        file.begin(6).await.unwrap();
        file.write(3, b"def".to_vec()).await.unwrap();
        file.write(0, b"abc".to_vec()).await.unwrap();
        assert_eq!(file.digest().await.unwrap(), Digest::of(b"abcdef"));
        file.keep().await.unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"abcdef");
        assert_eq!(names(&folder), ["module.wasm"]);
    }

    #[tokio::test]
    async fn until_it_is_kept_the_target_is_as_it_was() {
        let folder = TempDir::new().unwrap();
        let target = folder.path().join("module.wasm");
        fs::write(&target, b"old").unwrap();
        let file = PartialFile::create(&target).await.unwrap();
        file.begin(3).await.unwrap();
        file.write(0, b"new".to_vec()).await.unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"old");
        drop(file);
        assert_eq!(fs::read(&target).unwrap(), b"old");
        assert_eq!(names(&folder), ["module.wasm"]);
    }

    #[tokio::test]
    async fn beginning_anew_leaves_nothing_of_what_was() {
        let folder = TempDir::new().unwrap();
        let file = PartialFile::create(&folder.path().join("module.wasm")).await.unwrap();
        file.begin(9).await.unwrap();
        file.write(0, b"123456789".to_vec()).await.unwrap();
        file.begin(4).await.unwrap();
        assert_eq!(file.digest().await.unwrap(), Digest::of(&[0; 4]));
    }

    #[tokio::test]
    async fn what_is_no_file_is_not_replaced() {
        let folder = TempDir::new().unwrap();
        let error = async |path: &Path| PartialFile::create(path).await.unwrap_err();
        for path in [folder.path(), Path::new("/"), Path::new("..")] {
            let error = error(path).await;
            assert!(matches!(error, FileError::IsFolder(_)) && error.to_string().contains("module.wasm"), "{error}");
        }
        assert!(matches!(error(Path::new("/dev/null")).await, FileError::IsSpecial(_)));
        let missing = folder.path().join("missing");
        let named = error(&missing.join("module.wasm")).await;
        assert!(matches!(&named, FileError::NoFolder(folder) if *folder == missing), "{named}");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn the_file_has_the_permissions_of_any_other() {
        use std::os::unix::fs::PermissionsExt;
        let folder = TempDir::new().unwrap();
        let (target, other) = (folder.path().join("module.wasm"), folder.path().join("other"));
        PartialFile::create(&target).await.unwrap().keep().await.unwrap();
        fs::write(&other, b"").unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode();
        assert_eq!(mode(&target), mode(&other));
    }
}
