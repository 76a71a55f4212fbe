//! Whose chunk goes next: one budget for all that a worker sends.
//!
//! A chunk takes its places before it is read, and gives them back when the broker has acknowledged it, so what a worker
//! holds depends neither on a module's size nor on how many are under way. Where several want to go on:
//!
//! - a device's chunks by number and the passes take turns, so that neither waits behind the other;
//! - of the passes, the one with the least left goes first: a small module does not wait for a large one, and several
//!   large ones end one after the other rather than all at the last moment;
//! - a pass that is older than [`AGED`] gets every other turn of the passes, so that none waits for ever.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

/// Encoded chunks that a worker holds at most, over all that it sends: what bounds its memory.
pub(super) const BUDGET: usize = 10;

/// Of these, how many passes may hold together. A registry that stalls in the middle of their chunks leaves the rest to
/// those that ask by number.
const FOR_PASSES: usize = 8;

/// And how many the answers to those who ask by number, for the same reason.
const FOR_PULLS: usize = 6;

/// After so long a pass is old: those with less left go before it only every other time.
pub(super) const AGED: Duration = Duration::from_secs(10);

/// What somebody wants to send next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// A chunk that one device asked for by number.
    Pull,
    /// A chunk to everyone.
    Pass {
        /// When the pass was asked for.
        since: Instant,
        /// Bytes that it has still to send.
        left: u64,
    },
}

/// The budget, and who waits for it. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns(Arc<Mutex<State>>);

/// Places in the budget, given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    turns: Turns,
    kind: Kind,
    places: usize,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Waiting>,
    held: [usize; 2],
    /// A pass had the last turn, where both kinds were waiting.
    pass_was_last: bool,
    /// An old pass had the last turn of the passes, where others were waiting.
    old_was_last: bool,
}

#[derive(Debug)]
struct Waiting {
    claim: Claim,
    places: usize,
    grant: oneshot::Sender<Share>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pull,
    Pass,
}

impl Claim {
    fn kind(self) -> Kind {
        match self {
            Self::Pull => Kind::Pull,
            Self::Pass { .. } => Kind::Pass,
        }
    }
}

impl Kind {
    const fn most(self) -> usize {
        match self {
            Self::Pull => FOR_PULLS,
            Self::Pass => FOR_PASSES,
        }
    }
}

impl Turns {
    /// Waits for its turn to hold `places` encoded chunks; at most [`FOR_PULLS`] can ever be had at once.
    ///
    /// Cancel-safe: who stops waiting leaves the queue.
    pub(super) async fn take(&self, claim: Claim, places: usize) -> Option<Share> {
        let (grant, granted) = oneshot::channel();
        {
            let mut state = self.lock();
            state.waiting.push(Waiting { claim, places: places.min(FOR_PULLS), grant });
            self.grant(&mut state);
        }
        granted.await.ok()
    }

