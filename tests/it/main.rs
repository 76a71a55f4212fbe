//! Tests against real servers: one binary, so that they share one control plane and run in parallel.
//!
//! [`lab`] starts the servers; every other module is about one room of the crate.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a helper that cannot go on fails its test, and says where")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` reads better without a reference in front")]

mod admission;
mod brokers;
mod chart;
mod controller;
mod credentials_policy;
mod device;
mod documents;
mod examples;
mod flood;
mod gitops;
mod lab;
mod metrics;
mod modules;
mod mqtt;
mod old_device;
mod pod;
mod protocol;
mod registry;
mod soak;
mod standalone;
mod upgrades;
mod waiting;
mod worker;
