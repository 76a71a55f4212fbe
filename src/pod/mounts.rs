//! Secrets as files: a directory for each Secret, with a file for each of its keys.
//!
//! The kubelet writes all keys of a Secret into a directory of their own, points the link `..data` to it, and then removes the
//! one before. So all keys are read below what the link says, and the link is looked at again after that: a certificate and
//! its key belong together, and what was read while it was being removed is read anew.
//!
//! Directories without such a link, as containers without a kubelet have them, are read as they are.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::File,
    io::{self, ErrorKind, Read as _},
    path::{Component, Path, PathBuf},
};

use crate::resource::credentials::{KEYS, SecretKeys};

/// What a kubelet calls the link to what holds now.
const DATA: &str = "..data";
/// The most bytes under a key: those of the largest Secret there is.
const LARGEST: u64 = 1 << 20;
/// How often a Secret is read that changes while it is being read. A kubelet looks at it once a minute.
const ATTEMPTS: usize = 5;

/// Where Secrets are mounted.
#[derive(Debug, Clone)]
pub struct Mounts<F = FileSystem> {
    /// The directory that holds a directory for each Secret.
    pub root: PathBuf,
    /// The namespace that the Secrets are of.
    pub namespace: String,
    /// How they are read.
    pub files: F,
}

/// Why a mounted Secret could not be read. No message holds any of its values.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// There is no directory for it.
    #[error("Secret {name} is not mounted at {}", path.display())]
    NotMounted {
        /// What it is called.
        name: String,
        /// Where it should be.
        path: PathBuf,
    },
    /// The directory is empty, as that of an optional Secret is which does not exist.
    #[error("Secret {name} does not exist in namespace {namespace}")]
    Empty {
        /// Where it should be.
        namespace: String,
        /// What it should be called.
        name: String,
    },
    /// It is there, and cannot be read.
    #[error("Secret {name} cannot be read from {}: {source}", path.display())]
    Unreadable {
        /// What it is called.
        name: String,
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What is asked of a file system.
pub trait Files {
    /// Where a link points to.
    ///
    /// # Errors
    /// Where there is none.
    fn link(&self, path: &Path) -> io::Result<PathBuf>;

    /// The names in a directory.
    ///
    /// # Errors
    /// Where there is none.
    fn list(&self, path: &Path) -> io::Result<Vec<OsString>>;

    /// What is in a file.
    ///
    /// # Errors
    /// Where it is none, or larger than any Secret.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
}

/// The file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct FileSystem;

impl Files for FileSystem {
    fn link(&self, path: &Path) -> io::Result<PathBuf> {
        std::fs::read_link(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        std::fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        // Asked before it is opened: to open a pipe is to wait for whoever writes.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a file"));
        }
        let mut bytes = Vec::new();
        File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
        let fits = u64::try_from(bytes.len()).is_ok_and(|length| length <= LARGEST);
        if fits { Ok(bytes) } else { Err(ErrorKind::FileTooLarge.into()) }
    }
}

impl<F: Files> Mounts<F> {
    /// Reads the Secret of this name, and touches no other.
    ///
    /// # Errors
    /// Where it is not mounted, does not exist, or cannot be read.
    pub fn read(&self, name: &str) -> Result<SecretKeys, MountError> {
        let path = self.root.join(name);
        let unreadable = |source| MountError::Unreadable { name: name.to_owned(), path: path.clone(), source };
        if !is_one_name(name) {
            return Err(unreadable(io::Error::new(ErrorKind::InvalidInput, "that is no name of a Secret")));
        }
        let mut outcome = self.read_once(&path);
        for _ in 1..ATTEMPTS {
            if !matches!(outcome, Err(Trouble::Changed)) {
                break;
            }
            outcome = self.read_once(&path);
        }
        match outcome {
            Ok(values) => Ok(SecretKeys { namespace: self.namespace.clone(), name: name.to_owned(), values }),
            Err(Trouble::NoDirectory) => Err(MountError::NotMounted { name: name.to_owned(), path }),
            Err(Trouble::Empty) => Err(MountError::Empty { namespace: self.namespace.clone(), name: name.to_owned() }),
            Err(Trouble::Changed) => Err(unreadable(io::Error::other("it changes all the time"))),
            Err(Trouble::Failed(source)) => Err(unreadable(source)),
        }
    }

    fn read_once(&self, path: &Path) -> Result<BTreeMap<String, Vec<u8>>, Trouble> {
        let data = path.join(DATA);
        let Ok(target) = self.files.link(&data) else { return self.read_keys(path) };
        let read = self.read_keys(&path.join(&target));
        // Whatever came of it while the kubelet replaced it does not count.
        if self.files.link(&data).is_ok_and(|now| now == target) { read } else { Err(Trouble::Changed) }
    }

    fn read_keys(&self, directory: &Path) -> Result<BTreeMap<String, Vec<u8>>, Trouble> {
        let names = self.files.list(directory).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Trouble::NoDirectory,
            _ => Trouble::Failed(error),
        })?;
        // What begins so is the kubelet's own.
        if names.iter().all(|name| name.as_encoded_bytes().starts_with(b"..")) {
            return Err(Trouble::Empty);
        }
        let keys = KEYS.into_iter().filter(|key| names.iter().any(|name| name == key));
        let read = |key: &str| Ok((key.to_owned(), self.files.read(&directory.join(key)).map_err(Trouble::Failed)?));
        keys.map(read).collect()
    }
}

/// Why one attempt has failed.
enum Trouble {
    NoDirectory,
    Empty,
    Changed,
    Failed(io::Error),
}

/// Admission sees to it; but no other rules may ever lead out of the directory.
fn is_one_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!((components.next(), components.next()), (Some(Component::Normal(only)), None) if only == name)
}

#[cfg(test)]
#[path = "mounts_tests.rs"]
mod tests;
