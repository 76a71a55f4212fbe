//! Tests against real servers.

#![allow(clippy::panic, clippy::unwrap_used, reason = "what goes wrong in a test ends it")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` reads better without a reference in front")]

mod admission;
mod cluster;
mod registry;
mod servers;
