//! A worker between a real registry and a real broker, watched by whoever listens on its channel.

mod broken_connections;
pub mod channel;
mod connections;
mod declared;
mod fetched;
mod refusals;
mod requested;
mod stopping;
