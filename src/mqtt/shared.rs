//! What the clients and the connection's task share.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Mutex, Semaphore, watch};

use super::{link::Outlet, state::ConnectionState};

/// Whether publishes may go out.
#[derive(Clone)]
pub(super) enum Gate {
    /// Not now: wait.
    Shut,
    /// Through here.
    Open(Way),
    /// Never again.
    Closed,
}

/// The way out, for as long as a connection stands.
#[derive(Clone)]
pub(super) struct Way {
    pub outlet: Outlet,
    /// The largest packet that both we and the broker allow, in bytes.
    pub max_packet_size: usize,
}

pub(super) struct Shared {
    pub state: watch::Sender<ConnectionState>,
    pub gate: watch::Sender<Gate>,
    /// One permit a publish, from before it is sent until it is acknowledged. What is over the window waits here, so that no
    /// payload is queued in the library.
    pub window: Semaphore,
    pub window_size: u32,
    /// Held while a publish waits for the gate and is handed over, so that messages go out in the order in which they came.
    pub turn: Mutex<()>,
    /// Somebody stopped waiting for a publish that the link still has.
    abandoned: AtomicBool,
}

impl Shared {
    pub fn new(window: u16) -> Self {
        Self {
            state: watch::Sender::new(ConnectionState::Connecting { failure: None, attempts: 0 }),
            gate: watch::Sender::new(Gate::Shut),
            window: Semaphore::new(window.into()),
            window_size: window.into(),
            turn: Mutex::new(()),
            abandoned: AtomicBool::new(false),
        }
    }

    /// Opens or shuts the gate, or closes it: closed it stays, even if a connection comes about just then.
    pub fn turn_gate(&self, to: Gate) {
        self.gate.send_if_modified(|gate| {
            let moves = !matches!(gate, Gate::Closed);
            if moves {
                *gate = to;
            }
            moves
        });
    }

    /// Says where the connection stands. [`ConnectionState::Closed`] is the last word.
    pub fn change(&self, to: ConnectionState) {
        self.state.send_if_modified(|state| {
            let moves = *state != ConnectionState::Closed;
            if moves {
                *state = to;
            }
            moves
        });
    }

    /// Ends it: publishes fail, watchers see [`ConnectionState::Closed`].
    pub fn close(&self) {
        self.turn_gate(Gate::Closed);
        self.change(ConnectionState::Closed);
    }

    /// Whether a publish was abandoned since this was last asked.
    pub fn take_abandoned(&self) -> bool {
        self.abandoned.swap(false, Ordering::Relaxed)
    }
}

/// Notes a publish that is dropped while the link still has it.
pub(super) struct InFlight<'a>(Option<&'a Shared>);

impl<'a> InFlight<'a> {
    pub fn new(shared: &'a Shared) -> Self {
        Self(Some(shared))
    }

    /// The link is done with it, one way or the other.
    pub fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if let Some(shared) = self.0 {
            shared.abandoned.store(true, Ordering::Relaxed);
        }
    }
}
