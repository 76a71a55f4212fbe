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
//! - `credentials` – which host gets which secret; `auth` – challenges answered and tokens kept;
//! - `transport` – HTTP: which TLS for which host, redirects, bounds, timeouts;
//! - `client` – requests put together, statuses made into errors;
//! - `reader` – a blob as a stream of verified bytes that survives a broken connection;
//! - `error` – what can go wrong, in sentences for the person who can mend it.
//!
//! Nothing here is buffered beyond a manifest (4 MiB at most) or one network read of a blob.

mod artifact;
mod auth;
mod client;
mod credentials;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod reader;
mod reference;
mod transport;

pub use artifact::Unsupported;
pub use client::{Module, Registry, RegistryOptions};
pub use credentials::Credentials;
pub use error::RegistryError;
pub use reader::{ModuleReader, RangeReader};
pub use reference::{InvalidReference, Reference};
