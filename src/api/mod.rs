//! The `WasmProxy` resource: what a user asks for, and what became of it. Pure types, no I/O.
//!
//! Names follow the Kubernetes API conventions and Flux's `OCIRepository`. What a field is for stands in its doc
//! comment, which is what `kubectl explain` shows; it addresses who writes resources, not who writes Rust.
//!
//! - [`WasmProxySpec`] and what it is made of: one file a field, in `spec/`.
//! - [`WasmProxyStatus`], and the words in its conditions, in [`conditions`].
//! - `rules`: what the API server refuses, and the sentence it says then. What the schema holds before a worker does it
//!   is refused there as *not supported yet*; a later version only drops the rule.
//! - [`quantity`]: sizes, paces and intervals, as numbers.
//! - [`crd()`]: all of that as a `CustomResourceDefinition`.
//!
//! Defaults are the API server's: fields that have one are filled in before anybody reads them, and likewise when JSON
//! without them is read here. Values are checked at admission and once more where they are turned into something else,
//! because an object may have been admitted by another version's rules.

pub mod conditions;
mod crd;
pub mod quantity;
mod rules;
mod schema;
mod spec;
mod status;

pub use crd::crd;
pub use spec::*;
pub use status::*;

/// The annotation that asks for everything to be looked at anew, and streamed again; its value is any text that differs from
/// the last one.
pub const RECONCILE_ANNOTATION: &str = "reconcile.wasmproxy.io/requestedAt";
