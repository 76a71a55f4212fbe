//! How a module is cut into chunks.

use std::num::NonZeroU32;

/// The bytes of a module in every chunk but the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChunkSize(NonZeroU32);

/// No chunk size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a chunk is {min} to {max} bytes", min = ChunkSize::MIN, max = ChunkSize::MAX)]
pub struct InvalidChunkSize;

impl ChunkSize {
    /// The least that can be configured, in bytes: smaller chunks are mostly header.
    pub const MIN: u32 = 256;
    /// The most, in bytes: what ten chunks in flight still cost little memory with.
    pub const MAX: u32 = 16 << 20;
    /// What is used unless something else is said, in bytes.
    pub const DEFAULT: Self = match NonZeroU32::new(512_000) {
        Some(bytes) => Self(bytes),
        None => unreachable!(),
    };

    /// A size in bytes.
    ///
    /// # Errors
    /// Outside [`Self::MIN`] to [`Self::MAX`].
    pub fn new(bytes: u32) -> Result<Self, InvalidChunkSize> {
        match NonZeroU32::new(bytes) {
            Some(size) if (Self::MIN..=Self::MAX).contains(&bytes) => Ok(Self(size)),
            _ => Err(InvalidChunkSize),
        }
    }

    /// The size in bytes.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

/// A module's size and the size of its chunks: says how many there are, and how long each is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Layout {
    size: u64,
    chunk_size: NonZeroU32,
    total: NonZeroU32,
}

/// A module that cannot be cut so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLayout {
    /// An empty module has no chunks.
    #[error("the module is empty")]
    Empty,
    /// A chunk of no bytes.
    #[error("a chunk must hold at least one byte")]
    NoChunkSize,
    /// More chunks than can be numbered.
    #[error("the module has too many chunks: choose a larger chunk size")]
    TooManyChunks,
}

impl Layout {
    /// A module of `size` bytes in chunks of `chunk_size` bytes.
    ///
    /// # Errors
    /// Where there would be no chunk, or more than 2³² − 1.
    pub fn new(size: u64, chunk_size: u32) -> Result<Self, InvalidLayout> {
        let chunk_size = NonZeroU32::new(chunk_size).ok_or(InvalidLayout::NoChunkSize)?;
        let total = size.div_ceil(u64::from(chunk_size.get()));
        let total = u32::try_from(total).map_err(|_| InvalidLayout::TooManyChunks)?;
        let total = NonZeroU32::new(total).ok_or(InvalidLayout::Empty)?;
        Ok(Self { size, chunk_size, total })
    }

    /// The module's size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The size of every chunk but the last, in bytes.
    pub fn chunk_size(&self) -> u32 {
        self.chunk_size.get()
    }

    /// The number of chunks, at least one.
    pub fn total(&self) -> u32 {
        self.total.get()
    }

    /// Where chunk `index` begins in the module, in bytes; past its end for an index that there is not.
    pub fn offset(&self, index: u32) -> u64 {
        u64::from(index) * u64::from(self.chunk_size.get())
    }

    /// How many bytes chunk `index` holds; none for an index that there is not.
    pub fn len_of(&self, index: u32) -> usize {
        let left = self.size.saturating_sub(self.offset(index)).min(u64::from(self.chunk_size.get()));
        usize::try_from(left).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lengths(size: u64, chunk_size: u32) -> Vec<usize> {
        let layout = Layout::new(size, chunk_size).unwrap();
        (0..layout.total()).map(|index| layout.len_of(index)).collect()
    }

    #[test]
    fn a_module_below_at_and_above_a_chunk() {
        assert_eq!(lengths(9, 10), [9]);
        assert_eq!(lengths(10, 10), [10]);
        assert_eq!(lengths(11, 10), [10, 1]);
    }

    #[test]
    fn an_empty_module_has_no_layout() {
        assert_eq!(Layout::new(0, 10), Err(InvalidLayout::Empty));
    }

    #[test]
    fn more_chunks_than_can_be_numbered_are_refused() {
        assert_eq!(Layout::new(u64::MAX, 1), Err(InvalidLayout::TooManyChunks));
    }

    #[test]
    fn a_chunk_that_there_is_not_is_empty() {
        assert_eq!(Layout::new(11, 10).unwrap().len_of(2), 0);
    }

    proptest! {
        #[test]
        fn the_chunks_add_up_to_the_module(size in 1u64..10_000_000, chunk_size in 1000u32..20_000_000) {
            prop_assert_eq!(lengths(size, chunk_size).iter().sum::<usize>() as u64, size);
        }

        #[test]
        fn each_chunk_begins_where_the_one_before_it_ends(size: u64, chunk_size: u32, index: u32) {
            let Ok(layout) = Layout::new(size, chunk_size) else { return Ok(()) };
            let (index, last) = (index % layout.total(), layout.total() - 1);
            let end = layout.offset(index) + layout.len_of(index) as u64;
            prop_assert!(layout.len_of(index) > 0 && end <= size);
            prop_assert_eq!(end, if index == last { size } else { layout.offset(index + 1) });
            prop_assert_eq!(layout.len_of(layout.total()), 0);
        }
    }
}
