//! What a device makes of what it hears, and what it does next. No I/O: time, chunks and notices come in as arguments.
//!
//! The rules:
//! - ask for the whole module; after that, for what is missing by number: after `complete`, or after a silence;
//! - what is asked for by number comes back on the device's own topic; when all of it is here, the next is asked for,
//!   unless a pass to everyone is under way, which brings the rest anyway;
//! - chunks of two modules are never mixed. Another one under the same reference is begun when the other end says
//!   `changed`, or when the first has fallen silent while the other has not.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    assembly::{Assembly, Whole},
    error::{FetchError, Stall},
    event::Cause,
    patience::Patience,
    reference::Reference,
};
use crate::{
    digest::Digest,
    protocol::{
        Chunk, ChunkRanges, Complete, DeviceName, ErrorCode, ErrorNotice, Layout, Missing, Request,
        request::{Full, Wanted},
    },
};

/// How often a module may turn out to be another than its digest says.
pub const MAX_MISMATCHES: u32 = 3;

/// How often a reference may turn out to mean another module.
pub const MAX_CHANGES: u32 = 8;

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
    /// How long to go on without progress.
    pub timeout: Duration,
}

/// Whom a chunk was sent to.
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
    assembly: Option<Assembly>,
    /// Another module under the same reference, heard since the last chunk of ours.
    rival: Option<Whole>,
    /// What was asked for by number and is not all here.
    batch: Option<ChunkRanges>,
    /// A pass to everyone seems to be under way.
    passing: bool,
    /// A request is on its way to the broker.
    asking: bool,
    /// What to ask for on the last connection; none before there was one.
    format: Option<Wanted>,
    /// Why we wait, where the other end has said so.
    refusal: Option<ErrorNotice>,
    mismatches: u32,
    changes: u32,
}

impl Gathering {
    /// Begins with nothing.
    pub fn new(wish: Wish, random: fastrand::Rng, now: Instant) -> Self {
        Self {
            patience: Patience::new(wish.timeout, random, now),
            wish,
            assembly: None,
            rival: None,
            batch: None,
            passing: false,
            asking: false,
            format: None,
            refusal: None,
            mismatches: 0,
            changes: 0,
        }
    }

