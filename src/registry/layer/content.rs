//! A layer's bytes as they come out of the decompressor: counted, and at an end when nobody wants them any more.

use std::io::{self, BufReader, ErrorKind, Read};

use flate2::bufread::MultiGzDecoder;
use tokio_util::sync::CancellationToken;

use super::{BUFFER, Compression, UnpackError, UnusableLayer};

/// The decompressed bytes of a layer, in order.
pub(super) struct Content<'a> {
    decoder: Box<dyn Read + 'a>,
    stop: &'a CancellationToken,
    limit: u64,
    /// How many of `limit` have not come yet.
    left: u64,
}

impl<'a> Content<'a> {
    /// At most `limit` bytes come out of it.
    pub(super) fn new(
        layer: impl Read + 'a,
        compression: Compression,
        limit: u64,
        stop: &'a CancellationToken,
    ) -> Self {
        let input = BufReader::with_capacity(BUFFER, Stoppable { layer, stop });
        let decoder: Box<dyn Read + 'a> = match compression {
            Compression::None => Box::new(input),
            Compression::Gzip => Box::new(MultiGzDecoder::new(input)),
        };
        Self { decoder, stop, limit, left: limit }
    }

    /// Some of the bytes that come next; 0 only at the end, or where `buffer` is empty.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, UnpackError> {
        loop {
            if self.stop.is_cancelled() {
                return Err(UnpackError::Stopped);
            }
            match self.decoder.read(buffer) {
                Ok(read) => {
                    self.left = self.left.checked_sub(read as u64).ok_or(UnusableLayer::TooLong(self.limit))?;
                    return Ok(read);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    /// Fills the whole buffer; or says `false`, where there was nothing at all to come.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Result<bool, UnpackError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read(&mut buffer[filled..])? {
                0 if filled == 0 => return Ok(false),
                0 => return Err(UnusableLayer::Truncated.into()),
                read => filled += read,
            }
        }
        Ok(true)
    }

    /// Passes over so many bytes.
    pub(super) fn skip(&mut self, count: u64) -> Result<(), UnpackError> {
        if self.skip_if_there(count)? { Ok(()) } else { Err(UnusableLayer::Truncated.into()) }
    }

    /// Passes over so many bytes; or says `false`, where there are fewer to come.
    pub(super) fn skip_if_there(&mut self, mut count: u64) -> Result<bool, UnpackError> {
        // Before a byte is read: whoever claims more than may come is lying, or too long.
        if count > self.left {
            return Err(UnusableLayer::TooLong(self.limit).into());
        }
        let mut buffer = vec![0; at_most(BUFFER, count)];
        while count > 0 {
            let wanted = at_most(BUFFER, count);
            match self.read(&mut buffer[..wanted])? {
                0 => return Ok(false),
                read => count -= read as u64,
            }
        }
        Ok(true)
    }

    /// Passes over all that is left.
    pub(super) fn drain(&mut self) -> Result<(), UnpackError> {
        let mut buffer = vec![0; BUFFER];
        while self.read(&mut buffer)? > 0 {}
        Ok(())
    }

    fn failed(&self, error: io::Error) -> UnpackError {
        match error.kind() {
            _ if self.stop.is_cancelled() => UnpackError::Stopped,
            // What the decompressor says; the disk does not.
            ErrorKind::UnexpectedEof => UnusableLayer::Truncated.into(),
            ErrorKind::InvalidInput | ErrorKind::InvalidData => UnusableLayer::NotCompressed(error.to_string()).into(),
            _ => UnpackError::Read(error),
        }
    }
}

/// `count`, or `most` where that is less.
pub(super) fn at_most(most: usize, count: u64) -> usize {
    usize::try_from(count).map_or(most, |count| count.min(most))
}

/// The compressed bytes. They end where they should be no more: a stream may be long and decompress to nothing.
struct Stoppable<'a, R> {
    layer: R,
    stop: &'a CancellationToken,
}

impl<R: Read> Read for Stoppable<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_cancelled() { Err(io::Error::other("stopped")) } else { self.layer.read(buffer) }
    }
}
