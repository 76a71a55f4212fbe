//! The signals that end a program politely.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT, from now on in our hands.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// A signal that came.
pub(super) struct Received {
    /// What it is called.
    pub name: &'static str,
    number: u8,
}

impl Received {
    /// The exit code of a program that it has ended, as shells have it.
    pub fn exit_code(&self) -> u8 {
        128 + self.number
    }
}

impl Signals {
    /// Catches them.
    ///
    /// # Errors
    /// Where the operating system does not let us.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next.
    pub async fn next(&mut self) -> Received {
        tokio::select! {
            _ = self.terminate.recv() => Received { name: "SIGTERM", number: 15 },
            _ = self.interrupt.recv() => Received { name: "SIGINT", number: 2 },
        }
    }
}
