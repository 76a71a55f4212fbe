//! A tar archive's entries, one after the other, in constant memory.
//!
//! The walk is ours, the fields of a header are read by the `tar` crate. Its own walk reads long names and extended
//! headers into memory whatever their size, or leaves all of them to its caller, blocks of sparse files included; and
//! its reader of extended headers fails on values with a line break, which extended attributes have.

use tar::{EntryType, GnuExtSparseHeader, Header};

use super::{
    UnpackError, UnusableLayer,
    content::{Content, at_most},
};

const BLOCK: u64 = 512;

/// A layer of one module has a handful; a whole Linux distribution some thousands.
const MAX_ENTRIES: u32 = 100_000;

/// The longest name or extended header that is read, in bytes: as in Go's `archive/tar`.
const MAX_EXTENSION: u64 = 1 << 20;

/// What is known of an entry before its bytes.
#[derive(Debug)]
pub(super) struct Entry {
    /// Which header of the archive it is.
    pub(super) number: u32,
    /// As it is written, not normalised.
    pub(super) path: Vec<u8>,
    /// In bytes.
    pub(super) size: u64,
    /// A file whose bytes are all there, as they are: no link, device, directory or sparse file.
    pub(super) is_regular: bool,
}

/// A walk over an archive's entries.
pub(super) struct Archive<'a> {
    content: Content<'a>,
    /// Headers so far, of whatever kind.
    headers: u32,
    /// Bytes of the entry reached that have not been read.
    left: u64,
    /// Bytes after them, up to the next header.
    padding: u64,
}

/// What headers before an entry say of it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Extensions {
    long_name: Option<Vec<u8>>,
    path: Option<Vec<u8>>,
    size: Option<u64>,
    is_sparse: bool,
}

impl<'a> Archive<'a> {
    pub(super) fn new(content: Content<'a>) -> Self {
        Self { content, headers: 0, left: 0, padding: 0 }
    }

    /// Passes over what is left of an entry and reads the next one's headers; `None` at the end of the archive.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, UnpackError> {
        let mut extensions = Extensions::default();
        while let Some(header) = self.header()? {
            let size = header.entry_size().map_err(|_| UnusableLayer::NoArchive("a size in it is no number"))?;
            match header.entry_type() {
                EntryType::XHeader => {
                    self.has(size);
                    extensions = Extensions { long_name: extensions.long_name, ..pax(&self.extension()?)? };
                }
                EntryType::GNULongName => {
                    self.has(size);
                    extensions.long_name = Some(until_nul(self.extension()?));
                }
                EntryType::GNULongLink | EntryType::XGlobalHeader => self.has(size),
                kind => return self.entry(&header, kind, size, extensions).map(Some),
            }
        }
        Ok(None)
    }

    /// Some bytes of the entry that was reached last; 0 at its end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, UnpackError> {
        let wanted = at_most(buffer.len(), self.left);
        match self.content.read(&mut buffer[..wanted])? {
            0 if wanted > 0 => Err(UnusableLayer::Truncated.into()),
            read => {
                self.left -= read as u64;
                Ok(read)
            }
        }
    }

    /// Passes over whatever follows the archive.
    pub(super) fn drain(&mut self) -> Result<(), UnpackError> {
        self.content.drain()
    }

    fn entry(
        &mut self,
        header: &Header,
        kind: EntryType,
        size: u64,
        extensions: Extensions,
    ) -> Result<Entry, UnpackError> {
        if kind == EntryType::GNUSparse {
            self.skip_sparse_map(header)?;
        }
        let size = if has_content(kind) { extensions.size.unwrap_or(size) } else { 0 };
        self.has(size);
        let path = extensions.long_name.or(extensions.path).unwrap_or_else(|| header.path_bytes().into_owned());
        // In the oldest archives a directory is a file whose name ends so.
        let is_file = matches!(kind, EntryType::Regular | EntryType::Continuous) && !path.ends_with(b"/");
        Ok(Entry { number: self.headers, path, size, is_regular: is_file && !extensions.is_sparse })
    }

    fn header(&mut self) -> Result<Option<Header>, UnpackError> {
        self.content.skip(self.left)?;
        // Some writers leave the last padding out.
        let is_padded = self.content.skip_if_there(self.padding)?;
        self.has(0);
        if !is_padded {
            return Ok(None);
        }
        let mut header = Header::new_old();
        if !self.content.fill(header.as_mut_bytes())? || header.as_bytes().iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if !is_sound(&header) {
            return Err(UnusableLayer::NoArchive("the checksum of a header is wrong").into());
        }
        self.headers += 1;
        if self.headers > MAX_ENTRIES {
            return Err(UnusableLayer::TooManyEntries(MAX_ENTRIES).into());
        }
        Ok(Some(header))
    }

    /// So many bytes belong to the header that was read.
    fn has(&mut self, size: u64) {
        (self.left, self.padding) = (size, (BLOCK - size % BLOCK) % BLOCK);
    }

    /// What belongs to the header that was read, all of it.
    fn extension(&mut self) -> Result<Vec<u8>, UnpackError> {
        if self.left > MAX_EXTENSION {
            return Err(UnusableLayer::NoArchive("a name or an extended header in it is too long").into());
        }
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match self.read(&mut buffer)? {
                0 => return Ok(bytes),
                read => bytes.extend_from_slice(&buffer[..read]),
            }
        }
    }

    /// Passes over the blocks between a GNU sparse file's header and its bytes.
    fn skip_sparse_map(&mut self, header: &Header) -> Result<(), UnpackError> {
        let mut is_extended = header.as_gnu().is_some_and(tar::GnuHeader::is_extended);
        while is_extended {
            let mut map = GnuExtSparseHeader::new();
            if !self.content.fill(map.as_mut_bytes())? {
                return Err(UnusableLayer::Truncated.into());
            }
            is_extended = map.is_extended();
        }
        Ok(())
    }
}

