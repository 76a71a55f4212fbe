//! Servers that tests start for themselves, on loopback ports and in folders of their own.

pub mod certificates;
pub mod mosquitto;
pub mod proxy;

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU16, Ordering},
};

/// A port that is free now, handed out once in this process. Below the range from which the system takes ports for outgoing
/// connections, so that it stays free while a server restarts.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 10_000).unwrap();
    loop {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
