//! What others rely on in the resource: how it is documented, what earlier releases have admitted and written, and what is
//! shipped to read it. No server is needed; what needs one is in `tests/it/examples.rs`.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a helper that cannot go on fails its test, and says where")]

mod argocd;
mod metrics;
mod narrowing;
mod reference;
mod releases;
mod schema;

use std::path::{Path, PathBuf};

/// A file or folder of this repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
