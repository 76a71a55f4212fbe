//! Who joins a pass under way, and what the pass owes them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A pass goes once through all chunks, and then again through those that somebody who joined late has missed.
///
/// Joining is possible until the first round is over: who asks during the second is served by a pass of its own, so
/// that nobody can keep a pass going for ever.
#[derive(Debug, Clone, Default)]
pub(super) struct Seats(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Chunks of the first round that are on their way or gone.
    sent: u32,
    /// Chunks that the second round sends again: the first so many.
    again: u32,
    /// Somebody asked, or asked again.
    joined: bool,
    closed: bool,
}

impl Seats {
    /// Joins, and says whether that was still possible.
    pub(super) fn join(&self) -> bool {
        let mut state = self.lock();
        if state.closed {
            return false;
        }
        state.joined = true;
        state.again = state.again.max(state.sent);
        true
    }

    /// The next chunk of the first round is on its way: whoever joins from now on has missed it.
    pub(super) fn send(&self) {
        self.lock().sent += 1;
    }

    /// Ends the first round: returns how many chunks the second one sends again.
    pub(super) fn close(&self) -> u32 {
        let mut state = self.lock();
        state.closed = true;
        state.again
    }

    /// Ends the pass before it began, unless somebody has joined; says whether it did.
    pub(super) fn close_if_empty(&self) -> bool {
        let mut state = self.lock();
        state.closed = !state.joined;
        state.closed
    }

    /// Whether somebody has joined.
    pub(super) fn is_taken(&self) -> bool {
        self.lock().joined
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(chunks: u32) -> Seats {
        let seats = Seats::default();
        (0..chunks).for_each(|_| seats.send());
        seats
    }

    #[test]
    fn who_joins_before_the_first_chunk_has_missed_nothing() {
        let seats = Seats::default();
        assert!(seats.join());
        seats.send();
        assert_eq!(seats.close(), 0);
    }

    #[test]
    fn the_second_round_serves_all_who_joined_once() {
        let seats = sent(3);
        assert!(seats.join());
        (0..4).for_each(|_| seats.send());
        assert!(seats.join());
        (0..6).for_each(|_| seats.send());
        assert_eq!(seats.close(), 7);
    }

    #[test]
    fn nobody_joins_after_the_first_round() {
        let seats = sent(3);
        seats.close();
        assert!(!seats.join());
    }

    #[test]
    fn a_pass_that_somebody_joined_is_not_called_off() {
        let seats = Seats::default();
        seats.join();
        assert!(!seats.close_if_empty());
        assert!(seats.join());
        assert!(Seats::default().close_if_empty());
    }
}
