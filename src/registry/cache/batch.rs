//! What a download writes at once, for those of its readers who keep up with it: they need neither read it from the file nor
//! compute its digest.

use std::{fs::File, io, os::unix::fs::FileExt as _, sync::Arc};

use bytes::Bytes;

use super::blocking;
use crate::digest::Hasher;

/// A part of a blob, as it came from the registry.
#[derive(Debug)]
pub(super) struct Batch {
    /// The offset of its first byte.
    pub(super) start: u64,
    pub(super) pieces: Vec<Bytes>,
    /// In bytes.
    len: u64,
    /// The digest of the blob up to here.
    pub(super) before: Hasher,
    /// The same with this in it, once it is written.
    pub(super) after: Hasher,
}

impl Batch {
    /// What follows on `start`, up to which the digest is `before`.
    pub(super) fn new(start: u64, pieces: Vec<Bytes>, len: usize, before: Hasher) -> Self {
        Self { start, pieces, len: len as u64, after: before.clone(), before }
    }

    /// The offset of the byte after its last.
    pub(super) fn end(&self) -> u64 {
        self.start + self.len
    }

    /// Writes it to its place in the blob, and computes the digest, on a thread that may block.
    pub(super) async fn write(mut self, file: Arc<File>) -> io::Result<Arc<Self>> {
        let writing = blocking(move || {
            let mut position = self.start;
            for bytes in &self.pieces {
                self.after.update(bytes);
                file.write_all_at(bytes, position)?;
                position += bytes.len() as u64;
            }
            Ok(Arc::new(self))
        });
        writing.await.unwrap_or_else(|| Err(io::Error::other("the process ends")))
    }

    /// Takes the bytes into a digest, which most often is that of what came before: then what comes of it is known.
    pub(super) fn update(&self, hasher: &mut Hasher) {
        if hasher.clone().finish() == self.before.clone().finish() {
            *hasher = self.after.clone();
        } else {
            self.pieces.iter().for_each(|bytes| hasher.update(bytes));
        }
    }
}
