//! Which module goes next: pure bookkeeping, with the time as an argument.
//!
//! ```text
//!   ask ──► waits ──► looked at ──► found ──► active ──► rests
//!           (the registry is asked what it is)  (a pass)  (the next of the same waits so long)
//! ```

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    holds::{Beginning, Holds, Parts},
    progress::Source,
    seats::Seats,
    starving::Starving,
    turns::AGED,
    wish::{Active, PassId, Plan, Ticket, Wish, add_formats},
};
use crate::protocol::{ChunkHead, Format};

/// Passes under way at once: those with the least left. Others that have begun rest between two chunks.
const MAX_ACTIVE: usize = 4;

/// Passes that have begun, those that rest among them; of one registry at most half as many.
const MAX_BEGUN: usize = 16;

/// References that one registry is asked about at once, so that one that does not answer holds up nobody else.
const MAX_LOOKS: usize = 8;

/// And all registries together.
const MAX_ALL_LOOKS: usize = 64;

/// How long it stands what a tag was found to mean; a pass that begins later asks again.
const FRESH: Duration = Duration::from_secs(10);

/// The longest rest between two passes of the same.
const MAX_REST: Duration = Duration::from_secs(20);

/// What becomes of a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// A pass under way, or one that waits, serves it.
    Joined,
    /// It waits for its turn.
    Queued,
    /// One that waits serves it, but not soon: old devices may keep parts of another module under that name.
    Held,
    /// Too much is waiting.
    Busy,
}

/// A wish that waits for its turn.
#[derive(Debug)]
struct Waiting {
    ticket: Ticket,
    look: Look,
}

/// How far it is known what a wish means.
#[derive(Debug)]
enum Look {
    Due,
    UnderWay,
    Found(Arc<Plan>, Instant),
}

/// The passes that wait, are under way, or rest.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    waiting: VecDeque<Waiting>,
    active: Vec<Active>,
    taken_in: PassId,
    /// Until when a module that was sent is not sent again because somebody asks.
    resting: HashMap<(String, Format), Instant>,
    holds: Holds,
}

impl Waiting {
    fn plan(&self) -> Option<&Arc<Plan>> {
        match &self.look {
            Look::Found(plan, _) => Some(plan),
            Look::Due | Look::UnderWay => None,
        }
    }

    /// What was found out long ago is asked for anew: the tag may have moved.
    fn look_again_unless_fresh(&mut self, now: Instant) {
        let is_tag = self.ticket.wish.reference.digest().is_none();
        if is_tag && matches!(self.look, Look::Found(_, at) if now - at >= FRESH) {
            self.look = Look::Due;
        }
    }
}

impl Schedule {
    /// What an earlier schedule knew of the names that are held.
    pub(super) fn with_holds(holds: Holds) -> Self {
        Self { holds, ..Self::default() }
    }

    /// Takes a wish in; at most `capacity` wishes of devices wait.
    pub(super) fn ask(&mut self, wish: Wish, capacity: usize, now: Instant) -> Admission {
        let serves = |active: &Active| active.ticket.wish.serves(&wish) && !active.stop.is_cancelled();
        if self.active.iter().any(|active| serves(active) && (!wish.is_asked() || active.seats.join(&wish.asked))) {
            return Admission::Joined;
        }
        // What is held does not keep others from being served at once.
        let holds = &self.holds;
        let held = |waiting: &Waiting| held_until(holds, waiting, now).is_some();
        let serves = |waiting: &&mut Waiting| {
            waiting.ticket.wish.serves(&wish) && (waiting.ticket.wish.formats == wish.formats || !held(waiting))
        };
        if let Some(waiting) = self.waiting.iter_mut().find(serves) {
            add_formats(&mut waiting.ticket.wish.asked, &wish.asked);
            if !held(waiting) {
                return Admission::Joined;
            }
            // The tag may mean by now what is not held.
            waiting.look_again_unless_fresh(now);
            return Admission::Held;
        }
        let requested = |waiting: &&Waiting| waiting.ticket.wish.source == Source::Requested;
        if wish.source == Source::Requested && self.waiting.iter().filter(requested).count() >= capacity {
            return Admission::Busy;
        }
        self.taken_in += 1;
        let ticket = Ticket { id: self.taken_in, wish, since: now };
        self.waiting.push_back(Waiting { ticket, look: Look::Due });
        Admission::Queued
    }

