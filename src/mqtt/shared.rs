//! What the clients and the connection's task share.

use std::sync::{
    MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::{Mutex, Semaphore, watch};

use super::{
    link::Outlet,
    message::{Publish, Qos},
    state::ConnectionState,
    suspects::{Id, Suspects, written::Number},
};

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
    /// Publishes that the link has.
    in_flight: watch::Sender<usize>,
    /// Held while a publish waits for the gate and is handed over, so that messages go out in the order in which they came.
    pub turn: Mutex<()>,
    suspects: std::sync::Mutex<Suspects>,
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
            in_flight: watch::Sender::new(0),
            turn: Mutex::new(()),
            suspects: std::sync::Mutex::default(),
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

    /// Waits until nothing is in flight.
    pub async fn settled(&self) {
        // The sender is ours.
        let _ = self.in_flight.subscribe().wait_for(|publishes| *publishes == 0).await;
    }

    /// What the broker may be hanging up on.
    pub fn suspects(&self) -> MutexGuard<'_, Suspects> {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets about abandoned publishes where the link has none any more. That is asked second: what is abandoned has been
    /// handed to the link before.
    pub fn forget_abandoned(&self, link_is_idle: impl FnOnce() -> bool) {
        if self.take_abandoned() && !link_is_idle() {
            self.abandoned.store(true, Ordering::Release);
        }
    }

    /// Whether a publish was abandoned since this was last asked.
    pub fn take_abandoned(&self) -> bool {
        self.abandoned.swap(false, Ordering::AcqRel)
    }
}

/// A publish under way. Dropped while the link has it, it is abandoned.
pub(super) struct Ticket<'a> {
    shared: &'a Shared,
    /// None at QoS 0: nobody acknowledges that.
    id: Option<Id>,
    /// At QoS 0: its number and its size, in bytes.
    written: Option<(Number, usize)>,
    sent: bool,
}

impl<'a> Ticket<'a> {
    pub fn new(shared: &'a Shared, publish: &Publish) -> Self {
        let id = (publish.qos != Qos::AtMostOnce).then(|| shared.suspects().enter(&publish.topic));
        Self { shared, id, written: None, sent: false }
    }

    /// The link is about to have it, as a packet of `size` bytes. Says whether nothing else may be sent until it is done.
    pub fn send(&mut self, size: usize) -> bool {
        self.mark(true);
        let mut suspects = self.shared.suspects();
        match self.id {
            Some(id) => suspects.send(id, size),
            None => self.written = Some((suspects.write(size), size)),
        }
        suspects.isolates()
    }

    /// Whether the connection has to stand for a while before it is sent again.
    pub fn is_on_trial(&self) -> bool {
        self.id.is_some_and(|id| self.shared.suspects().is_on_trial(id))
    }

    /// The connection has been lost without it.
    pub fn acquit(&self) {
        if let Some(id) = self.id {
            self.shared.suspects().acquit(id);
        }
    }

    /// The broker has answered; at QoS 0 it is written to the socket.
    pub fn answered(&mut self) {
        self.mark(false);
        if let Some(id) = self.id {
            self.shared.suspects().answered(id);
        } else if let Some((number, size)) = self.written {
            self.shared.suspects().flushed(number, size);
        }
    }

    /// The link does not have it any more.
    pub fn take_back(&mut self) {
        self.mark(false);
        if let Some(id) = self.id {
            self.shared.suspects().take_back(id);
        }
    }

    /// The link has it, or has it no more.
    fn mark(&mut self, sent: bool) {
        if self.sent != sent {
            self.sent = sent;
            self.shared.in_flight.send_modify(|publishes| if sent { *publishes += 1 } else { *publishes -= 1 });
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.shared.suspects().leave(id);
        }
        if self.sent {
            self.shared.abandoned.store(true, Ordering::Release);
            self.mark(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abandoned_publish_is_remembered_for_as_long_as_the_link_may_have_it() {
        for idle in [false, true] {
            let shared = Shared::new(1);
            let mut ticket = Ticket::new(&shared, &Publish::new("topic", "x", Qos::AtLeastOnce));
            ticket.send(10);
            drop(ticket);
            shared.forget_abandoned(|| idle);
            assert_eq!(shared.take_abandoned(), !idle);
        }
    }
}
