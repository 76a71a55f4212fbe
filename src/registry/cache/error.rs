//! Why a folder cannot be a cache.

use std::{io, path::PathBuf};

/// Why a folder cannot be a cache.
#[derive(Debug, thiserror::Error)]
#[error("the cache cannot be kept in {}: {source}; name a directory that can be written to", path.display())]
pub struct CacheError {
    /// The folder or the file in it that gave trouble.
    pub path: PathBuf,
    /// What happened.
    pub source: io::Error,
}
