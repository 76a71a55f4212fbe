//! Tests against real servers, each started for one test on ports and folders of its own.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where its set-up fails")]

mod registry;
mod servers;
