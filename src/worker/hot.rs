//! What is measured of a worker: see [`crate::hot`].

pub use super::channel::Dispatch;
use super::fingerprint::Fingerprint;

/// What a chunk is known by, among ourselves.
pub fn fingerprint(chunk: &[u8]) -> [u8; Fingerprint::LEN] {
    *Fingerprint::of([chunk]).as_bytes()
}
