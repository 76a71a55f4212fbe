//! What was written at QoS 0, which nobody acknowledges.

/// The number of a packet.
pub type Number = u64;

/// So many bytes behind a packet do not fit between us and the broker, in the buffers of two kernels and a proxy: once they
/// are written, it has read the packet. A connection on which chunks flow all the time has no pings that would say so.
pub(super) const PIPE: usize = 16 * 1024 * 1024;

/// Follows the packets of one connection after the other. What it calls proven, the broker has taken.
#[derive(Debug, Default)]
pub(super) struct Written {
    last: Number,
    /// The last one of the connections before.
    before: Number,
    /// The largest that was handed to the link on this connection.
    handed_over: usize,
    /// The largest that is known to have left, with its number, and what is known to have left behind it.
    left: (Number, usize),
    behind: usize,
    /// The largest that had left before the last ping.
    pinged: usize,
}

impl Written {
    /// A packet of `size` bytes is handed to the link.
    pub fn hand_over(&mut self, size: usize) -> Number {
        self.handed_over = self.handed_over.max(size);
        self.last += 1;
        self.last
    }

    /// The largest that was handed to the link on this connection.
    pub fn largest(&self) -> usize {
        self.handed_over
    }

    /// A packet is written to the socket. Returns the size that is proven by that.
    pub fn flushed(&mut self, number: Number, size: usize) -> Option<usize> {
        if number <= self.before {
            return None;
        }
        if size > self.left.1 {
            (self.left, self.behind) = ((number, size), 0);
        } else if number > self.left.0 {
            self.behind = self.behind.saturating_add(size);
        }
        (self.behind > PIPE).then_some(self.left.1)
    }

    /// PINGREQ was sent. What was handed over by now, but is not known to have left, may have come after it.
    pub fn ping(&mut self) {
        self.pinged = self.left.1;
    }

    /// PINGRESP. Returns the size that is proven by that.
    pub fn pong(&self) -> usize {
        self.pinged
    }

    /// The connection has ended. Returns the largest that was handed to it.
    pub fn lost(&mut self) -> usize {
        let largest = self.handed_over;
        *self = Self { last: self.last, before: self.last, ..Self::default() };
        largest
    }
}

/// Losses in a row after something was written at QoS 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streak {
    pub losses: u32,
    /// The smallest of the sizes: if sizes are to blame, this one is too large, too.
    pub least: usize,
    /// The broker has taken the like before.
    pub protected: bool,
}

impl Streak {
    /// One more, after a packet of `size` bytes. With those of the other kind it is not compared.
    pub fn after(streak: Option<Self>, size: usize, protected: bool) -> Self {
        match streak.filter(|streak| streak.protected == protected) {
            Some(Self { losses, least, .. }) => Self { losses: losses + 1, least: least.min(size), protected },
            None => Self { losses: 1, least: size, protected },
        }
    }
}