    /// The next wish that the registry is to be asked about; [`Self::found`] or [`Self::take`] ends that.
    pub(super) fn look(&mut self, now: Instant) -> Option<Ticket> {
        self.resting.retain(|_, until| *until > now);
        let mut under_way: HashMap<&str, usize> = HashMap::new();
        for waiting in self.waiting.iter().filter(|waiting| matches!(waiting.look, Look::UnderWay)) {
            *under_way.entry(waiting.ticket.wish.reference.host()).or_default() += 1;
        }
        if under_way.values().sum::<usize>() >= MAX_ALL_LOOKS {
            return None;
        }
        // With each message that comes, over all that waits: the cheapest question first.
        let next = self.waiting.iter().position(|Waiting { ticket: Ticket { wish, .. }, look }| {
            let is_free = || under_way.get(wish.reference.host()).is_none_or(|looks| *looks < MAX_LOOKS);
            matches!(look, Look::Due) && is_free() && self.may_begin(wish)
        })?;
        let waiting = self.waiting.get_mut(next)?;
        waiting.look = Look::UnderWay;
        Some(waiting.ticket.clone())
    }

    /// It is known what a wish means; says whether a device has to wait because it is held.
    pub(super) fn found(&mut self, id: PassId, plan: Plan, now: Instant) -> bool {
        let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.ticket.id == id) else { return false };
        waiting.look = Look::Found(Arc::new(plan), now);
        waiting.ticket.wish.is_asked() && held_until(&self.holds, waiting, now).is_some()
    }

    /// Whether a device wants what waits here, whoever declared it.
    pub(super) fn is_asked(&self, id: PassId) -> bool {
        self.waiting.iter().any(|waiting| waiting.ticket.id == id && waiting.ticket.wish.is_asked())
    }

    /// Takes a wish out, if it still waits.
    pub(super) fn take(&mut self, id: PassId) -> Option<Ticket> {
        let index = self.waiting.iter().position(|waiting| waiting.ticket.id == id)?;
        self.waiting.remove(index).map(|waiting| waiting.ticket)
    }

    /// Begins the next pass, if there is one whose turn it is.
    ///
    /// The shortest goes first, or the oldest where that has waited long. While [`MAX_ACTIVE`] are under way, one that is
    /// shorter than what is left of some of them goes before these.
    ///
    /// `is_current` says whether what was found would be cut the same way by now.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        stop: &CancellationToken,
        is_current: impl Fn(&ChunkHead) -> bool,
    ) -> Option<Active> {
        if self.active.len() >= MAX_BEGUN {
            return None;
        }
        let index = self.next(now)?;
        let waiting = self.waiting.get_mut(index)?;
        waiting.look_again_unless_fresh(now);
        let plan = waiting.plan()?.clone();
        if !is_current(&plan.head) {
            waiting.look = Look::Due;
            return None;
        }
        let Waiting { ticket, .. } = self.waiting.remove(index)?;
        let is_plain = ticket.wish.is_plain();
        let Beginning { begun, log } = if is_plain { self.holds.begin(&plan.head, now) } else { Beginning::default() };
        let log = log.map(Arc::new);
        let (seats, starving) = (Seats::default(), Starving::default());
        let active = Active { ticket, plan, seats, begun, log, starving, stop: stop.child_token() };
        if active.ticket.wish.is_asked() {
            active.seats.join(&active.ticket.wish.asked);
        }
        self.active.push(active.clone());
        Some(active)
    }

    fn next(&self, now: Instant) -> Option<usize> {
        let ready = || {
            self.waiting.iter().enumerate().filter_map(|(index, waiting)| {
                let plan = waiting.plan()?;
                let held = held_until(&self.holds, waiting, now).is_some();
                let host = waiting.ticket.wish.reference.host();
                let of_host = self.active.iter().filter(|active| active.ticket.wish.reference.host() == host).count();
                (!held && of_host < MAX_BEGUN / 2 && self.may_begin(&waiting.ticket.wish)).then_some((
                    index,
                    plan.module.size,
                    waiting.ticket.since,
                ))
            })
        };
        let (shortest, size, _) = ready().min_by_key(|(_, size, since)| (*size, *since))?;
        let fed = || self.active.iter().filter(|active| !active.is_starving(now));
        if fed().count() < MAX_ACTIVE {
            let oldest = ready().min_by_key(|(.., since)| *since).filter(|(.., since)| now - *since >= AGED);
            return Some(oldest.map_or(shortest, |(oldest, ..)| oldest));
        }
        let shorter = fed().filter(|active| active.left() <= size).count();
        (shorter < MAX_ACTIVE).then_some(shortest)
    }

    /// A pass has ended, or a wish was not worth one; what it said is not said again for a `rest`, because a device asks.
    pub(super) fn end(&mut self, ticket: &Ticket, rest: Duration, now: Instant) {
        self.active.retain(|active| active.ticket.id != ticket.id);
        let Wish { app_name, formats, .. } = &ticket.wish;
        let until = now + rest.min(MAX_REST);
        for &format in formats {
            let rests = self.resting.entry((app_name.clone(), format)).or_insert(until);
            *rests = until.max(*rests);
        }
    }

    /// A pass has left these parts at old devices; says whether a device waits for something else under that name, which
    /// is held from now on.
    pub(super) fn note_parts(&mut self, pass: &Active, parts: Parts, now: Instant) -> bool {
        let Wish { app_name, .. } = &pass.ticket.wish;
        if !pass.ticket.wish.is_plain() {
            return false;
        }
        let nothing = parts != Parts::Corrupt && pass.seats.sent() == 0;
        self.holds.end(app_name, if nothing { Parts::None } else { parts }, now);
        self.waiting.iter().any(|waiting| {
            let wish = &waiting.ticket.wish;
            wish.app_name == *app_name && wish.is_asked() && held_until(&self.holds, waiting, now).is_some()
        })
    }

    /// What devices have asked for and still wait for, and the names that are held.
    pub(super) fn close(&mut self) -> (Vec<Wish>, Holds) {
        let waiting = self.waiting.drain(..).map(|waiting| waiting.ticket.wish);
        (waiting.filter(Wish::is_asked).collect(), std::mem::take(&mut self.holds))
    }

    /// When a wish that waits has rested enough, is held no more, or may overtake a pass that waits for the registry.
    pub(super) fn wake_at(&self, now: Instant) -> Option<Instant> {
        let until = |waiting: &Waiting| {
            let until = self.rests_until(&waiting.ticket.wish).or_else(|| held_until(&self.holds, waiting, now));
            let starved = || self.active.iter().filter_map(|active| active.starving.at()).filter(|at| *at > now).min();
            until.or_else(starved)
        };
        self.waiting.iter().filter_map(until).min()
    }

    /// Calls off what was declared and is no more; what devices asked for goes on.
    ///
    /// `declared` says in which formats a name is declared by now.
    pub(super) fn withdraw(&mut self, declared: impl Fn(&str) -> Vec<Format>) {
        let gone = |wish: &Wish| {
            let declared = declared(&wish.app_name);
            wish.source == Source::Declared && !wish.formats.iter().all(|format| declared.contains(format))
        };
        self.waiting.retain(|waiting| waiting.ticket.wish.is_asked() || !gone(&waiting.ticket.wish));
        for waiting in self.waiting.iter_mut().filter(|waiting| gone(&waiting.ticket.wish)) {
            waiting.ticket.wish.narrow();
        }
        for active in &self.active {
            if gone(&active.ticket.wish) && !active.seats.is_taken() {
                active.stop.cancel();
            }
        }
    }

    /// Whether nothing that was said, or is being said, keeps this from being said now.
    fn may_begin(&self, wish: &Wish) -> bool {
        self.rests_until(wish).is_none() && !self.active.iter().any(|active| active.ticket.wish.overlaps(wish))
    }

    /// Until when a device's wish has to wait because the same was just sent; a declared artifact never has to.
    fn rests_until(&self, wish: &Wish) -> Option<Instant> {
        if wish.source == Source::Declared { None } else { self.rested_at(&wish.app_name, &wish.formats) }
    }

    /// When what was sent under that name has rested enough to be sent again unchanged; `None` where nothing rests.
    pub(super) fn rested_at(&self, app_name: &str, formats: &[Format]) -> Option<Instant> {
        formats.iter().filter_map(|&format| self.resting.get(&(app_name.to_owned(), format))).max().copied()
    }
}

/// Until when a wish is held; `None` where it is not, as far as it is known what it means.
fn held_until(holds: &Holds, waiting: &Waiting, now: Instant) -> Option<Instant> {
    let plan = waiting.plan().filter(|_| waiting.ticket.wish.is_plain())?;
    holds.held(&plan.head, now)
}

#[cfg(test)]
mod tests;
