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
    pub async fn create(target: &Path) -> io::Result<Self> {
        let target = target.to_owned();
        blocking(move || {
            let name = target.file_name().ok_or_else(|| io::Error::other("not the name of a file"))?;
            // Renaming would replace a device or a socket.
            if target.metadata().is_ok_and(|metadata| !metadata.is_file()) {
                return Err(io::Error::other("exists, and is not a regular file"));
            }
            let (file, path) = temporary(&format!(".{}.", name.to_string_lossy()), folder(&target))?.into_parts();
            Ok(Self { file: Arc::new(file), path, target })
        })
        .await
    }

    /// Empties the file and makes room for `size` bytes.
    ///
    /// # Errors
    /// Where the file system holds no file so large.
    pub async fn begin(&self, size: u64) -> io::Result<()> {
        let file = self.file.clone();
        blocking(move || {
            file.set_len(0)?;
            file.set_len(size)
        })
        .await
    }

    /// Writes `data` at `offset`, in bytes.
    ///
    /// # Errors
    /// Those of the file system: it is full, mostly.
    pub async fn write(&self, offset: u64, data: Vec<u8>) -> io::Result<()> {
        let file = self.file.clone();
        blocking(move || {
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
    pub async fn digest(&self) -> io::Result<Digest> {
        let file = self.file.clone();
        blocking(move || {
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
    pub async fn keep(self) -> io::Result<()> {
        blocking(move || {
            self.file.sync_all()?;
            self.path.persist(&self.target).map_err(|error| error.error)?;
            // The name is on the disk when its folder is. Not every file system has that to offer.
            let _ = File::open(folder(&self.target)).and_then(|folder| folder.sync_all());
            Ok(())
        })
        .await
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

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
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
        let error = PartialFile::create(folder.path()).await.unwrap_err();
        assert!(error.to_string().contains("not a regular file"), "{error}");
        assert!(PartialFile::create(Path::new("/")).await.is_err());
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
