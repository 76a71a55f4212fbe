//! What a device makes of what it hears, and what it does next. No I/O: time, chunks and notices come in as arguments.
//!
//! The rules:
//! - ask for the whole module; after that, for what is missing by number: after `complete`, or after a silence;
//! - a device that does not listen to the channel asks for everything by number. What the module is, it learns from the
//!   answer to a first such request, which cannot be right yet: `changed` says what the reference means;
//! - what is asked for by number comes back on the device's own topic; when all of it is here, the next is asked for,
//!   unless a pass to everyone is under way, which brings the rest anyway;
//! - chunks of two modules are never mixed. Another one under the same reference is begun when the other end says
//!   `changed`, or when the first has fallen silent while the other has not ([`Subject`]).

use std::time::Duration;

use tokio::time::Instant;

use super::{
    assembly::{Assembly, Whole},
    error::{FetchError, Stall},
    event::Cause,
    options::Listen,
    patience::Patience,
    reference::Reference,
    subject::Subject,
    window::Window,
};
use crate::{
    digest::Digest,
    protocol::{
        Chunk, ChunkRanges, Complete, Descriptor, DeviceName, ErrorCode, ErrorNotice, Request,
        request::{Full, Wanted},
    },
};

/// What a device wants.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The module.
    pub reference: Reference,
    /// Who wants it.
    pub device: DeviceName,
    /// How its chunks should come, where the connection carries that.
    pub format: Wanted,
    /// The only module that is accepted, where there is one.
    pub digest: Option<Digest>,
    /// The largest module that is accepted, in bytes.
    pub max_size: u64,
    /// What to listen to.
    pub listen: Listen,
    /// How long to go on without progress.
    pub timeout: Duration,
    /// How long a silence is after which to ask again.
    pub silence: Duration,
}

/// Whom something was said to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// To everyone on the channel.
    Everyone,
    /// To this device, which had asked for it by number.
    Us,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing, until then.
    Wait(Instant),
    /// Publish this, then call [`Gathering::asked`].
    Ask(Request),
    /// What was gathered is void.
    BeginAnew(Cause),
    /// Enough.
    GiveUp(Stall),
}

/// What a notice means for us.
#[derive(Debug, PartialEq, Eq)]
pub enum Meaning {
    /// It is not for us.
    Nothing,
    /// We ask again after so long.
    AskLater(Duration),
    /// What was gathered is void.
    BeginAnew(Cause),
}

/// A module that is being gathered.
#[derive(Debug)]
pub struct Gathering {
    wish: Wish,
    patience: Patience,
    subject: Subject,
    window: Window,
    /// What was asked for by number and is not all here.
    batch: Option<ChunkRanges>,
    /// A pass to everyone seems to be under way.
    passing: bool,
    /// A request is on its way to the broker.
    asking: bool,
    /// What to ask for on the last connection; none before there was one.
    format: Option<Wanted>,
    /// Why we wait, where the other end has said so.
    refusal: Option<Box<ErrorNotice>>,
}

impl Gathering {
    /// Begins with nothing.
    pub fn new(wish: Wish, random: fastrand::Rng, now: Instant) -> Self {
        Self {
            patience: Patience::new(wish.timeout, wish.silence, random, now),
            subject: Subject::new(wish.listen),
            wish,
            window: Window::new(),
            batch: None,
            passing: false,
            asking: false,
            format: None,
            refusal: None,
        }
    }

    /// What is here so far.
    pub fn assembly(&self) -> Option<&Assembly> {
        self.subject.assembly()
    }

    /// How long to go on without progress.
    pub fn timeout(&self) -> Duration {
        self.wish.timeout
    }

    /// The broker is connected, by a version of MQTT that carries chunks in binary or does not: whoever sends them cannot
    /// know. The time that the first connection took does not count.
    pub fn connected(&mut self, binary: bool, now: Instant) {
        if self.format.is_none() {
            self.patience.begin(now);
        } else if self.batch.is_some() && !self.asking {
            // What was on its way to us alone went down with the connection.
            self.batch = None;
            self.window.came_to_nothing();
            self.patience.ask_soon(now);
        }
        self.format = Some(if binary { self.wish.format } else { Wanted::Json });
    }

