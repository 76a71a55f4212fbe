//! What ties a worker to its resource, wherever it runs: in the controller's process, or in a Pod of its own.
//!
//! ```text
//!   spec ────────────► translate ──► WorkerConfig ──► worker
//!   Secrets ──► credentials ──┘                         │
//!   status ──► memory ──► Progress (what is not to be done again)
//!   status ◄── report, findings ◄── reporter ◄────── Progress
//! ```
//!
//! - Pure: `translate` (a spec as a worker understands it), `credentials` (what its Secrets hold), `memory` (a status as a
//!   worker's memory), `report` and `findings` (progress as the worker's part of the status), `steady` (what is over in a
//!   moment), `obstacles` (what is known outside of the worker, and said in their place).
//! - Reading and writing: `reporter` (when to write), `status` (how), `api_server` (within what time), `api_requests` (how often),
//!   `trouble` (what it has against us, for people).

pub mod api_requests;
pub mod api_server;
pub mod credentials;
pub(crate) mod findings;
pub mod memory;
pub mod obstacles;
pub mod report;
pub mod reporter;
pub mod status;
pub(crate) mod steady;
pub mod translate;
pub mod trouble;

#[cfg(test)]
pub(crate) mod fixtures;
