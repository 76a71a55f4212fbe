//! A reference becomes a descriptor, a descriptor becomes verified bytes.
//!
//! ```text
//!   "wasm/add:1.2" ──► Reference ──► Registry::resolve ──► Module ──► Registry::open ──► ModuleReader
//!                      (reference)   (manifest, artifact)  (digest,   (blob)             (reader: bytes, in
//!                                                           size)                         order, verified)
//! ```
//!
//! One [`Registry`] is one configuration: a host that references without a host belong to, and the credentials for it.
//! It pulls as the OCI distribution specification says, over a small HTTP layer of its own:
//!
//! - `reference` – what people write, made fully qualified;
//! - `artifact` – which layer of a manifest is the WebAssembly module (pure);
//! - `layer` – a container image's layer, as the archive that holds a module (blocking); `packed` – such a layer fetched,
//!   unpacked, and the module kept;
//! - `credentials` – which host gets which secret; `auth` – challenges answered and tokens kept; `access` – all that depends
//!   on who asks, and changes with that;
//! - `transport` – HTTP: which TLS for which host, redirects, bounds, timeouts; `floor` – how slow is too slow (pure);
//! - `requests` – requests put together, statuses made into errors; `retry` – which are tried again, and when;
//! - `resolve` – a reference becomes a descriptor; `memory` – what need not be asked again;
//! - `blob` – a blob straight from the registry, as a stream of bytes that survives a broken connection;
//! - [`cache`](Cache) – blobs on disk, and downloads that all readers share;
//! - `reader` – the bytes of a module, from either, verified;
//! - `client`, `options` – [`Registry`] itself, and how it is told what to do;
//! - `error` – what can go wrong, in sentences for the person who can mend it.
//!
//! Nothing here is buffered beyond a manifest (4 MiB at most), half a MiB of a blob for each of its readers, and 1 MiB for
//! its download.

mod access;
mod artifact;
mod auth;
mod blob;
mod cache;
mod client;
mod credentials;
mod error;
mod floor;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub(crate) mod hot;
mod layer;
mod memory;
mod options;
mod packed;
mod reader;
mod reference;
mod requests;
mod resolve;
mod retry;
mod transport;

pub use artifact::Unsupported;
pub(crate) use cache::Slice;
pub use cache::{Cache, CacheError};
pub use client::{Module, Origin, Registry};
pub use credentials::Credentials;
pub use error::RegistryError;
pub use layer::UnusableLayer;
pub use options::RegistryOptions;
pub use reader::{ModuleReader, RangeReader};
pub use reference::{InvalidReference, Reference};