    /// Takes note of a chunk. True where it is to be written: into [`Self::assembly`], which is another one then if it
    /// is the first.
    ///
    /// # Errors
    /// Where the module is too large.
    pub fn chunk(&mut self, chunk: &Chunk, to: Audience, now: Instant) -> Result<bool, FetchError> {
        let Some((digest, layout)) = chunk.whole.filter(|_| self.is_ours(&chunk.app_name)) else { return Ok(false) };
        let Some(missing) = self.subject.chunk(&self.wish, Whole { digest, layout }, chunk.index, to)? else {
            self.ask_about_doubts(now);
            return Ok(false);
        };
        self.passing |= to == Audience::Everyone;
        if missing {
            self.refusal = None;
            self.patience.progressed(now);
        } else {
            self.patience.heard(now);
        }
        self.close_batch(now);
        Ok(missing)
    }

    /// Takes note of the end of a pass.
    ///
    /// # Errors
    /// Where asking again does not help.
    pub fn complete(&mut self, notice: &Complete, now: Instant) -> Result<(), FetchError> {
        let Some(layout) = notice.layout().filter(|_| self.is_ours(&notice.app_name)) else { return Ok(()) };
        let whole = Whole { digest: notice.digest, layout };
        if self.subject.announced(&self.wish, whole, Audience::Everyone)? {
            self.passing = false;
            if self.batch.is_none() {
                self.patience.ask_soon(now);
            }
        }
        self.ask_about_doubts(now);
        Ok(())
    }

    /// Takes note of what went wrong at the other end.
    ///
    /// # Errors
    /// Where asking again does not help.
    pub fn error(&mut self, notice: ErrorNotice, now: Instant) -> Result<Meaning, FetchError> {
        if !self.is_ours(&notice.app_name) {
            return Ok(Meaning::Nothing);
        }
        // Ours name us, and are not bad: one that names nobody answers somebody else.
        let names_us = notice.device.as_ref().is_none_or(|device| *device == self.wish.device);
        let by_number = names_us && self.batch.is_some();
        match notice.code {
            // Only requests by number are answered so.
            ErrorCode::Changed if by_number => self.changed(notice, now),
            ErrorCode::Changed => self.overheard(notice.now, now),
            ErrorCode::BadRequest if notice.device.is_none() => Ok(Meaning::Nothing),
            _ if !names_us => Ok(Meaning::Nothing),
            // There are no such chunks: whoever spoke of them on the channel did not know the module.
            ErrorCode::BadRequest if by_number && self.assembly().is_some() && !self.subject.is_confirmed() => {
                self.subject.disbelieve()?;
                Ok(self.begin_anew(Cause::Refuted, now))
            }
            // Ours are as they should be: somebody else asks under our name, or the other end is too old for us.
            _ if notice.retryable || notice.code == ErrorCode::BadRequest => {
                self.refusal = Some(Box::new(notice));
                Ok(Meaning::AskLater(self.patience.refused(now)))
            }
            _ => Err(FetchError::Refused(Box::new(notice))),
        }
    }

    /// The reference means something else than what we have asked for by number.
    fn changed(&mut self, notice: ErrorNotice, now: Instant) -> Result<Meaning, FetchError> {
        let whole = notice.now.and_then(whole);
        if whole.is_some_and(|whole| self.subject.is_other(&self.wish, whole.digest)) {
            // It may come to mean again what is wanted, and what is here is as good as ever.
            self.batch = None;
            self.refusal = Some(Box::new(notice));
            return Ok(Meaning::AskLater(self.patience.refused(now)));
        }
        let known = self.assembly().map(Assembly::whole);
        if known.is_some() && known == whole {
            // That is the answer to an earlier request.
            return Ok(Meaning::Nothing);
        }
        self.subject.changed(&self.wish, whole, Audience::Us)?;
        let meaning = self.begin_anew(Cause::Changed, now);
        // The first request by number of a device that knows nothing is bound to be answered so.
        Ok(if known.is_some() { meaning } else { Meaning::Nothing })
    }

    /// Another device was told what the reference means: that saves a request.
    fn overheard(&mut self, now_means: Option<Descriptor>, now: Instant) -> Result<Meaning, FetchError> {
        let knew = self.assembly().is_some();
        if let Some(whole) = now_means.and_then(whole)
            && self.subject.announced(&self.wish, whole, Audience::Everyone)?
            && !knew
            && self.wish.listen == Listen::OwnTopic
        {
            self.batch = None;
            self.patience.ask_soon(now);
        }
        Ok(Meaning::Nothing)
    }

