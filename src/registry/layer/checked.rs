//! A layer that is compared with its digest while it is read: what the disk has changed since it was verified must neither be
//! blamed on whoever made it, nor become a module.

use std::io::{self, Read};

use tokio_util::sync::CancellationToken;

use super::{BUFFER, UnpackError};
use crate::digest::{Digest, Hasher};

/// Does something with a layer's bytes, reads those that it leaves, and says `Changed` if they are not what `digest` says,
/// whatever came of it.
pub(in crate::registry) fn checked<T>(
    layer: impl Read,
    digest: Digest,
    stop: &CancellationToken,
    work: impl FnOnce(&mut dyn Read) -> Result<T, UnpackError>,
) -> Result<T, UnpackError> {
    let mut bytes = Hashing { layer, hasher: Hasher::new() };
    let result = work(&mut bytes);
    let mut buffer = vec![0; BUFFER];
    loop {
        if stop.is_cancelled() {
            return Err(UnpackError::Stopped);
        }
        match bytes.read(&mut buffer) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(UnpackError::Read(error)),
        }
    }
    if bytes.hasher.finish() == digest { result } else { Err(UnpackError::Changed) }
}

struct Hashing<R> {
    layer: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.layer.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_changed_is_neither_used_nor_blamed() {
        let stop = CancellationToken::new();
        let digest = Digest::of(b"layer");
        assert_eq!(checked(&b"layer"[..], digest, &stop, |_| Ok(7)).unwrap(), 7);
        let partly = |bytes: &mut dyn Read| bytes.read_exact(&mut [0; 2]).map_err(UnpackError::Read);
        assert!(checked(&b"layer"[..], digest, &stop, partly).is_ok());
        for result in [Ok(7), Err(UnpackError::TooLarge(1))] {
            assert!(matches!(checked(&b"lager"[..], digest, &stop, |_| result), Err(UnpackError::Changed)));
        }
        let blamed = checked(&b"layer"[..], digest, &stop, |_| Err::<(), _>(UnpackError::TooLarge(1)));
        assert!(matches!(blamed, Err(UnpackError::TooLarge(1))));
    }
}
