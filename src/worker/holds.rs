//! Names of which old devices may still keep parts.
//!
//! A device that speaks the plain dialect puts chunks together by `app_name` alone, and keeps what is incomplete for
//! [`HOLD`]. Chunks of another module under the same name would be mixed with these parts, and nobody would notice. So
//! after a plain pass that may have left parts behind, the name is held for the module that it stood for.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use crate::{digest::Digest, protocol::ChunkHead};

/// How long an old device keeps an incomplete module, at most: 300 s, and the minute until its next sweep.
pub(super) const HOLD: Duration = Duration::from_secs(360);

/// What old devices put together: a module, cut into chunks of that size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    digest: Digest,
    chunk_size: u32,
}

/// The names that are held, and what for.
#[derive(Debug, Default)]
pub(super) struct Holds(HashMap<String, Hold>);

#[derive(Debug)]
struct Hold {
    cut: Cut,
    until: Instant,
}

/// How a plain pass has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Every chunk was sent once, in order: who heard them all has the module, and nothing else.
    Clean,
    /// It was broken off, or went round: somebody may have a part.
    Ragged,
}

impl Cut {
    fn of(head: &ChunkHead) -> Self {
        Self { digest: head.digest, chunk_size: head.layout.chunk_size() }
    }
}

impl Holds {
    /// Until when chunks of `head` must not be said in plain; `None` where they may be.
    pub(super) fn held(&self, head: &ChunkHead, now: Instant) -> Option<Instant> {
        let hold = self.0.get(&head.app_name).filter(|hold| hold.until > now)?;
        (hold.cut != Cut::of(head)).then_some(hold.until)
    }

    /// A plain pass of `head` has just sent its last chunk.
    ///
    /// A clean pass completes the parts of those who had some, and what it sends them after that begins new ones: so it
    /// leaves parts behind wherever there were any before it.
    pub(super) fn note(&mut self, head: &ChunkHead, end: End, now: Instant) {
        self.0.retain(|_, hold| hold.until > now);
        // There are no parts of what is a single chunk.
        if head.layout.total() > 1 && (end == End::Ragged || self.0.contains_key(&head.app_name)) {
            self.0.insert(head.app_name.clone(), Hold { cut: Cut::of(head), until: now + HOLD });
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

    #[tokio::test(start_paused = true)]
    async fn after_a_ragged_pass_another_module_waits_for_six_minutes() {
        let mut holds = Holds::default();
        let end = Instant::now();
        holds.note(&head(b"one", 1), End::Ragged, end);
        assert_eq!(holds.held(&head(b"two", 1), end), Some(end + HOLD));
        assert_eq!(holds.held(&head(b"one", 2), end), Some(end + HOLD), "another cut of the same");
        assert_eq!(holds.held(&head(b"one", 1), end), None, "the same again");
        assert_eq!(holds.held(&head(b"two", 1), end + HOLD), None);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_clean_pass_nobody_waits() {
        let mut holds = Holds::default();
        holds.note(&head(b"one", 1), End::Clean, Instant::now());
        assert_eq!(holds.held(&head(b"two", 1), Instant::now()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clean_pass_over_parts_leaves_parts() {
        let mut holds = Holds::default();
        holds.note(&head(b"one", 1), End::Ragged, Instant::now());
        tokio::time::advance(HOLD / 2).await;
        holds.note(&head(b"one", 1), End::Clean, Instant::now());
        assert_eq!(holds.held(&head(b"two", 1), Instant::now()), Some(Instant::now() + HOLD));
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_no_parts_of_a_single_chunk() {
        let mut holds = Holds::default();
        holds.note(&head(b"one", 3), End::Ragged, Instant::now());
        assert_eq!(holds.held(&head(b"two", 3), Instant::now()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_over_is_forgotten() {
        let mut holds = Holds::default();
        holds.note(&head(b"one", 1), End::Ragged, Instant::now());
        tokio::time::advance(HOLD).await;
        holds.note(&head(b"one", 1), End::Clean, Instant::now());
        assert!(holds.0.is_empty());
    }
}
