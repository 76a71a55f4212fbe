//! Tests against real servers.

// Clippy takes functions that tests share for production code.
#![allow(clippy::panic, clippy::unwrap_used)]

mod mqtt;
mod servers;
