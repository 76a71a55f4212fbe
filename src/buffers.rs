//! Buffers that are used again: what a stream of chunks is read into, and encoded into.
//!
//! Take one where the runtime is, not on a thread for what blocks: there are many of those, and the allocator keeps memory
//! back for each thread that allocates.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use bytes::Bytes;

/// Buffers that are free. Whoever holds one, or a clone of this, keeps them; they go with the last.
///
/// There are never more than were in use at the same time.
#[derive(Clone, Default)]
pub(crate) struct Buffers(Arc<Free>);

/// The buffers of all who use some at the same time: nobody does, nothing is kept. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct SharedBuffers(Arc<Mutex<Weak<Free>>>);

type Free = Mutex<Vec<Vec<u8>>>;

/// Bytes in a buffer, which is free again when they are dropped.
struct Borrowed {
    bytes: Vec<u8>,
    home: Buffers,
}

impl Buffers {
    /// A buffer for `len` bytes, with whatever was in it before.
    pub(crate) fn take(&self, len: usize) -> Vec<u8> {
        let mut free = lock(&self.0);
        match free.iter().position(|buffer| buffer.capacity() >= len) {
            Some(place) => free.swap_remove(place),
            None => {
                // In the place of one that is too small.
                drop(free.pop());
                Vec::with_capacity(len)
            }
        }
    }

    /// The bytes, whose buffer comes back when they are dropped.
    pub(crate) fn lend(&self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(Borrowed { bytes, home: self.clone() })
    }
}

impl SharedBuffers {
    /// The buffers that others use, too; or, where nobody does, new ones.
    pub(crate) fn join(&self) -> Buffers {
        let mut shared = lock(&self.0);
        let buffers = shared.upgrade().unwrap_or_default();
        *shared = Arc::downgrade(&buffers);
        Buffers(buffers)
    }
}

impl AsRef<[u8]> for Borrowed {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        lock(&self.home.0).push(mem::take(&mut self.bytes));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Buffers that are free, of these capacities.
    fn free(capacities: &[usize]) -> Buffers {
        let buffers = Buffers::default();
        let all: Vec<_> = capacities.iter().map(|&capacity| buffers.lend(Vec::with_capacity(capacity))).collect();
        drop(all);
        buffers
    }

    #[test]
    fn a_buffer_is_used_again_once_nobody_reads_it() {
        let buffers = Buffers::default();
        let bytes = buffers.lend(b"abc".to_vec());
        let part = bytes.slice(1..);
        drop(bytes);
        assert_eq!(buffers.take(1), b"", "a part of it is still read");
        assert_eq!(part, "bc");
        drop(part);
        assert_eq!(buffers.take(1), b"abc");
        assert_eq!(buffers.take(1), b"");
    }

    #[test]
    fn one_that_is_large_enough_comes_first() {
        let buffers = free(&[10, 1000, 10]);
        assert_eq!([1000, 5, 20, 5].map(|len| buffers.take(len).capacity()), [1000, 10, 20, 5]);
    }

    #[test]
    fn they_go_with_the_last_who_uses_them() {
        let shared = SharedBuffers::default();
        let (first, second) = (shared.join(), shared.join());
        drop(first.lend(b"first".to_vec()));
        drop(first);
        assert_eq!(shared.join().take(5), b"first");
        drop(second.lend(b"second".to_vec()));
        drop(second);
        assert_eq!(shared.join().take(5), b"");
    }
}
