//! The wire protocol: bytes in, types out and back. No I/O.
//!
//! Two dialects share a channel. The **plain** one is spoken by devices that know two topics and four fields; the
//! **full** one adds the digest, requests by chunk number, notices and receipts. A device speaks the full one by
//! putting any optional field in its [`Request`].
//!
//! - [`topics`]: where things are said;
//! - [`request`]: what a device asks for, [`ranges`] of chunks among it;
//! - [`chunk`]: a piece of a module, [`layout`]: how a module is cut;
//! - [`notice`]: what the worker says besides, and [`receipt`]: what a device answers.
//!
//! What arrives is bounded before it is read, and is an error, never a panic, where it is not as it should be.

pub mod chunk;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub mod layout;
pub mod notice;
pub mod ranges;
pub mod receipt;
pub mod request;
pub mod topics;

pub use chunk::{Chunk, ChunkEncoder, ChunkHead, Format};
pub use layout::{ChunkSize, Layout};
pub use notice::{Complete, Descriptor, ErrorCode, ErrorNotice};
pub use ranges::ChunkRanges;
pub use receipt::Receipt;
pub use request::{DeviceName, Missing, Request};
pub use topics::{TopicPrefix, Topics};

use serde::Deserialize;

/// The longest `app_name`, in bytes.
pub const MAX_APP_NAME: usize = 512;

/// Reads a JSON object: a list, which would be read as the fields in their order, is none.
fn object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Option<T> {
    if json.trim_ascii_start().starts_with(b"{") { serde_json::from_slice(json).ok() } else { None }
}