    /// What was gathered is not what its digest says.
    ///
    /// # Errors
    /// Where that has happened [`MAX_MISMATCHES`](super::MAX_MISMATCHES) times.
    pub fn mismatch(&mut self, now: Instant) -> Result<Cause, FetchError> {
        self.subject.mismatch(&self.wish)?;
        self.begin_anew(Cause::DigestMismatch, now);
        Ok(Cause::DigestMismatch)
    }

    /// What is to be done now.
    ///
    /// # Errors
    /// Where the reference has meant too many modules.
    pub fn next(&mut self, now: Instant) -> Result<Next, FetchError> {
        let give_up_at = self.patience.give_up_at();
        if now >= give_up_at {
            return Ok(Next::GiveUp(self.stall()));
        }
        match self.patience.ask_at().filter(|_| !self.asking && self.format.is_some()) {
            None => return Ok(Next::Wait(give_up_at)),
            Some(ask_at) if now < ask_at => return Ok(Next::Wait(ask_at.min(give_up_at))),
            Some(_) => (),
        }
        if let Some(rival) = self.subject.rival() {
            self.subject.changed(&self.wish, Some(rival), Audience::Everyone)?;
            (self.batch, self.passing) = (None, false);
            return Ok(Next::BeginAnew(Cause::Overtaken));
        }
        self.passing = false;
        self.asking = true;
        self.patience.asking();
        Ok(Next::Ask(self.request()))
    }

    /// The broker has taken the request.
    pub fn asked(&mut self, now: Instant) {
        self.asking = false;
        self.patience.asked(now);
        self.ask_about_doubts(now);
    }

    /// The request for what is missing now; it is remembered as the batch under way.
    fn request(&mut self) -> Request {
        // What was not sent is not lost.
        if let (Some(batch), Some(assembly), None) = (&self.batch, self.subject.assembly(), &self.refusal) {
            let came = batch.iter().map(|index| u32::from(assembly.contains(index))).sum();
            self.window.came_short(came);
        }
        let missing = self.subject.missing(&self.wish, self.window.size());
        self.batch = missing.as_ref().map(|missing| missing.chunks.clone());
        let full = Full { device: Some(self.wish.device.clone()), format: self.format, missing };
        Request { app_name: self.wish.reference.as_str().to_owned(), full: Some(full) }
    }

    /// Whether this is about the reference that is wanted.
    fn is_ours(&self, app_name: &str) -> bool {
        app_name == self.wish.reference.as_str()
    }

    /// Asks for the next chunks, where those that were asked for are here and nobody sends the rest anyway.
    fn close_batch(&mut self, now: Instant) {
        let (Some(batch), Some(assembly)) = (&self.batch, self.subject.assembly()) else { return };
        if batch.iter().all(|index| assembly.contains(index)) {
            self.batch = None;
            self.window.came_whole();
            if !self.passing {
                self.patience.ask_now(now);
            }
        }
    }

    /// Somebody says what would be the end: before it is believed, the other end is asked.
    fn ask_about_doubts(&mut self, now: Instant) {
        if self.subject.has_doubts() && self.batch.is_none() && !self.asking {
            self.patience.ask_soon(now);
        }
    }

    fn begin_anew(&mut self, cause: Cause, now: Instant) -> Meaning {
        (self.batch, self.passing) = (None, false);
        self.patience.ask_soon(now);
        Meaning::BeginAnew(cause)
    }

    fn stall(&self) -> Stall {
        match (self.subject.other(), &self.refusal, self.assembly()) {
            (Some(digest), _, _) => Stall::OtherModule(digest),
            (None, Some(notice), _) => Stall::Refused(notice.clone()),
            (None, None, Some(assembly)) => {
                Stall::Incomplete { chunks: assembly.chunks(), total: assembly.whole().layout.total() }
            }
            (None, None, None) => Stall::Unanswered,
        }
    }
}

fn whole(descriptor: Descriptor) -> Option<Whole> {
    descriptor.layout().map(|layout| Whole { digest: descriptor.digest, layout })
}

#[cfg(test)]
mod tests;
