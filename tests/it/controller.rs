//! A controller between a real API server, a real broker and a real registry.
//!
//! Each test has a namespace, a broker and a registry of its own, and a controller that watches that namespace.

mod backoff;
mod conflicts;
mod events;
mod failures;
pub mod floor;
mod kstatus;
mod lease;
mod lifecycle;
mod namespaces;
mod pods;
mod probes;
mod program;
mod record;
mod replicas;
mod requested;
mod secrets;