/// Links and devices have no bytes, whatever size they claim.
fn has_content(kind: EntryType) -> bool {
    use EntryType::{Block, Char, Directory, Fifo, Link, Symlink};
    !matches!(kind, Link | Symlink | Char | Block | Directory | Fifo)
}

/// The sum of all bytes of a header, those of the checksum taken for spaces.
fn is_sound(header: &Header) -> bool {
    let bytes = header.as_bytes();
    let sum: u32 = bytes[..148].iter().chain(&[b' '; 8]).chain(&bytes[156..]).map(|byte| u32::from(*byte)).sum();
    header.cksum().is_ok_and(|claimed| claimed == sum)
}

fn until_nul(mut name: Vec<u8>) -> Vec<u8> {
    name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
    name
}

/// An extended header: records of a length, a key and a value (POSIX, `pax`, "pax Extended Header").
fn pax(mut bytes: &[u8]) -> Result<Extensions, UnpackError> {
    let malformed = || UnusableLayer::NoArchive("an extended header in it is malformed");
    let mut extensions = Extensions::default();
    while !bytes.is_empty() {
        let (record, rest) = first_record(bytes).ok_or_else(malformed)?;
        bytes = rest;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(malformed)?;
        match (&record[..equals], &record[equals + 1..]) {
            // An empty value takes back what an earlier record says.
            (b"path", path) => extensions.path = (!path.is_empty()).then(|| path.to_vec()),
            (b"size", b"") => extensions.size = None,
            (b"size", size) => extensions.size = Some(number(size).ok_or_else(malformed)?),
            (key, _) => extensions.is_sparse |= key.starts_with(b"GNU.sparse."),
        }
    }
    Ok(extensions)
}

/// `key=value` of the first record, and the records after it. The length counts all of a record, itself included.
fn first_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let length = usize::try_from(number(&bytes[..space])?).ok()?;
    let (record, rest) = bytes.split_at_checked(length)?;
    Some((record.get(space + 1..)?.strip_suffix(b"\n")?, rest))
}

fn number(digits: &[u8]) -> Option<u64> {
    // Not `+1`, which the library reads too.
    let digits = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extended_header_is_read_by_the_lengths_of_its_records() {
        let expected = Extensions { path: Some(b"a/b.wasm".to_vec()), size: Some(345), ..Extensions::default() };
        assert_eq!(pax(b"17 path=a/b.wasm\n23 SCHILY.xattr.xy=a\nb\n12 size=345\n").unwrap(), expected);
    }

    #[test]
    fn a_later_record_takes_back_an_earlier_one() {
        assert_eq!(pax(b"10 path=a\n8 path=\n10 size=1\n8 size=\n").unwrap(), Extensions::default());
    }

    #[test]
    fn a_malformed_extended_header_is_refused() {
        for header in [
            "x",
            "5 a=b",
            "6 a=b",
            "5 ab\n\n",
            "0 a=b\n",
            "1 a=b\n",
            "2 a=b\n",
            "+6 a=b\n",
            "99999999999999999999 a=b\n",
            "9 size=-\n",
            "10 size=x\n",
            "29 size=99999999999999999999\n",
            " a=b\n",
        ] {
            assert!(pax(header.as_bytes()).is_err(), "{header:?}");
        }
        assert!(pax(b"6 a=b\n").is_ok());
    }
}
