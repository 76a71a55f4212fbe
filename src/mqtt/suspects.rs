//! What the broker may be hanging up on.
//!
//! MQTT 3.1.1 has no words for "too large" and "not allowed": a broker closes the connection, and the message, sent again on
//! the next one, closes that too. MQTT 5 has the words; that something is not allowed, every broker says there. But
//! connections are lost for other reasons as well, so a message has to be convicted:
//!
//! - Only a *suspect* can be: a packet larger than any that the broker has taken, or one to a topic on which it has taken
//!   none; a message that was there at ten losses loses that protection.
//! - A suspect that was unacknowledged at two losses is *isolated*: from then on one message at a time is in flight, so
//!   that nobody is convicted for another's doing.
//! - Before it is sent again the connection has to stand without it for a while ([`CONTROL`]); one that does not acquits it.
//! - A third loss, with nothing but the suspect in flight, convicts it.
//!
//! A conviction holds for a while, twice as long each time. Then one such message is let through, alone: the broker's limit
//! may be another by now.
//!
//! At QoS 0 nothing is ever unacknowledged. There the size is convicted, by three losses in a row after a packet larger than
//! any taken, or ten after one that is not. A later acknowledgement, the answer to a later ping, or very much that is written
//! after it, says that it was taken. Pure, with the time as an argument.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

use self::written::{Number, Streak, Written};
use super::error::PublishError;
use crate::backoff::Backoff;

pub(super) mod written;

/// No broker finds a packet of so many bytes too large: here the topic is to blame.
const SMALL: usize = 4 * 1024;

/// From so many losses on a suspect is in flight alone.
const ISOLATED: u32 = 2;

/// So many losses convict a suspect.
const CONVICTED: u32 = 3;

/// So long a connection has to stand before a suspect is sent on it: links that come and go convict nobody.
pub(super) const CONTROL: Duration = Duration::from_secs(2);

/// After so many losses it counts for nothing that the broker has taken the like before: its limits may have changed.
const STUBBORN: u32 = 10;

/// How long a conviction holds, the first time and at most. Whoever tries again by himself waits longer than that.
const HOLD: Backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(120));

/// Topics, and denied ones, that are remembered.
const MAX_TOPICS: usize = 256;

/// The number of a publish.
pub(super) type Id = u64;

/// What a lost connection says about what was in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Nothing: send it again.
    Innocent,
    /// One of them may be to blame: send them again one at a time.
    Doubt,
    /// Packets of so many bytes are too large.
    TooLarge(usize),
    /// Messages to this topic are not allowed.
    Denied(String),
}

/// A publish that has not ended.
#[derive(Debug)]
struct Open {
    topic: String,
    size: usize,
    /// The link has it.
    sent: bool,
    losses: u32,
    /// The largest packet that was written before it at QoS 0: its acknowledgement is theirs, too.
    after: usize,
}

#[derive(Debug)]
struct Conviction<T> {
    of: T,
    hold: Backoff,
    until: Instant,
}

/// Keeps count.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    open: BTreeMap<Id, Open>,
    entered: Id,
    /// The largest packet that the broker has taken.
    taken: usize,
    /// Topics on which it has taken something, the least recently used first.
    allowed: VecDeque<String>,
    /// At QoS 0, on this connection.
    written: Written,
    /// And what became of those before.
    streak: Option<Streak>,
    too_large: Option<Conviction<usize>>,
    denied: VecDeque<Conviction<String>>,
    /// The broker would have said that something was not allowed.
    speaks: bool,
}

impl Suspects {
    /// Whether a packet of `size` bytes to `topic` may be sent.
    pub fn admit(&self, topic: &str, size: usize, now: Instant) -> Result<(), PublishError> {
        if let Some(Conviction { of, .. }) = self.is_too_large(size).filter(|conviction| conviction.until > now) {
            return Err(PublishError::SeemsTooLarge { size: *of, topic: topic.to_owned() });
        }
        match self.is_denied(topic) {
            Some(conviction) if conviction.until > now => Err(PublishError::SeemsDenied { topic: topic.to_owned() }),
            _ => Ok(()),
        }
    }

    /// A publish begins.
    pub fn enter(&mut self, topic: &str) -> Id {
        self.entered += 1;
        let open = Open { topic: topic.to_owned(), size: 0, sent: false, losses: 0, after: 0 };
        self.open.insert(self.entered, open);
        self.entered
    }

    /// It is handed to the link, as a packet of `size` bytes.
    pub fn send(&mut self, id: Id, size: usize) {
        let after = self.written.largest();
        if let Some(open) = self.open.get_mut(&id) {
            (open.size, open.sent, open.after) = (size, true, after);
        }
    }

    /// The link has given it back.
    pub fn take_back(&mut self, id: Id) {
        if let Some(open) = self.open.get_mut(&id) {
            open.sent = false;
        }
    }

    /// A publish at QoS 0 is handed to the link, as a packet of `size` bytes.
    pub fn write(&mut self, size: usize) -> Number {
        self.written.hand_over(size)
    }

    /// It is written to the socket.
    pub fn flushed(&mut self, number: Number, size: usize) {
        if let Some(proven) = self.written.flushed(number, size) {
            self.took(proven);
        }
    }

    /// The broker has answered to a publish.
    pub fn answered(&mut self, id: Id) {
        let Some(Open { topic, size, after, .. }) = self.open.get(&id) else { return };
        let (topic, size) = (topic.clone(), *size.max(after));
        self.denied.retain(|conviction| conviction.of != topic);
        self.allowed.retain(|allowed| *allowed != topic);
        push_bounded(&mut self.allowed, topic);
        self.took(size);
    }

    /// A publish has ended, or nobody waits for it any more.
    pub fn leave(&mut self, id: Id) {
        self.open.remove(&id);
    }

