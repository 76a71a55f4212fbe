//! A worker between a real registry and a real broker, watched by whoever listens on its channel.

pub mod channel;
mod connections;
mod declared;
pub mod fetched;
pub mod gated;
mod held;
mod hostile;
mod late;
mod many;
mod packets;
mod requested;
mod stopping;
