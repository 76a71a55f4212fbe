//! Counts what threads ask the allocator for.

#![allow(unsafe_code, reason = "an allocator is unsafe by its trait; this one passes everything on to the system's")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    fmt,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use crate::limits::LARGE;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Powers of two that an allocation's size may reach.
const SIZES: usize = 32;

thread_local! {
    /// Who counts what this thread does.
    static COUNTER: Cell<Option<&'static Counter>> = const { Cell::new(None) };
}

struct Counting;

/// What the threads that it was given have asked for, and what of it lives.
///
/// Memory must be given back on one of these threads, too, to be counted as gone.
#[derive(Default)]
pub struct Counter {
    /// Allocations of at least [`LARGE`] bytes, by the power of two that they reach.
    counts: [AtomicUsize; SIZES],
    /// The bytes of these.
    bytes: AtomicUsize,
    living_bytes: Level,
    /// The bytes of an encoded chunk, at least.
    encoded: usize,
    /// Allocations that can hold one.
    living_chunks: Level,
}

/// How much there is of something, and the most that there was.
#[derive(Default)]
struct Level {
    now: AtomicUsize,
    peak: AtomicUsize,
}

/// Large allocations up to a moment, or between two.
#[derive(Clone, Copy)]
pub struct Count {
    by_size: [usize; SIZES],
    pub bytes: usize,
}

/// The most that lived at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peak {
    /// Bytes in large allocations.
    pub bytes: usize,
    /// Allocations that can hold an encoded chunk.
    pub chunks: usize,
}

impl Counter {
    /// One that lives as long as the threads that it counts for. A chunk takes so many bytes when it is encoded, at least.
    pub fn new(encoded: usize) -> &'static Self {
        Box::leak(Box::new(Self { encoded, ..Self::default() }))
    }

    /// Counts from now on what this thread does.
    pub fn take_on_this_thread(&'static self) {
        COUNTER.set(Some(self));
    }

    /// What was asked for by now.
    pub fn count(&self) -> Count {
        Count { by_size: std::array::from_fn(|size| self.counts[size].load(Relaxed)), bytes: self.bytes.load(Relaxed) }
    }

    /// The most that lived at a time since the last [`Self::forget_peak`].
    pub fn peak(&self) -> Peak {
        Peak { bytes: self.living_bytes.peak.load(Relaxed), chunks: self.living_chunks.peak.load(Relaxed) }
    }

    /// Begins anew with the peak, at what lives now.
    pub fn forget_peak(&self) {
        for level in [&self.living_bytes, &self.living_chunks] {
            level.peak.store(level.now.load(Relaxed), Relaxed);
        }
    }

    fn gained(&self, size: usize) {
        if size >= LARGE {
            self.counts[size.ilog2() as usize].fetch_add(1, Relaxed);
            self.bytes.fetch_add(size, Relaxed);
            self.living_bytes.rise(size);
        }
        if size >= self.encoded {
            self.living_chunks.rise(1);
        }
    }

    fn lost(&self, size: usize) {
        if size >= LARGE {
            self.living_bytes.now.fetch_sub(size, Relaxed);
        }
        if size >= self.encoded {
            self.living_chunks.now.fetch_sub(1, Relaxed);
        }
    }
}

impl Level {
    fn rise(&self, by: usize) {
        let now = self.now.fetch_add(by, Relaxed) + by;
        self.peak.fetch_max(now, Relaxed);
    }
}

impl Count {
    /// How many allocations.
    pub fn allocations(&self) -> usize {
        self.by_size.iter().sum()
    }

    /// What came after `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            by_size: std::array::from_fn(|size| self.by_size[size] - earlier.by_size[size]),
            bytes: self.bytes - earlier.bytes,
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} large allocations, {} bytes", self.allocations(), self.bytes)?;
        let sizes = self.by_size.iter().enumerate().filter(|(_, count)| **count > 0);
        for (size, count) in sizes {
            write!(f, "; {count} from {} KiB", (1_usize << size) / 1024)?;
        }
        Ok(())
    }
}

fn on_this_thread(note: impl FnOnce(&Counter)) {
    if let Ok(Some(counter)) = COUNTER.try_with(Cell::get) {
        note(counter);
    }
}

// SAFETY: each call is the system allocator's, with what the caller has promised; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        on_this_thread(|counter| counter.gained(layout.size()));
        // SAFETY: see above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        on_this_thread(|counter| counter.gained(layout.size()));
        // SAFETY: see above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Growing is another allocation: what is there may have to be copied.
        on_this_thread(|counter| {
            counter.gained(size);
            counter.lost(layout.size());
        });
        // SAFETY: see above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        on_this_thread(|counter| counter.lost(layout.size()));
        // SAFETY: see above.
        unsafe { System.dealloc(pointer, layout) }
    }
}
