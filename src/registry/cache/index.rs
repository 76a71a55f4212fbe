//! What is in the folder, what is promised to downloads, and who goes first when room is needed. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use tokio::sync::OnceCell;

use crate::digest::Digest;

/// What a file takes up beside its bytes: file systems allot blocks of this size, as a rule.
const BLOCK: u64 = 4096;

/// A file by what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Name {
    /// The blob of this digest.
    Blob(Digest),
    /// The note on the layer of this name.
    Note(Digest),
}

/// Whether a file is what its name says: looked at once in a process's life.
pub(super) type Checked = Arc<OnceCell<bool>>;

/// The files of a cache, by recency, within a bound.
#[derive(Debug)]
pub(super) struct Index {
    max: u64,
    /// Bytes of files that are there.
    kept: u64,
    /// Bytes that files being written may take up.
    promised: u64,
    files: HashMap<Name, Entry>,
    /// The least recently used first.
    order: BTreeMap<u64, Name>,
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    size: u64,
    used: u64,
    checked: Checked,
}

impl Index {
    pub(super) fn new(max: u64) -> Self {
        Self { max, kept: 0, promised: 0, files: HashMap::new(), order: BTreeMap::new(), clock: 0 }
    }

    /// The largest file that there could ever be room for, in bytes.
    pub(super) fn max(&self) -> u64 {
        self.max
    }

    /// Notes that a file is there and in use; returns whether it is what its name says, as far as that is known. Of
    /// another size than before it is another file.
    pub(super) fn touch(&mut self, name: Name, size: u64) -> Checked {
        let known = self.remove(name).filter(|entry| entry.size == size);
        let checked = known.map(|entry| entry.checked).unwrap_or_default();
        self.insert(name, size, checked.clone());
        checked
    }

    /// Notes that a file is there whose bytes were verified as they were written.
    pub(super) fn verified(&mut self, name: Name, size: u64) {
        self.remove(name);
        self.insert(name, size, Arc::new(OnceCell::new_with(Some(true))));
    }

    /// Notes that a file is gone.
    pub(super) fn forget(&mut self, name: Name) {
        self.remove(name);
    }

    /// Whether a file is there that is good to use.
    pub(super) fn is_good(&self, name: Name) -> bool {
        self.files.get(&name).is_some_and(|entry| entry.checked.get() == Some(&true))
    }

    /// Promises room for a file of so many bytes; `false` where there is none, whatever goes. Files over the bound are
    /// to be removed then: [`Self::overflow`].
    pub(super) fn promise(&mut self, bytes: u64) -> bool {
        let fits = self.promised.checked_add(cost(bytes)).is_some_and(|promised| promised <= self.max);
        if fits {
            self.promised += cost(bytes);
        }
        fits
    }

    /// Takes a promise back.
    pub(super) fn release(&mut self, bytes: u64) {
        self.promised = self.promised.saturating_sub(cost(bytes));
    }

    /// Takes out the least recently used files that are over the bound.
    pub(super) fn overflow(&mut self) -> Vec<Name> {
        let mut over = Vec::new();
        while self.kept.saturating_add(self.promised) > self.max
            && let Some((_, &name)) = self.order.first_key_value()
        {
            self.remove(name);
            over.push(name);
        }
        over
    }

    fn insert(&mut self, name: Name, size: u64, checked: Checked) {
        self.clock += 1;
        self.kept = self.kept.saturating_add(cost(size));
        self.order.insert(self.clock, name);
        self.files.insert(name, Entry { size, used: self.clock, checked });
    }

    fn remove(&mut self, name: Name) -> Option<Entry> {
        let entry = self.files.remove(&name)?;
        self.order.remove(&entry.used);
        self.kept = self.kept.saturating_sub(cost(entry.size));
        Some(entry)
    }
}

/// The bytes on disk of a file of this size.
fn cost(size: u64) -> u64 {
    size.max(1).div_ceil(BLOCK).saturating_mul(BLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(name: &str) -> Name {
        Name::Blob(Digest::of(name.as_bytes()))
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut index = Index::new(3 * BLOCK);
        for name in ["a", "b", "c"] {
            index.verified(blob(name), 1);
        }
        index.touch(blob("a"), 1);
        assert_eq!(index.overflow(), []);
        assert!(index.promise(2 * BLOCK));
        assert_eq!(index.overflow(), [blob("b"), blob("c")]);
        assert!(index.is_good(blob("a")) && !index.is_good(blob("b")));
    }

    #[test]
    fn what_is_promised_is_not_promised_twice() {
        let mut index = Index::new(2 * BLOCK);
        assert!(index.promise(BLOCK + 1));
        assert!(!index.promise(1));
        index.release(BLOCK + 1);
        assert!(index.promise(1));
        assert!(!index.promise(u64::MAX));
    }

    #[test]
    fn a_note_and_a_blob_of_one_digest_are_two_files() {
        let mut index = Index::new(BLOCK);
        index.verified(blob("a"), 1);
        index.verified(Name::Note(Digest::of(b"a")), 1);
        assert_eq!(index.overflow(), [blob("a")]);
    }

    #[test]
    fn a_file_that_is_used_again_counts_once_and_stays_checked() {
        let mut index = Index::new(BLOCK);
        index.verified(blob("a"), 1);
        for _ in 0..3 {
            assert_eq!(index.touch(blob("a"), 1).get(), Some(&true));
        }
        assert_eq!(index.overflow(), []);
        assert_eq!(index.touch(blob("a"), 2).get(), None, "it is another file");
        index.verified(blob("a"), 1);
        index.forget(blob("a"));
        assert_eq!(index.touch(blob("a"), 1).get(), None, "it came from somewhere else");
    }
}
