//! Names of which old devices may still keep parts.
//!
//! A device that speaks the plain dialect puts chunks together by `app_name` alone, and keeps what is incomplete for up
//! to [`HOLD`]. Chunks of another module under the same name would be mixed with these parts, and nobody would notice. So
//! after a plain pass the name is held for the module that it stood for. However smoothly the pass went, somebody may
//! have been switched on in the middle of it, or have lost a chunk.
//!
//! Chunks leave before the whole is verified, all but the last. What was said before that must be the same again in the
//! next pass, or it was corrupt: then nothing is said under the name until the parts are gone.

mod journal;
mod log;

use std::{collections::HashMap, path::Path, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use self::journal::Journal;
pub(super) use self::log::ChunkLog;
use crate::{digest::Digest, protocol::ChunkHead};

/// How long an old device keeps an incomplete module, at most: 300 s, and the minute until its next sweep.
pub(super) const HOLD: Duration = Duration::from_secs(360);

/// The first chunks of a module, as they were said before it was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begun {
    /// How many.
    pub(super) chunks: u32,
    /// The digest of their fingerprints.
    pub(super) digest: Digest,
}

/// What a plain pass has left behind at old devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parts {
    /// It has said nothing.
    None,
    /// Parts of the module; of what was not verified yet there may be a word.
    Sound(Option<Begun>),
    /// Parts of something that is not what its digest says.
    Corrupt,
}

/// How a plain pass begins.
#[derive(Debug, Default)]
pub(super) struct Beginning {
    /// What its first chunks have to be, where some were said before and could not be verified.
    pub(super) begun: Option<Begun>,
    /// Where to note what is said before it is verified.
    pub(super) log: Option<ChunkLog>,
}

/// The names that are held, and what for.
#[derive(Debug, Default)]
pub(super) struct Holds {
    by_name: HashMap<String, Hold>,
    journal: Option<Journal>,
}

#[derive(Debug, Clone)]
struct Hold {
    /// What may be said under the name all the same; none where what was said was corrupt.
    allowed: Option<Allowed>,
    until: Until,
}

#[derive(Debug, Clone)]
enum Until {
    /// A pass is under way; what held before it.
    UnderWay(Option<Box<Hold>>),
    Over(Instant),
}

/// What old devices put together: a module, cut into chunks of that size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Allowed {
    digest: Digest,
    chunk_size: u32,
    begun: Option<Begun>,
}

impl Allowed {
    fn is(&self, head: &ChunkHead) -> bool {
        (self.digest, self.chunk_size) == (head.digest, head.layout.chunk_size())
    }
}

impl Hold {
    fn is_over(&self, now: Instant) -> bool {
        matches!(self.until, Until::Over(until) if until <= now)
    }
}

impl Holds {
    /// What an earlier worker has noted in `file`, and a place to note more.
    pub(super) fn kept_in(file: &Path) -> Self {
        let (journal, by_name) = Journal::open(file);
        Self { by_name, journal: Some(journal) }
    }

    /// Until when chunks of `head` must not be said in plain; `None` where they may be.
    pub(super) fn held(&self, head: &ChunkHead, now: Instant) -> Option<Instant> {
        let hold = self.by_name.get(&head.app_name)?;
        match hold.until {
            Until::Over(until) if until > now && !hold.allowed.is_some_and(|allowed| allowed.is(head)) => Some(until),
            _ => None,
        }
    }

    /// A plain pass of `head` is about to begin. Should it never be heard of again, it has left parts.
    pub(super) fn begin(&mut self, head: &ChunkHead, now: Instant) -> Beginning {
        // There are no parts of what is a single chunk.
        if head.layout.total() == 1 {
            return Beginning::default();
        }
        let before = self.by_name.remove(&head.app_name).filter(|hold| !hold.is_over(now));
        let begun = before.as_ref().and_then(|hold| hold.allowed.filter(|allowed| allowed.is(head))?.begun);
        let allowed = Allowed { digest: head.digest, chunk_size: head.layout.chunk_size(), begun };
        let hold = Hold { allowed: Some(allowed), until: Until::UnderWay(before.map(Box::new)) };
        self.by_name.insert(head.app_name.clone(), hold);
        self.write();
        let log = self.journal.as_ref().and_then(|journal| journal.log(&head.app_name));
        Beginning { begun, log }
    }

    /// The plain pass of `app_name` that began last has said its last.
    pub(super) fn end(&mut self, app_name: &str, parts: Parts, now: Instant) {
        self.by_name.retain(|_, hold| !hold.is_over(now));
        let Some(Hold { allowed, until: Until::UnderWay(before) }) = self.by_name.get(app_name).cloned() else {
            return;
        };
        if let Some(journal) = &self.journal {
            journal.end_log(app_name);
        }
        let allowed = match parts {
            Parts::None => {
                match before.filter(|before| !before.is_over(now)) {
                    Some(before) => drop(self.by_name.insert(app_name.to_owned(), *before)),
                    None => drop(self.by_name.remove(app_name)),
                }
                return self.write();
            }
            Parts::Sound(begun) => allowed.map(|allowed| Allowed { begun, ..allowed }),
            Parts::Corrupt => None,
        };
        self.by_name.insert(app_name.to_owned(), Hold { allowed, until: Until::Over(now + HOLD) });
        self.write();
    }

