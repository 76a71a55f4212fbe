//! `wasmproxy worker` as whoever replaces Propeller's proxy runs it: a process, its environment, signals, and nothing else.

mod cache;
mod environment;
mod hostile;
mod killed;
mod memory;
mod process;
mod signals;

pub use process::{Process, program, worker};
