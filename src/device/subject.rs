//! Which module is gathered, of all that are spoken of under one reference.
//!
//! Anybody who may publish on the channel may speak of it, so a device believes the channel only so far:
//!
//! - what would *end* a fetch (a module that is too large) is doubted until it is said to this device alone;
//! - once the channel has said what is not true, the device no more listens to it, and asks for everything by number:
//!   the topic that the answers come on is the worker's to write, where the broker has an access list.
//!
//! What a device cannot know without a digest of its own is whether the first module that it hears of is the right one.

use super::{
    assembly::{Assembly, Whole},
    error::FetchError,
    gathering::{Audience, Wish},
    options::Listen,
};
use crate::{
    digest::Digest,
    protocol::{ChunkRanges, ChunkSize, Missing},
};

/// How often a module may turn out to be another than its digest says.
pub const MAX_MISMATCHES: u32 = 3;

/// How often a reference may turn out to mean another module.
pub const MAX_CHANGES: u32 = 8;

/// A tag that moves as often while a module is gathered is more likely somebody's play.
const DISTRUST: u32 = 3;

/// The module that is gathered.
#[derive(Debug)]
pub struct Subject {
    assembly: Option<Assembly>,
    /// The other end has told us alone that the reference means this.
    confirmed: bool,
    /// Another module under the same reference, heard of since the last chunk of ours.
    rival: Option<Whole>,
    /// What the channel said and what would end the fetch, if it were true.
    doubted: Option<Whole>,
    /// What the reference means instead of the only module that is accepted.
    other: Option<Digest>,
    /// Whether what is said to everyone counts.
    listens: bool,
    /// The other end does not say what a reference means by now: a whole pass is the way to learn it.
    taciturn: bool,
    mismatches: u32,
    changes: u32,
}

impl Subject {
    /// Nothing is known yet.
    pub fn new(listen: Listen) -> Self {
        Self {
            assembly: None,
            confirmed: false,
            rival: None,
            doubted: None,
            other: None,
            listens: listen == Listen::Everything,
            taciturn: false,
            mismatches: 0,
            changes: 0,
        }
    }

    /// What is here so far.
    pub fn assembly(&self) -> Option<&Assembly> {
        self.assembly.as_ref()
    }

    /// Another module that seems to have taken the place of ours.
    pub fn rival(&self) -> Option<Whole> {
        self.rival
    }

    /// What the reference means instead of the only module that is accepted.
    pub fn other(&self) -> Option<Digest> {
        self.other
    }

    /// Whether the other end has told us alone what is gathered now.
    pub fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// Whether something was said that has to be asked about.
    pub fn has_doubts(&self) -> bool {
        self.doubted.is_some()
    }

    /// A chunk of `whole` has come. True where it was missing, and counts from now on; `None` where it is not for us.
    ///
    /// # Errors
    /// Where the module cannot be accepted.
    pub fn chunk(&mut self, wish: &Wish, whole: Whole, index: u32, to: Audience) -> Result<Option<bool>, FetchError> {
        if to == Audience::Everyone && !self.listens || !self.turn_to(wish, whole, to)? {
            return Ok(None);
        }
        let missing = self.assembly.as_mut().is_some_and(|assembly| assembly.insert(index));
        if missing {
            self.other = None;
        }
        Ok(Some(missing))
    }

    /// Somebody says what the reference means. True where that is what is gathered.
    ///
    /// # Errors
    /// Where the module cannot be accepted, and it was said to us.
    pub fn announced(&mut self, wish: &Wish, whole: Whole, to: Audience) -> Result<bool, FetchError> {
        let known = self.assembly.as_ref().map(Assembly::whole);
        if to == Audience::Everyone && !self.listens && known.is_some_and(|known| known != whole) {
            return Ok(false);
        }
        self.turn_to(wish, whole, to)
    }

    /// Whether this is not the only module that is accepted. It is remembered, for those who ask why nothing came.
    pub fn is_other(&mut self, wish: &Wish, digest: Digest) -> bool {
        let other = wish.digest.is_some_and(|wanted| wanted != digest);
        if other {
            self.other = Some(digest);
        }
        other
    }

