//! What a running program says of itself, to people and to whoever runs it.
//!
//! - [`logs`]: lines on standard error, for people or as JSON;
//! - [`heartbeat`]: whether a loop still turns;
//! - [`probes`]: HTTP for those who ask whether it is alive and ready;
//! - [`metrics`]: numbers for Prometheus, on the same port.

pub mod heartbeat;
pub mod logs;
pub mod metrics;
pub mod probes;
