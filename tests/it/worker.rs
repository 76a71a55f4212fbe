//! A worker between a real registry and a real broker, watched by whoever listens on its channel.

pub mod channel;
mod connections;
mod declared;
mod fetched;
mod images;
mod moved;
mod requested;
mod stopping;
