//! What a transfer costs, counted: memory, requests, chunks on their way, bytes from the disk. No time is measured.
//!
//! A worker runs in this process, on threads of its own, and what it asks the allocator for is counted there; hence a binary
//! of its own. Broker and registry are real, and other processes; whoever asks and listens is on other threads.
//!
//! - `limits`: what a transfer may cost, all of it in one place;
//! - `allocator`: who has asked for how much memory; `threads`: a worker's own; `floor`: a worker with all around it;
//! - `tap`: hears what goes to the broker, and keeps acknowledgements back;
//! - `memory`, `requests`, `in_flight`: what is held against the limits.
//!
//! **Bytes that are copied** are not counted: a copy is no call that anybody else hears of. What can be counted is where they
//! go: a copy of a chunk needs memory, which is asked for or was kept, and both are bounded here.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a helper that cannot go on fails its test, and says where")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` reads better without a reference in front")]

mod allocator;
mod floor;
mod in_flight;
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod lab;
mod limits;
mod memory;
mod requests;
mod tap;
mod threads;

#[allow(dead_code, reason = "shared with tests that need more of it")]
#[path = "../it/worker/channel.rs"]
mod channel;
#[path = "../it/modules.rs"]
mod modules;
#[allow(dead_code, reason = "shared with tests that need more of it")]
#[path = "../it/waiting.rs"]
mod waiting;
