//! A controller between a real API server, a real broker and a real registry.
//!
//! Each test has a namespace, a broker and a registry of its own, and a controller that watches that namespace.

mod failures;
pub mod floor;
mod lifecycle;
mod pods;
mod program;
mod secrets;
