//! Tests against real servers: one binary, so that they share one control plane and run in parallel.
//!
//! [`lab`] starts the servers; every other module is about one room of the crate.

#![allow(clippy::panic, clippy::unwrap_used, reason = "what goes wrong in a test ends it")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` reads better without a reference in front")]

mod admission;
mod cluster;
mod lab;
mod registry;
mod servers;