    /// Gives places to those whose turn it is, as long as there are any.
    fn grant(&self, state: &mut State) {
        state.waiting.retain(|waiting| !waiting.grant.is_closed());
        while let Some(next) = state.next(Instant::now()) {
            let Waiting { claim, places, grant } = state.waiting.remove(next);
            let kind = claim.kind();
            state.held[kind as usize] += places;
            if let Err(mut refused) = grant.send(Share { turns: self.clone(), kind, places }) {
                // Gone in the meantime. Its share must not come back by itself: we hold the lock.
                refused.places = 0;
                state.held[kind as usize] -= places;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Who goes next, by its place in the queue; nobody where there is no room for it.
    fn next(&mut self, now: Instant) -> Option<usize> {
        let pull = self.waiting.iter().position(|waiting| waiting.claim == Claim::Pull).filter(|&pull| self.fits(pull));
        let passes = self.passes(now);
        let pass = passes.filter(|(pass, _)| self.fits(*pass));
        match (pull, pass) {
            (Some(pull), Some(_)) if self.pass_was_last => {
                self.pass_was_last = false;
                Some(pull)
            }
            (_, Some((pass, old))) => {
                self.pass_was_last = true;
                self.old_was_last = old;
                Some(pass)
            }
            (Some(pull), None) => Some(pull),
            (None, None) => None,
        }
    }

    /// The pass whose turn it is among the passes, and whether it is because it is old.
    fn passes(&self, now: Instant) -> Option<(usize, bool)> {
        let passes = || {
            self.waiting.iter().enumerate().filter_map(|(index, waiting)| match waiting.claim {
                Claim::Pass { since, left } => Some((index, since, left)),
                Claim::Pull => None,
            })
        };
        let (shortest, ..) = passes().min_by_key(|(_, since, left)| (*left, *since))?;
        let oldest = passes().min_by_key(|(_, since, _)| *since).filter(|(_, since, _)| now - *since >= AGED);
        match oldest {
            Some((oldest, ..)) if !self.old_was_last => Some((oldest, true)),
            _ => Some((shortest, false)),
        }
    }

    fn fits(&self, index: usize) -> bool {
        let Some(Waiting { claim, places, .. }) = self.waiting.get(index) else { return false };
        let kind = claim.kind();
        self.held.iter().sum::<usize>() + places <= BUDGET && self.held[kind as usize] + places <= kind.most()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.places > 0 {
            let mut state = self.turns.lock();
            state.held[self.kind as usize] -= self.places;
            self.turns.grant(&mut state);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn pass(since: Instant, left: u64) -> Claim {
        Claim::Pass { since, left }
    }

    /// All places that passes can have, taken.
    async fn full(turns: &Turns) -> Vec<Share> {
        let now = Instant::now();
        futures::future::join_all((0..FOR_PASSES).map(|_| turns.take(pass(now, 0), 1).map(Option::unwrap))).await
    }

    /// The order in which these claims get the one place that is free.
    async fn order(turns: &Turns, mut held: Vec<Share>, claims: &[Claim]) -> Vec<usize> {
        let mut waiting: Vec<_> = claims.iter().map(|claim| Some(Box::pin(turns.take(*claim, 1)))).collect();
        let mut order = Vec::new();
        // Everybody queues up before there is a place.
        for waiting in waiting.iter_mut().flatten() {
            assert!(waiting.now_or_never().is_none());
        }
        held.pop();
        while order.len() < claims.len() {
            let granted = waiting.iter_mut().enumerate().find_map(|(index, slot)| {
                let share = slot.as_mut()?.now_or_never()?;
                *slot = None;
                Some((index, share.unwrap()))
            });
            let (index, share) = granted.expect("somebody goes on");
            order.push(index);
            drop(share);
        }
        order
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_is_held_than_the_budget() {
        let turns = Turns::default();
        let _passes = full(&turns).await;
        assert!(turns.take(pass(Instant::now(), 0), 1).now_or_never().is_none(), "some are kept for pulls");
        let first = turns.take(Claim::Pull, 1).await;
        let _second = turns.take(Claim::Pull, 1).await;
        assert!(turns.take(Claim::Pull, 1).now_or_never().is_none());
        drop(first);
        assert!(turns.take(Claim::Pull, 1).now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_pass_with_the_least_left_goes_first() {
        let turns = Turns::default();
        let held = full(&turns).await;
        let now = Instant::now();
        assert_eq!(order(&turns, held, &[pass(now, 30), pass(now, 10), pass(now, 20)]).await, [1, 2, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_pass_goes_every_other_time() {
        let turns = Turns::default();
        let held = full(&turns).await;
        let old = Instant::now();
        tokio::time::advance(2 * AGED).await;
        let now = Instant::now();
        let claims = [pass(now, 1), pass(now, 2), pass(old, 100), pass(old + AGED, 90)];
        assert_eq!(order(&turns, held, &claims).await, [2, 0, 3, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn pulls_and_passes_take_turns() {
        let turns = Turns::default();
        let held = full(&turns).await;
        let _pulls = futures::future::join_all((0..BUDGET - FOR_PASSES).map(|_| turns.take(Claim::Pull, 1))).await;
        let now = Instant::now();
        let claims = [pass(now, 1), pass(now, 2), Claim::Pull, Claim::Pull];
        assert_eq!(order(&turns, held, &claims).await, [2, 0, 3, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_stops_waiting_takes_nothing() {
        let turns = Turns::default();
        let mut held = full(&turns).await;
        let now = Instant::now();
        let mut gone = Box::pin(turns.take(pass(now, 1), 1));
        let mut waiting = Box::pin(turns.take(pass(now, 2), 1));
        assert!((&mut gone).now_or_never().is_none() && (&mut waiting).now_or_never().is_none());
        drop(gone);
        held.pop();
        assert!(waiting.now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_that_nobody_took_in_comes_back() {
        let turns = Turns::default();
        let mut held = full(&turns).await;
        let now = Instant::now();
        let mut first = Box::pin(turns.take(pass(now, 1), 1));
        assert!((&mut first).now_or_never().is_none());
        held.pop();
        // Granted by now, but never looked at.
        drop(first);
        assert!(turns.take(pass(now, 2), 1).now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_chunks_by_number_is_served_in_turn() {
        let turns = Turns::default();
        let mut held = futures::future::join_all((0..FOR_PULLS).map(|_| turns.take(Claim::Pull, 1))).await;
        let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(turns.take(Claim::Pull, 1))).collect();
        waiting.iter_mut().for_each(|waiting| assert!(waiting.now_or_never().is_none()));
        let mut served = [0; 3];
        for _ in 0..30 {
            held.pop();
            let (index, share) = waiting
                .iter_mut()
                .enumerate()
                .find_map(|(index, waiting)| Some((index, waiting.now_or_never()?)))
                .unwrap();
            served[index] += 1;
            held.push(share);
            // And the next chunk of the same.
            waiting[index] = Box::pin(turns.take(Claim::Pull, 1));
            assert!((&mut waiting[index]).now_or_never().is_none());
        }
        assert_eq!(served, [10; 3]);
    }
}
