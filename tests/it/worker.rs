//! A worker between a real registry and a real broker, watched by whoever listens on its channel.

mod again;
mod broken_connections;
pub mod channel;
mod connections;
mod declared;
pub mod fetched;
pub mod gated;
mod held;
mod hostile;
mod images;
mod late;
mod many;
mod moved;
mod packets;
mod refusals;
mod requested;
mod rotation;
mod steady;
mod stopped;
mod stopping;
