//! Who joins a pass under way, and what the pass owes them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::wish::add_formats;
use crate::protocol::{Format, Layout};

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
    /// Those of them that are on their way or gone.
    sent_again: u32,
    /// What those who asked want to hear.
    joined: Vec<Format>,
    closed: bool,
}

impl Seats {
    /// Joins, to hear these formats, and says whether that was still possible.
    pub(super) fn join(&self, formats: &[Format]) -> bool {
        let mut state = self.lock();
        if state.closed {
            return false;
        }
        add_formats(&mut state.joined, formats);
        state.again = state.again.max(state.sent);
        true
    }

    /// The next chunk of the first round is on its way: whoever joins from now on has missed it.
    pub(super) fn send(&self) {
        self.lock().sent += 1;
    }

    /// The next chunk of the second round is on its way.
    pub(super) fn send_again(&self) {
        self.lock().sent_again += 1;
    }

    /// Ends the first round: returns how many chunks the second one sends again.
    pub(super) fn close(&self) -> u32 {
        let mut state = self.lock();
        state.closed = true;
        state.again
    }

    /// Chunks of the first round that are on their way or gone.
    pub(super) fn sent(&self) -> u32 {
        self.lock().sent
    }

    /// Bytes that are still to be sent, in both rounds, of a module that is cut like that.
    pub(super) fn left(&self, layout: &Layout) -> u64 {
        let state = self.lock();
        let again = layout.offset(state.again).saturating_sub(layout.offset(state.sent_again));
        layout.size().saturating_sub(layout.offset(state.sent)) + again
    }

    /// Whether somebody has joined.
    pub(super) fn is_taken(&self) -> bool {
        !self.lock().joined.is_empty()
    }

    /// What those who joined want to hear.
    pub(super) fn joined(&self) -> Vec<Format> {
        self.lock().joined.clone()
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
        assert!(seats.join(&[Format::Full]));
        seats.send();
        assert_eq!(seats.close(), 0);
    }

    #[test]
    fn the_second_round_serves_all_who_joined_once() {
        let seats = sent(3);
        assert!(seats.join(&[Format::Full]));
        (0..4).for_each(|_| seats.send());
        assert!(seats.join(&[Format::Full]));
        (0..6).for_each(|_| seats.send());
        assert_eq!(seats.close(), 7);
    }

    #[test]
    fn nobody_joins_after_the_first_round() {
        let seats = sent(3);
        seats.close();
        assert!(!seats.join(&[Format::Full]));
    }

    #[test]
    fn both_rounds_count_as_what_is_left() {
        let seats = sent(3);
        seats.join(&[Format::Full]);
        let layout = Layout::new(95, 10).unwrap();
        assert_eq!(seats.left(&layout), 65 + 30);
        (0..7).for_each(|_| seats.send());
        seats.close();
        seats.send_again();
        assert_eq!(seats.left(&layout), 20);
    }
}