    /// What is here so far.
    pub fn assembly(&self) -> Option<&Assembly> {
        self.assembly.as_ref()
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
        }
        self.format = Some(if binary { self.wish.format } else { Wanted::Json });
    }

    /// Takes note of a chunk. True where it is to be written: into [`Self::assembly`], which is another one then if it
    /// is the first.
    ///
    /// # Errors
    /// Where the module is too large.
    pub fn chunk(&mut self, chunk: &Chunk, to: Audience, now: Instant) -> Result<bool, FetchError> {
        let Some((digest, layout)) = chunk.whole.filter(|(digest, _)| self.is_ours(&chunk.app_name, *digest)) else {
            return Ok(false);
        };
        let Some(assembly) = self.turn_to(Whole { digest, layout })? else { return Ok(false) };
        let missing = assembly.insert(chunk.index);
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
    /// Where the module is too large.
    pub fn complete(&mut self, notice: &Complete, now: Instant) -> Result<(), FetchError> {
        let layout = Layout::new(notice.size, notice.chunk_size).ok();
        let layout = layout.filter(|layout| layout.total() == notice.total_chunks);
        let Some(layout) = layout.filter(|_| self.is_ours(&notice.app_name, notice.digest)) else { return Ok(()) };
        if self.turn_to(Whole { digest: notice.digest, layout })?.is_some() {
            self.passing = false;
            if self.batch.is_none() {
                self.patience.ask_soon(now);
            }
        }
        Ok(())
    }

    /// Takes note of what went wrong at the other end.
    ///
    /// # Errors
    /// Where asking again does not help.
    pub fn error(&mut self, notice: ErrorNotice, now: Instant) -> Result<Meaning, FetchError> {
        // Ours name us, and are not bad: one that names nobody answers somebody else.
        let names_us = notice.device.as_ref().is_none_or(|device| *device == self.wish.device);
        let bad = notice.code == ErrorCode::BadRequest && notice.device.is_none();
        if notice.app_name != self.wish.reference.as_str() || !names_us || bad {
            return Ok(Meaning::Nothing);
        }
        match notice.code {
            // Only requests by number are answered so.
            ErrorCode::Changed if self.batch.is_none() => Ok(Meaning::Nothing),
            ErrorCode::Changed => {
                self.begin_anew(None)?;
                self.patience.ask_soon(now);
                Ok(Meaning::BeginAnew(Cause::Changed))
            }
            _ if notice.retryable => {
                self.refusal = Some(notice);
                Ok(Meaning::AskLater(self.patience.refused(now)))
            }
            _ => Err(FetchError::Refused(notice)),
        }
    }

    /// What was gathered is not what its digest says.
    ///
    /// # Errors
    /// Where that has happened [`MAX_MISMATCHES`] times.
    pub fn mismatch(&mut self, now: Instant) -> Result<Cause, FetchError> {
        self.mismatches += 1;
        if self.mismatches >= MAX_MISMATCHES {
            return Err(FetchError::DigestMismatch(self.mismatches));
        }
        self.forget();
        self.patience.ask_soon(now);
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
        if let Some(rival) = self.rival {
            self.begin_anew(Some(rival))?;
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
    }

    /// The request for what is missing now; it is remembered as the batch under way.
    fn request(&mut self) -> Request {
        let device = self.wish.device.clone();
        let missing = self.assembly.as_ref().and_then(|assembly| {
            let whole = assembly.whole();
            ChunkRanges::first_of(assembly.missing()).map(|chunks| Missing {
                device: device.clone(),
                digest: whole.digest,
                chunk_size: whole.layout.chunk_size(),
                chunks,
            })
        });
        self.batch = missing.as_ref().map(|missing| missing.chunks.clone());
        let full = Full { device: Some(device), format: self.format, missing };
        Request { app_name: self.wish.reference.as_str().to_owned(), full: Some(full) }
    }

    /// Whether this is about the module that is wanted.
    fn is_ours(&self, app_name: &str, digest: Digest) -> bool {
        app_name == self.wish.reference.as_str() && self.wish.digest.is_none_or(|wanted| wanted == digest)
    }

    /// The assembly of `whole`, begun where there is none; `None` while another is gathered.
    fn turn_to(&mut self, whole: Whole) -> Result<Option<&mut Assembly>, FetchError> {
        if self.assembly.is_none() {
            let (size, max_size) = (whole.layout.size(), self.wish.max_size);
            if size > max_size {
                return Err(FetchError::TooLarge { size, max_size });
            }
            self.assembly = Some(Assembly::new(whole)?);
        }
        self.rival = self.assembly.as_ref().is_some_and(|assembly| assembly.whole() != whole).then_some(whole);
        Ok(self.assembly.as_mut().filter(|_| self.rival.is_none()))
    }

    /// Asks for the next chunks, where those that were asked for are here and nobody sends the rest anyway.
    fn close_batch(&mut self, now: Instant) {
        let (Some(batch), Some(assembly)) = (&self.batch, &self.assembly) else { return };
        if batch.iter().all(|index| assembly.contains(index)) {
            self.batch = None;
            if !self.passing {
                self.patience.ask_now(now);
            }
        }
    }

    fn begin_anew(&mut self, with: Option<Whole>) -> Result<(), FetchError> {
        self.changes += 1;
        if self.changes > MAX_CHANGES {
            return Err(FetchError::Unsettled(MAX_CHANGES));
        }
        self.forget();
        if let Some(whole) = with {
            self.turn_to(whole)?;
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.assembly = None;
        self.rival = None;
        self.batch = None;
        self.passing = false;
    }

    fn stall(&self) -> Stall {
        match (&self.refusal, &self.assembly) {
            (Some(notice), _) => Stall::Refused(notice.clone()),
            (None, Some(assembly)) => {
                Stall::Incomplete { chunks: assembly.chunks(), total: assembly.whole().layout.total() }
            }
            (None, None) => Stall::Unanswered,
        }
    }
}

#[cfg(test)]
mod tests;