    fn write(&self) {
        if let Some(journal) = &self.journal {
            journal.write(&self.by_name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{digest::Hasher, protocol::Layout, worker::fingerprint::Fingerprint};

    fn head(module: &[u8], chunk_size: u32) -> ChunkHead {
        let layout = Layout::new(module.len() as u64, chunk_size).unwrap();
        ChunkHead { app_name: "add".to_owned(), digest: Digest::of(module), layout }
    }

    /// A pass of `head` from now to now; returns what was expected of its first chunks.
    fn pass(holds: &mut Holds, head: &ChunkHead, parts: Parts) -> Option<Begun> {
        let expected = holds.begin(head, Instant::now()).begun;
        holds.end(&head.app_name, parts, Instant::now());
        expected
    }

    fn held(holds: &Holds, module: &[u8], chunk_size: u32) -> Option<Duration> {
        holds.held(&head(module, chunk_size), Instant::now()).map(|until| until - Instant::now())
    }

    const SOUND: Parts = Parts::Sound(None);

    #[tokio::test(start_paused = true)]
    async fn after_a_pass_another_module_waits_for_six_minutes() {
        let mut holds = Holds::default();
        pass(&mut holds, &head(b"one", 1), SOUND);
        assert_eq!(held(&holds, b"two", 1), Some(HOLD));
        assert_eq!(held(&holds, b"one", 2), Some(HOLD), "another cut of the same");
        assert_eq!(held(&holds, b"one", 1), None, "the same again");
        tokio::time::advance(HOLD).await;
        assert_eq!(held(&holds, b"two", 1), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pass_that_said_nothing_changes_nothing() {
        let mut holds = Holds::default();
        pass(&mut holds, &head(b"one", 1), Parts::None);
        assert!(holds.by_name.is_empty());
        pass(&mut holds, &head(b"one", 1), SOUND);
        tokio::time::advance(HOLD / 2).await;
        pass(&mut holds, &head(b"one", 1), Parts::None);
        assert_eq!(held(&holds, b"two", 1), Some(HOLD / 2));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_corrupt_pass_even_the_same_module_waits() {
        let mut holds = Holds::default();
        pass(&mut holds, &head(b"one", 1), Parts::Corrupt);
        assert_eq!(held(&holds, b"one", 1), Some(HOLD));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_said_before_it_was_verified_has_to_be_the_same_in_the_next_pass() {
        let mut holds = Holds::default();
        let begun = Begun { chunks: 2, digest: Digest::of(b"") };
        assert_eq!(pass(&mut holds, &head(b"one", 1), Parts::Sound(Some(begun))), None);
        assert_eq!(pass(&mut holds, &head(b"one", 1), Parts::None), Some(begun));
        assert_eq!(pass(&mut holds, &head(b"one", 1), SOUND), Some(begun));
        assert_eq!(pass(&mut holds, &head(b"one", 1), SOUND), None, "it has been verified");
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_no_parts_of_a_single_chunk() {
        let mut holds = Holds::default();
        pass(&mut holds, &head(b"one", 3), SOUND);
        assert_eq!(held(&holds, b"two", 3), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_over_is_forgotten() {
        let mut holds = Holds::default();
        pass(&mut holds, &head(b"one", 1), SOUND);
        tokio::time::advance(HOLD).await;
        pass(&mut holds, &head(b"one", 1), Parts::None);
        assert!(holds.by_name.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_starts_again_knows_what_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("holds.json");
        let begun = Begun { chunks: 2, digest: Digest::of(b"") };
        let mut holds = Holds::kept_in(&file);
        // Killed in the middle of this one.
        let beginning = holds.begin(&head(b"one", 1), Instant::now());
        assert_eq!(held(&Holds::kept_in(&file), b"two", 1), Some(HOLD));
        assert_eq!(held(&Holds::kept_in(&file), b"one", 1), None);
        let mut hasher = Hasher::new();
        for (chunks, fingerprint) in (1..).zip([b"o", b"n"].map(|chunk| Fingerprint::of([&chunk[..]]))) {
            beginning.log.as_ref().unwrap().note(&fingerprint);
            hasher.update(fingerprint.as_bytes());
            let said = Some(Begun { chunks, digest: hasher.clone().finish() });
            assert_eq!(Holds::kept_in(&file).by_name["add"].allowed.unwrap().begun, said, "said before it was killed");
        }
        holds.end("add", Parts::Sound(Some(begun)), Instant::now());
        let left = held(&Holds::kept_in(&file), b"two", 1).unwrap();
        assert!(left > HOLD / 2 && left <= HOLD, "{left:?}");
        assert_eq!(pass(&mut Holds::kept_in(&file), &head(b"one", 1), Parts::Corrupt), Some(begun));
        assert!(held(&Holds::kept_in(&file), b"one", 1).is_some());
        std::fs::write(&file, "no journal").unwrap();
        assert_eq!(held(&Holds::kept_in(&file), b"two", 1), None);
    }
}