    /// Somebody else publishes from now on: what the last one was not allowed, this one may be.
    pub fn pardon(&mut self) {
        self.denied.clear();
        self.allowed.clear();
        self.open.values_mut().for_each(|open| open.losses = 0);
    }

    /// PINGREQ is sent.
    pub fn ping(&mut self) {
        self.written.ping();
    }

    /// PINGRESP: what was written before the ping has arrived.
    pub fn pong(&mut self) {
        self.took(self.written.pong());
    }

    fn took(&mut self, size: usize) {
        self.taken = self.taken.max(size);
        self.streak.take_if(|streak| streak.least <= size);
        self.too_large.take_if(|conviction| conviction.of <= size);
    }

    /// Whether the connection has to stand for a while before this is sent again.
    pub fn is_on_trial(&self, id: Id) -> bool {
        self.open.get(&id).is_some_and(|open| open.losses >= ISOLATED)
    }

    /// The connection has been lost without it.
    pub fn acquit(&mut self, id: Id) {
        if let Some(open) = self.open.get_mut(&id) {
            open.losses = 0;
        }
    }

    /// Whether only one message at a time may be in flight.
    pub fn isolates(&self) -> bool {
        let probes = |open: &Open| self.is_too_large(open.size).is_some() || self.is_denied(&open.topic).is_some();
        self.open.values().any(|open| (open.losses >= ISOLATED && self.suspects(open)) || (open.sent && probes(open)))
    }

    /// The connection has ended; `blamed` where the broker may have closed it because of what it was sent. A broker that
    /// `speaks` would have said that it was not allowed: it speaks MQTT 5, and has not.
    pub fn lost(&mut self, blamed: bool, speaks: bool, now: Instant) -> Judgement {
        self.speaks = speaks;
        let written = self.written.lost();
        self.open.values_mut().for_each(|open| open.after = 0);
        if !blamed {
            return Judgement::Innocent;
        }
        if let Some(size) = self.convicts_written(written) {
            return self.convict_size(size, now);
        }
        if written > self.taken.max(SMALL) {
            return Judgement::Innocent;
        }
        self.open.values_mut().filter(|open| open.sent).for_each(|open| open.losses += 1);
        let judgement = self.judge(now);
        if judgement != Judgement::Innocent {
            self.open.values_mut().for_each(|open| open.sent = false);
        }
        judgement
    }

    /// The size that is too large at QoS 0, where it is certain by now; `size` was the largest on the connection.
    fn convicts_written(&mut self, size: usize) -> Option<usize> {
        let protected = size <= self.taken;
        self.streak = (size > SMALL).then(|| Streak::after(self.streak, size, protected));
        let Streak { losses, least, .. } = self.streak?;
        let needed = match protected {
            _ if self.is_too_large(size).is_some() => 1,
            true => STUBBORN,
            false => CONVICTED,
        };
        (losses >= needed).then_some(least)
    }

    fn judge(&mut self, now: Instant) -> Judgement {
        let mut sent = self.open.values().filter(|open| open.sent);
        if let (Some(alone), None) = (sent.next(), sent.next())
            && self.is_convicted(alone)
        {
            return if alone.size > SMALL && (alone.size > self.taken || self.allowed.contains(&alone.topic)) {
                self.convict_size(alone.size, now)
            } else {
                self.convict_topic(alone.topic.clone(), now)
            };
        }
        if self.isolates() { Judgement::Doubt } else { Judgement::Innocent }
    }

    fn suspects(&self, open: &Open) -> bool {
        let larger = open.size > self.taken.max(SMALL);
        larger || open.losses >= STUBBORN || (!self.speaks && !self.allowed.contains(&open.topic))
    }

    fn is_convicted(&self, open: &Open) -> bool {
        let needed =
            if self.is_too_large(open.size).is_some() || self.is_denied(&open.topic).is_some() { 1 } else { CONVICTED };
        open.losses >= needed && self.suspects(open)
    }

    fn is_too_large(&self, size: usize) -> Option<&Conviction<usize>> {
        self.too_large.as_ref().filter(|conviction| conviction.of <= size)
    }

    fn is_denied(&self, topic: &str) -> Option<&Conviction<String>> {
        self.denied.iter().find(|conviction| conviction.of == topic)
    }

    fn convict_size(&mut self, size: usize, now: Instant) -> Judgement {
        self.taken = self.taken.min(size.saturating_sub(1));
        self.streak = None;
        let before = self.too_large.take();
        let size = before.as_ref().map_or(size, |before| before.of.min(size));
        self.too_large = Some(Conviction::new(size, before.map(|before| before.hold), now));
        Judgement::TooLarge(size)
    }

    fn convict_topic(&mut self, topic: String, now: Instant) -> Judgement {
        self.allowed.retain(|allowed| *allowed != topic);
        self.streak = None;
        let before = self.denied.iter().position(|conviction| conviction.of == topic);
        let hold = before.and_then(|at| self.denied.remove(at)).map(|before| before.hold);
        push_bounded(&mut self.denied, Conviction::new(topic.clone(), hold, now));
        Judgement::Denied(topic)
    }
}

/// Forgets the oldest where there are too many.
fn push_bounded<T>(topics: &mut VecDeque<T>, topic: T) {
    if topics.len() == MAX_TOPICS {
        topics.pop_front();
    }
    topics.push_back(topic);
}

impl<T> Conviction<T> {
    /// For the first time, or for a longer time than before.
    fn new(of: T, hold: Option<Backoff>, now: Instant) -> Self {
        let mut hold = hold.unwrap_or(HOLD);
        let until = now + hold.fail(0.0);
        Self { of, hold, until }
    }
}

#[cfg(test)]
mod tests;
