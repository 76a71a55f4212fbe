//! How many chunks to ask for at once.

use crate::protocol::ranges::MAX_CHUNKS;

/// So many answers in a row must come whole before a limit that was found is tried again.
const PATIENT: u32 = 16;

/// How many chunks one request asks for: as many as lately came, as a broker has only so much room for a slow device and
/// drops the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    size: u32,
    /// Where the size stops doubling: more than this has got lost time and again.
    limit: u32,
    /// Part of an answer has got lost. That may have had any cause; the next time it has a limit.
    suspicious: bool,
    /// Answers that came whole since then.
    whole: u32,
}

impl Window {
    /// As many as one request may ask for.
    pub fn new() -> Self {
        Self { size: MAX_CHUNKS, limit: MAX_CHUNKS, suspicious: false, whole: 0 }
    }

    /// How many chunks to ask for.
    pub fn size(self) -> usize {
        self.size as usize
    }

    /// All came that was asked for.
    pub fn came_whole(&mut self) {
        self.whole += 1;
        if self.whole >= PATIENT {
            self.whole = 0;
            self.limit = (self.limit + self.limit.div_ceil(4)).min(MAX_CHUNKS);
            self.suspicious = self.limit < MAX_CHUNKS;
        }
        self.size = (self.size * 2).min(self.limit);
    }

    /// Only so many came.
    pub fn came_short(&mut self, chunks: u32) {
        if chunks == 0 {
            return self.came_to_nothing();
        }
        if self.suspicious {
            self.limit = chunks.min(self.limit);
        }
        self.size = chunks.min(self.limit);
        self.suspicious = true;
        self.whole = 0;
    }

    /// Nothing came, or the connection broke: less is asked for, but nothing is learned of how much there is room for.
    pub fn came_to_nothing(&mut self) {
        self.size = (self.size / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn as_much_is_asked_for_as_came() {
        let mut window = Window::new();
        window.came_short(15);
        assert_eq!(window.size(), 15);
        window.came_whole();
        assert_eq!(window.size(), 30, "it may have been chance");
        window.came_short(15);
        for _ in 1..PATIENT {
            assert_eq!(window.size(), 15, "it was not");
            window.came_whole();
        }
        window.came_whole();
        assert_eq!(window.size(), 19, "a little more is tried");
        window.came_short(15);
        window.came_whole();
        assert_eq!(window.size(), 15);
    }

    #[test]
    fn a_single_loss_is_soon_forgotten() {
        let mut window = Window::new();
        for _ in 0..3 {
            window.came_short(1);
            for _ in 0..=PATIENT {
                window.came_whole();
            }
            assert_eq!(window, Window { whole: 1, ..Window::new() });
        }
    }

    #[test]
    fn silence_says_nothing_of_how_much_there_is_room_for() {
        let mut window = Window::new();
        for size in [32, 16, 8, 4, 2, 1, 1] {
            window.came_short(0);
            assert_eq!(window.size(), size);
        }
        for size in [2, 4, 8, 16, 32, 64, 64] {
            window.came_whole();
            assert_eq!(window.size(), size);
        }
    }

    proptest! {
        #[test]
        fn a_request_asks_for_something_and_for_no_more_than_it_may(answers in prop::collection::vec(0u32..70, 0..200)) {
            let mut window = Window::new();
            for came in answers {
                if came < 64 { window.came_short(came) } else { window.came_whole() }
                prop_assert!((1..=64).contains(&window.size()));
            }
        }
    }
}