    /// Turns to `whole` where there is nothing yet, and says whether that is what is gathered.
    fn turn_to(&mut self, wish: &Wish, whole: Whole, to: Audience) -> Result<bool, FetchError> {
        if self.is_other(wish, whole.digest) {
            return Ok(false);
        }
        let known = self.assembly.as_ref().map(Assembly::whole);
        if known == Some(whole) {
            self.rival = None;
            self.confirmed |= to == Audience::Us;
            return Ok(true);
        }
        match accept(wish, whole) {
            // The same module: how it is cut we were told alone, and what we had heard of that was false.
            Ok(assembly)
                if to == Audience::Us && !self.confirmed && known.is_some_and(|known| known.digest == whole.digest) =>
            {
                self.disbelieve()?;
                self.begin(assembly);
                self.confirmed = true;
                return Ok(true);
            }
            Ok(_) if known.is_some() => self.rival = Some(whole),
            Ok(assembly) => {
                self.begin(assembly);
                self.confirmed = to == Audience::Us;
                return Ok(true);
            }
            Err(error) if to == Audience::Us => return Err(error),
            Err(_) if known.is_none() => self.doubted = Some(whole),
            Err(_) => (),
        }
        Ok(false)
    }

    /// What was gathered is void; `with` is what the reference means by now, where that is known.
    ///
    /// # Errors
    /// Where that has happened [`MAX_CHANGES`] times, or `with` cannot be accepted.
    pub fn changed(&mut self, wish: &Wish, with: Option<Whole>, said_to: Audience) -> Result<(), FetchError> {
        if self.assembly.is_some() {
            self.changes += 1;
        }
        if self.changes > MAX_CHANGES {
            return Err(FetchError::Unsettled(MAX_CHANGES));
        }
        self.listens &= self.changes < DISTRUST;
        self.taciturn |= with.is_none();
        self.forget();
        if let Some(whole) = with {
            self.turn_to(wish, whole, said_to)?;
        }
        Ok(())
    }

    /// What was gathered cannot be what the channel said it is.
    ///
    /// # Errors
    /// Where a reference has meant too many modules.
    pub fn disbelieve(&mut self) -> Result<(), FetchError> {
        self.changes += 1;
        if self.changes > MAX_CHANGES {
            return Err(FetchError::Unsettled(MAX_CHANGES));
        }
        self.listens = false;
        self.forget();
        Ok(())
    }

    /// What was gathered is not what its digest says: it is gathered once more, by number alone.
    ///
    /// # Errors
    /// Where that has happened [`MAX_MISMATCHES`] times.
    pub fn mismatch(&mut self, wish: &Wish) -> Result<(), FetchError> {
        self.mismatches += 1;
        if self.mismatches >= MAX_MISMATCHES {
            return Err(FetchError::DigestMismatch(self.mismatches));
        }
        self.listens = false;
        let whole = self.assembly.as_ref().map(Assembly::whole);
        self.forget();
        if let Some(whole) = whole {
            self.begin(accept(wish, whole)?);
        }
        Ok(())
    }

    /// What to ask for by number, at most `most` chunks; `None` where the whole module is to be asked for.
    pub fn missing(&self, wish: &Wish, most: usize) -> Option<Missing> {
        let (digest, chunk_size, chunks) = match (&self.assembly, self.doubted) {
            (Some(assembly), _) => {
                let Whole { digest, layout } = assembly.whole();
                (digest, layout.chunk_size(), ChunkRanges::first_of(assembly.missing().take(most)))
            }
            // Either answer says what the reference means: its first chunk, or `changed`.
            (None, Some(Whole { digest, layout })) => (digest, layout.chunk_size(), ChunkRanges::first_of([0])),
            (None, None) if !self.listens && !self.taciturn => {
                let digest = wish.digest.unwrap_or(Digest::UNKNOWN);
                (digest, ChunkSize::DEFAULT.get(), ChunkRanges::first_of([0]))
            }
            (None, None) => return None,
        };
        Some(Missing { device: wish.device.clone(), digest, chunk_size, chunks: chunks? })
    }

    fn begin(&mut self, assembly: Assembly) {
        self.forget();
        self.assembly = Some(assembly);
    }

    fn forget(&mut self) {
        self.assembly = None;
        self.confirmed = false;
        self.rival = None;
        self.doubted = None;
    }
}

fn accept(wish: &Wish, whole: Whole) -> Result<Assembly, FetchError> {
    let (size, max_size) = (whole.layout.size(), wish.max_size);
    if size > max_size {
        return Err(FetchError::TooLarge { size, max_size });
    }
    Ok(Assembly::new(whole)?)
}
