//! Chunks by number, as ranges.

use serde::{Deserialize, Serialize};

/// The most chunks that one request may ask for.
pub const MAX_CHUNKS: u32 = 64;

/// Sorted, disjoint, inclusive ranges of chunk numbers, at most [`MAX_CHUNKS`] chunks together and at least one;
/// written `[[0, 3], [7, 7]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(u32, u32)>", into = "Vec<(u32, u32)>")]
pub struct ChunkRanges(Vec<(u32, u32)>);

/// Why ranges are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRanges {
    /// No range at all.
    #[error("`chunks` names no chunk")]
    Empty,
    /// A range that ends before it begins, or begins where the one before it has not ended.
    #[error("`chunks` must be sorted, disjoint ranges, each [first, last]")]
    Unsorted,
    /// More chunks than a request may ask for.
    #[error("`chunks` names more than {MAX_CHUNKS} chunks: ask for the rest afterwards")]
    TooMany,
}

impl ChunkRanges {
    /// The first chunks of a sorted sequence of numbers, as many as one request may ask for; `None` where it is empty.
    pub fn first_of(numbers: impl IntoIterator<Item = u32>) -> Option<Self> {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for number in numbers.into_iter().take(MAX_CHUNKS as usize) {
            match ranges.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
                _ => ranges.push((number, number)),
            }
        }
        (!ranges.is_empty()).then_some(Self(ranges))
    }

    /// The numbers, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().flat_map(|&(first, last)| first..=last)
    }

    /// The largest number.
    pub fn last(&self) -> u32 {
        self.0.last().map_or(0, |&(_, last)| last)
    }
}

impl TryFrom<Vec<(u32, u32)>> for ChunkRanges {
    type Error = InvalidRanges;

    fn try_from(ranges: Vec<(u32, u32)>) -> Result<Self, InvalidRanges> {
        if ranges.is_empty() {
            return Err(InvalidRanges::Empty);
        }
        if ranges.iter().any(|(first, last)| first > last) || ranges.windows(2).any(|pair| pair[0].1 >= pair[1].0) {
            return Err(InvalidRanges::Unsorted);
        }
        let chunks: u64 = ranges.iter().map(|&(first, last)| u64::from(last - first) + 1).sum();
        if chunks > u64::from(MAX_CHUNKS) { Err(InvalidRanges::TooMany) } else { Ok(Self(ranges)) }
    }
}

impl From<ChunkRanges> for Vec<(u32, u32)> {
    fn from(ranges: ChunkRanges) -> Self {
        ranges.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn neighbours_share_a_range() {
        let ranges = ChunkRanges::first_of([0, 1, 2, 7]).unwrap();
        assert_eq!(serde_json::to_string(&ranges).unwrap(), "[[0,2],[7,7]]");
    }

    #[test]
    fn the_largest_number_has_no_neighbour() {
        let ranges = ChunkRanges::first_of([u32::MAX - 1, u32::MAX, u32::MAX]).unwrap();
        assert_eq!(ranges.last(), u32::MAX);
    }

    #[test]
    fn no_more_chunks_than_one_request_may_ask_for_are_named() {
        assert_eq!(ChunkRanges::first_of(0..1000).unwrap().iter().count(), MAX_CHUNKS as usize);
    }

    #[test]
    fn ranges_that_are_none_are_refused() {
        for (ranges, error) in [
            (vec![], InvalidRanges::Empty),
            (vec![(3, 2)], InvalidRanges::Unsorted),
            (vec![(0, 3), (3, 4)], InvalidRanges::Unsorted),
            (vec![(5, 6), (0, 1)], InvalidRanges::Unsorted),
            (vec![(0, 64)], InvalidRanges::TooMany),
            (vec![(0, u32::MAX)], InvalidRanges::TooMany),
        ] {
            assert_eq!(ChunkRanges::try_from(ranges), Err(error));
        }
    }

    proptest! {
        #[test]
        fn what_is_named_is_what_is_read(numbers in prop::collection::btree_set(0u32..500, 1..64)) {
            let ranges = ChunkRanges::first_of(numbers.clone()).unwrap();
            let read: ChunkRanges = serde_json::from_str(&serde_json::to_string(&ranges).unwrap()).unwrap();
            prop_assert_eq!(read.iter().collect::<Vec<_>>(), numbers.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn what_is_accepted_is_sorted_disjoint_and_short(
            start: u32, steps in prop::collection::vec((-2i64..20, -1i64..20), 0..10),
        ) {
            let mut end = i64::from(start);
            let ranges = steps.iter().filter_map(|(gap, len)| {
                let first = end + gap;
                end = first + len;
                Some((u32::try_from(first).ok()?, u32::try_from(end).ok()?))
            });
            if let Ok(ranges) = ChunkRanges::try_from(ranges.collect::<Vec<_>>()) {
                let numbers: Vec<_> = ranges.iter().collect();
                prop_assert!((1..=MAX_CHUNKS as usize).contains(&numbers.len()));
                prop_assert!(numbers.is_sorted_by(|a, b| a < b));
                prop_assert_eq!(numbers.last(), Some(&ranges.last()));
            }
        }
    }
}
