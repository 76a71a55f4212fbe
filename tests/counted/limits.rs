//! What a transfer may cost. Less is better: whoever makes it cost less lowers the limit here.

use crate::floor::ENCODED;

/// Allocations of at least so many bytes are large, and counted. No request, notice or table of ours is.
pub const LARGE: usize = 64 * 1024;

/// What bringing a module may cost while it goes by.
pub struct Limits {
    /// Large allocations for a chunk.
    pub allocations: f64,
    /// Bytes in large allocations for a byte of the module.
    pub bytes: f64,
    /// Bytes read from the disk for a byte of the module.
    pub read: f64,
}

/// From the registry, without TLS, into the cache and from there to the broker.
pub const FROM_REGISTRY: Limits = Limits {
    // The network's buffers, as large as what has come; and what chunks are encoded in, once.
    allocations: 2.0,
    bytes: 1.75,
    // Nothing, for whoever keeps up; who is behind reads back what was written.
    read: 1.01,
};

/// From the cache to the broker.
pub const FROM_CACHE: Limits = Limits {
    // What is read into and what chunks are encoded in, once: so many for 32 chunks or for 1,000.
    allocations: 12.0 / 32.0,
    bytes: 0.5,
    read: 1.01,
};

/// What a registry without tokens is asked for a module that is new to the worker.
pub const REQUESTS_FIRST: &[&str] = &["GET manifests", "GET blobs"];

/// And for one that is in the cache, by its tag: whether that has moved.
pub const REQUESTS_BY_TAG: &[&str] = &["HEAD manifests"];

/// And by its digest, within five minutes.
pub const REQUESTS_BY_DIGEST: &[&str] = &[];

/// Messages that the broker has not acknowledged.
pub const WINDOW: usize = 4;

/// Buffers as large as an encoded chunk that live at a time: the chunks that are read, encoded or on their way, within one
/// budget for all passes, and what the connection writes from, which has a copy, and two while it grows.
pub const HELD: usize = 10 + 2;

/// Bytes in large allocations that live at a time, however many modules are under way: what can hold chunks, and what was read
/// of files or came from the network to become one, 512 KiB at a time, by those whose turn it is and by those who are next.
pub const PEAK: usize = HELD * ENCODED + 16 * 512 * 1024;
