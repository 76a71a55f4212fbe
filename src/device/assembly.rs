//! Which chunks of a module are here, and which are not. The bytes themselves are in a file.

use crate::{digest::Digest, protocol::Layout};

/// The most chunks a module may have here: two MiB of notes, and 8 TB in chunks of the default size.
///
/// Whoever may publish on the channel chooses the chunk size, and with it how much there is to remember.
pub const MAX_CHUNKS: u32 = 1 << 24;

/// What a module is, and how it is cut: chunks of two different ones never end up in one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole {
    /// The digest of the module.
    pub digest: Digest,
    /// Its size and that of its chunks.
    pub layout: Layout,
}

/// A module of which some chunks are here.
#[derive(Debug, Clone)]
pub struct Assembly {
    whole: Whole,
    /// One bit a chunk, the lowest bit of the first word for chunk 0.
    here: Vec<u64>,
    chunks: u32,
    bytes: u64,
}

/// More chunks than [`MAX_CHUNKS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the module is cut into {0} chunks, more than {MAX_CHUNKS}")]
pub struct TooManyChunks(pub u32);

impl Assembly {
    /// A module of which nothing is here yet.
    ///
    /// # Errors
    /// Where it has more than [`MAX_CHUNKS`].
    pub fn new(whole: Whole) -> Result<Self, TooManyChunks> {
        let total = whole.layout.total();
        if total > MAX_CHUNKS {
            return Err(TooManyChunks(total));
        }
        Ok(Self { whole, here: vec![0; total.div_ceil(u64::BITS) as usize], chunks: 0, bytes: 0 })
    }

    /// What is being gathered.
    pub fn whole(&self) -> Whole {
        self.whole
    }

    /// Notes that chunk `index` is here; false where it was before, or where there is no such chunk.
    pub fn insert(&mut self, index: u32) -> bool {
        if index >= self.whole.layout.total() || self.contains(index) {
            return false;
        }
        let (word, bit) = position(index);
        self.here[word] |= bit;
        self.chunks += 1;
        self.bytes += self.whole.layout.len_of(index) as u64;
        true
    }

    /// Whether chunk `index` is here.
    pub fn contains(&self, index: u32) -> bool {
        let (word, bit) = position(index);
        self.here.get(word).is_some_and(|here| here & bit != 0)
    }

    /// The chunks that are not here, in order.
    pub fn missing(&self) -> impl Iterator<Item = u32> + '_ {
        (0u32..)
            .step_by(u64::BITS as usize)
            .zip(&self.here)
            .filter(|(_, here)| **here != u64::MAX)
            .flat_map(|(first, _)| first..first + u64::BITS)
            .take_while(|index| *index < self.whole.layout.total())
            .filter(|index| !self.contains(*index))
    }

    /// How many chunks are here.
    pub fn chunks(&self) -> u32 {
        self.chunks
    }

    /// How many bytes are here.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether all chunks are here.
    pub fn is_complete(&self) -> bool {
        self.chunks == self.whole.layout.total()
    }
}

/// The word that notes chunk `index`, and the bit in it.
fn position(index: u32) -> (usize, u64) {
    ((index / u64::BITS) as usize, 1 << (index % u64::BITS))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn assembly(size: u64, chunk_size: u32) -> Assembly {
        let layout = Layout::new(size, chunk_size).unwrap();
        Assembly::new(Whole { digest: Digest::of(b""), layout }).unwrap()
    }

    #[test]
    fn a_chunk_counts_once() {
        let mut assembly = assembly(25, 10);
        assert!(assembly.insert(2));
        assert!(!assembly.insert(2));
        assert_eq!((assembly.chunks(), assembly.bytes()), (1, 5));
        assert_eq!(assembly.missing().collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn a_chunk_that_there_is_not_does_not_count() {
        let mut assembly = assembly(25, 10);
        assert!(!assembly.insert(3));
        assert!(!assembly.insert(u32::MAX));
        assert_eq!(assembly.chunks(), 0);
    }

    #[test]
    fn a_module_in_more_chunks_than_can_be_noted_is_refused() {
        let layout = Layout::new(u64::from(MAX_CHUNKS) + 1, 1).unwrap();
        let refused = Assembly::new(Whole { digest: Digest::of(b""), layout });
        assert_eq!(refused.unwrap_err(), TooManyChunks(MAX_CHUNKS + 1));
    }

    proptest! {
        #[test]
        fn what_is_not_here_is_missing(total in 1u32..300, here in prop::collection::vec(0u32..300, 0..300)) {
            let mut assembly = assembly(u64::from(total) * 10, 10);
            for index in &here {
                assembly.insert(*index);
            }
            let here: BTreeSet<_> = here.into_iter().collect();
            let missing: Vec<_> = (0..total).filter(|index| !here.contains(index)).collect();
            prop_assert_eq!(assembly.chunks() as usize + missing.len(), total as usize);
            prop_assert_eq!(assembly.is_complete(), missing.is_empty());
            prop_assert_eq!(assembly.missing().collect::<Vec<_>>(), missing);
        }
    }
}
