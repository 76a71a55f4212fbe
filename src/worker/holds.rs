//! Names of which old devices may still keep parts.
//!
//! A device that speaks the plain dialect puts chunks together by `app_name` alone, and keeps what is incomplete for
//! [`HOLD`]. Chunks of another module under the same name would be mixed with these parts, and nobody would notice. So
//! after a plain pass that may have left parts behind, the name is held for the module that it stood for.

mod journal;

use std::{collections::HashMap, path::Path, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use self::journal::Journal;
use crate::{digest::Digest, protocol::ChunkHead};

/// How long an old device keeps an incomplete module, at most: 300 s, and the minute until its next sweep.
pub(super) const HOLD: Duration = Duration::from_secs(360);

/// What old devices put together: a module, cut into chunks of that size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Cut {
    digest: Digest,
    chunk_size: u32,
}

/// The names that are held, and what for.
#[derive(Debug, Default)]
pub(super) struct Holds {
    by_name: HashMap<String, Hold>,
    journal: Option<Journal>,
}

#[derive(Debug)]
struct Hold {
    /// What may be said under the name all the same; none where what was said was corrupt.
    cut: Option<Cut>,
    /// None while a pass is under way.
    until: Option<Instant>,
    /// There may have been parts before that pass.
    over_parts: bool,
}

/// How a plain pass has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Every chunk was sent once, in order: who heard them all has the module, and nothing else.
    Clean,
    /// It was broken off, or went round: somebody may have a part.
    Ragged,
    /// What was sent turned out not to be what its digest says: somebody may have a part that must never be completed.
    Corrupt,
}

impl Cut {
    fn of(head: &ChunkHead) -> Self {
        Self { digest: head.digest, chunk_size: head.layout.chunk_size() }
    }
}

impl Hold {
    fn is_over(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
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
        let hold = self.by_name.get(&head.app_name).filter(|hold| hold.cut != Some(Cut::of(head)))?;
        hold.until.filter(|until| *until > now)
    }

    /// A plain pass of `head` is about to send its first chunk. Should it never be heard of again, it has left parts.
    pub(super) fn begin(&mut self, head: &ChunkHead, now: Instant) {
        // There are no parts of what is a single chunk.
        if head.layout.total() > 1 {
            let over_parts = self.by_name.get(&head.app_name).is_some_and(|hold| !hold.is_over(now));
            let hold = Hold { cut: Some(Cut::of(head)), until: None, over_parts };
            self.by_name.insert(head.app_name.clone(), hold);
            self.write();
        }
    }

    /// The plain pass of `app_name` that began last has just sent its last chunk.
    ///
    /// A clean pass completes the parts of those who had some, and what it sends them after that begins new ones: so it
    /// leaves parts behind wherever there were any before it.
    pub(super) fn end(&mut self, app_name: &str, end: End, now: Instant) {
        self.by_name.retain(|_, hold| !hold.is_over(now));
        let Some(hold) = self.by_name.get_mut(app_name) else { return };
        if end == End::Corrupt {
            hold.cut = None;
        }
        if end != End::Clean || hold.over_parts {
            hold.until = Some(now + HOLD);
        } else {
            self.by_name.remove(app_name);
        }
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
    use crate::protocol::Layout;

    fn head(module: &[u8], chunk_size: u32) -> ChunkHead {
        let layout = Layout::new(module.len() as u64, chunk_size).unwrap();
        ChunkHead { app_name: "add".to_owned(), digest: Digest::of(module), layout }
    }

    /// A pass of `head` from now to now.
    fn pass(holds: &mut Holds, head: &ChunkHead, end: End) {
        holds.begin(head, Instant::now());
        holds.end(&head.app_name, end, Instant::now());
    }

    fn held(holds: &Holds, module: &[u8], chunk_size: u32) -> Option<Duration> {
        holds.held(&head(module, chunk_size), Instant::now()).map(|until| until - Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_ragged_pass_another_module_waits_for_six_minutes() {
        let mut holds = Holds::default();
        pass(&mut holds, &head(b"one", 1), End::Ragged);
        assert_eq!(held(&holds, b"two", 1), Some(HOLD));
        assert_eq!(held(&holds, b"one", 2), Some(HOLD), "another cut of the same");
        assert_eq!(held(&holds, b"one", 1), None, "the same again");
        tokio::time::advance(HOLD).await;
        assert_eq!(held(&holds, b"two", 1), None);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_clean_pass_nobody_waits() {
        let mut holds = Holds::default();
        pass(&mut holds, &head(b"one", 1), End::Clean);
        assert_eq!(held(&holds, b"two", 1), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clean_pass_over_parts_leaves_parts() {
        let mut holds = Holds::default();
        pass(&mut holds, &head(b"one", 1), End::Ragged);
        tokio::time::advance(HOLD / 2).await;
        pass(&mut holds, &head(b"one", 1), End::Clean);
        assert_eq!(held(&holds, b"two", 1), Some(HOLD));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_corrupt_pass_even_the_same_module_waits() {
        let mut holds = Holds::default();
        pass(&mut holds, &head(b"one", 1), End::Corrupt);
        assert_eq!(held(&holds, b"one", 1), Some(HOLD));
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_no_parts_of_a_single_chunk() {
        let mut holds = Holds::default();
        pass(&mut holds, &head(b"one", 3), End::Ragged);
        assert_eq!(held(&holds, b"two", 3), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_over_is_forgotten() {
        let mut holds = Holds::default();
        pass(&mut holds, &head(b"one", 1), End::Ragged);
        tokio::time::advance(HOLD).await;
        pass(&mut holds, &head(b"one", 1), End::Clean);
        assert!(holds.by_name.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_starts_again_knows_what_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("holds.json");
        let mut holds = Holds::kept_in(&file);
        // Killed in the middle of this one.
        holds.begin(&head(b"one", 1), Instant::now());
        assert_eq!(held(&Holds::kept_in(&file), b"two", 1), Some(HOLD));
        holds.end("add", End::Ragged, Instant::now());
        let left = held(&Holds::kept_in(&file), b"two", 1).unwrap();
        assert!(left > HOLD / 2 && left <= HOLD, "{left:?}");
        pass(&mut Holds::kept_in(&file), &head(b"one", 1), End::Clean);
        assert!(held(&Holds::kept_in(&file), b"two", 1).is_some(), "a clean pass over parts");
        pass(&mut Holds::kept_in(&file), &head(b"one", 1), End::Corrupt);
        assert!(held(&Holds::kept_in(&file), b"one", 1).is_some());
        std::fs::write(&file, "no journal").unwrap();
        assert_eq!(held(&Holds::kept_in(&file), b"two", 1), None);
    }
}
