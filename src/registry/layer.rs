//! A container image's layer, as the archive that holds a module.
//!
//! The "compat" layout of Solo and Istio, and whatever `FROM scratch` and `COPY` make: the image's last layer is a tar
//! archive, mostly behind gzip, and the module is one of its files. By name: `plugin.wasm` at the root, then the
//! image's entrypoint, then the only `*.wasm` of the layer.
//!
//! ```text
//!   layer ──► content ──► archive ──► choice        find: which entry, and is the layer sound to its end?
//!             (gunzip,    (entries)   (of names)
//!              bounds)       └──────► module        write: that entry's bytes, and their digest
//! ```
//!
//! Nothing is ever extracted by path: names are only compared, and the one output is a file that the caller made. Memory
//! is constant whatever the archive says of itself, and every byte that comes out of the decompressor counts against
//! one limit. Where tar is ambiguous it is read as Go's `archive/tar` does, with which container engines read layers.
//!
//! All of this blocks: it belongs on a thread of its own.

mod archive;
mod checked;
mod choice;
mod content;
mod entrypoint;

use std::io::{self, Read, Write};

use tokio_util::sync::CancellationToken;

use self::{archive::Archive, choice::Choice, content::Content};
pub(super) use self::{checked::checked, choice::Found, entrypoint::entrypoint};
use super::artifact::{PREAMBLE_LEN, Seen, may_be_wasm};
use crate::digest::{Digest, Hasher};

const BUFFER: usize = 64 * 1024;

/// How a layer is compressed, as its media type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Compression {
    None,
    /// One or more members (RFC 1952).
    Gzip,
}

/// What to look for in a layer, and how far.
#[derive(Debug, Clone)]
pub(super) struct Search {
    pub(super) compression: Compression,
    /// The file that the image would run, as [`entrypoint()`] reads it.
    pub(super) entrypoint: Option<Vec<u8>>,
    /// The largest module, in bytes.
    pub(super) max_module_size: u64,
    /// The most bytes that may come out of the decompressor, of whatever: headers, other files, padding.
    pub(super) max_unpacked_size: u64,
}

/// Why a layer holds no module that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnusableLayer {
    /// No regular file has a name that marks it as the module. Links, devices and sparse files do not count.
    #[error("it holds no regular file `plugin.wasm`, nor the image's entrypoint, nor a `*.wasm`")]
    NoModule,
    /// Nothing says which of several files is the module.
    #[error("it holds several modules, none of them `plugin.wasm` or the image's entrypoint: {0}")]
    SeveralModules(Seen),
    /// The file does not begin as a module or component does.
    #[error("its file {0} is neither a WebAssembly module nor a component")]
    NotWasm(Seen),
    /// More bytes come out of the decompressor than may.
    #[error("it unpacks to more than {0} bytes")]
    TooLong(u64),
    /// More files, links and directories than may be.
    #[error("it has more than {0} entries")]
    TooManyEntries(u32),
    /// It is no tar archive.
    #[error("it is no tar archive: {0}")]
    NoArchive(&'static str),
    /// It ends before the archive, or the compressed stream, does.
    #[error("it ends too early")]
    Truncated,
    /// The compressed stream is broken.
    #[error("it cannot be decompressed: {0}")]
    NotCompressed(String),
}

/// Why no module came out of a layer.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnpackError {
    #[error(transparent)]
    Unusable(#[from] UnusableLayer),
    /// The module has more bytes than may be.
    #[error("the module has {0} bytes")]
    TooLarge(u64),
    /// The disk has changed the layer since it was verified.
    #[error("the layer has changed")]
    Changed,
    /// The layer could not be read from the disk.
    #[error("the layer cannot be read: {0}")]
    Read(#[source] io::Error),
    /// The module could not be written.
    #[error("the module cannot be written: {0}")]
    Write(#[source] io::Error),
    /// Nobody wants it any more.
    #[error("stopped")]
    Stopped,
}

/// Finds the module in a layer, whose bytes should come through [`checked()`], and reads the layer to its end: only there does gzip say whether all came out as it went in.
///
/// Ends soon after `stop` is cancelled.
pub(super) fn find(layer: impl Read, search: &Search, stop: &CancellationToken) -> Result<Found, UnpackError> {
    let mut archive = open(layer, search, stop);
    let mut choice = Choice::new(search.entrypoint.as_deref());
    while let Some(entry) = archive.next()? {
        choice.see(&entry);
    }
    archive.drain()?;
    let found = choice.chosen()?;
    if found.size > search.max_module_size { Err(UnpackError::TooLarge(found.size)) } else { Ok(found) }
}

/// Writes a module that was found in the same layer before to `output`; returns its digest.
///
/// Ends soon after `stop` is cancelled. What has been written when it fails is of no use.
pub(super) fn write(
    layer: impl Read,
    search: &Search,
    found: &Found,
    output: &mut impl Write,
    stop: &CancellationToken,
) -> Result<Digest, UnpackError> {
    let mut archive = open(layer, search, stop);
    while let Some(entry) = archive.next()? {
        if entry.number == found.number {
            return copy(&mut archive, &found.name, output);
        }
    }
    Err(UnusableLayer::Truncated.into())
}

fn open<'a>(layer: impl Read + 'a, search: &Search, stop: &'a CancellationToken) -> Archive<'a> {
    Archive::new(Content::new(layer, search.compression, search.max_unpacked_size, stop))
}

/// The bytes of the entry that was reached.
fn copy(archive: &mut Archive<'_>, name: &[u8], output: &mut impl Write) -> Result<Digest, UnpackError> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; BUFFER];
    let mut preamble = Vec::with_capacity(PREAMBLE_LEN);
    loop {
        let bytes = match archive.read(&mut buffer)? {
            0 => break,
            read => &buffer[..read],
        };
        preamble.extend(bytes.iter().take(PREAMBLE_LEN - preamble.len()));
        if !may_be_wasm(&preamble) {
            break;
        }
        hasher.update(bytes);
        output.write_all(bytes).map_err(UnpackError::Write)?;
    }
    if preamble.len() < PREAMBLE_LEN || !may_be_wasm(&preamble) {
        return Err(UnusableLayer::NotWasm(choice::seen([name])).into());
    }
    output.flush().map_err(UnpackError::Write)?;
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests;
