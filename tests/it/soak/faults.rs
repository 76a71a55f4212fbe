//! What breaks on the ways between the servers.

use std::time::Duration;

use crate::lab::{Direction, FaultProxy};

/// What happens to a way.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Its connections are reset.
    Cut,
    /// Its next connections are closed after so many bytes.
    CutAfter(Direction, [u64; 2]),
    /// In its next connection, this byte is another one.
    Corrupt(Direction, u64),
    /// Nothing passes through the connections that stand.
    Stall,
    /// Nothing passes at all.
    StallAll,
    /// Whoever comes is turned away, and whoever is there.
    Refuse,
    /// Every piece is late.
    Delay(Duration),
    /// So many bytes a second.
    Throttle(u64),
}

impl Fault {
    /// Any of them; a byte is another one only where that may be.
    pub fn choose(random: &mut fastrand::Rng, may_corrupt: bool) -> Self {
        let direction = if random.bool() { Direction::ToServer } else { Direction::ToClient };
        // Near the beginning, where the handshakes are, as often as anywhere in a module.
        let bytes = [0; 2].map(|_| {
            let magnitude = [8, 14, 18, 21][random.usize(..4)];
            random.u64(..1 << magnitude)
        });
        match random.u8(..if may_corrupt { 9 } else { 8 }) {
            0 => Self::Cut,
            1 | 2 => Self::CutAfter(direction, bytes),
            3 => Self::Stall,
            4 => Self::StallAll,
            5 => Self::Refuse,
            6 => Self::Delay(Duration::from_millis(random.u64(1..50))),
            7 => Self::Throttle(random.u64(20_000..2_000_000)),
            _ => Self::Corrupt(Direction::ToClient, bytes[0]),
        }
    }

    /// What the figures call it.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::CutAfter(..) => "cut after some bytes",
            Self::Corrupt(..) => "byte changed",
            Self::Stall => "stalled",
            Self::StallAll => "stalled, with those to come",
            Self::Refuse => "refused",
            Self::Delay(_) => "delayed",
            Self::Throttle(_) => "throttled",
        }
    }

    /// Lets it happen.
    pub fn inject(self, way: &FaultProxy) {
        match self {
            Self::Cut => way.cut(),
            Self::CutAfter(direction, bytes) => {
                way.cut_after(direction, bytes);
                way.cut();
            }
            Self::Corrupt(direction, byte) => {
                way.corrupt(direction, [byte]);
                way.cut();
            }
            Self::Stall => way.stall(),
            Self::StallAll => way.stall_all(),
            Self::Refuse => {
                way.refuse(true);
                way.cut();
            }
            Self::Delay(delay) => way.delay(delay),
            Self::Throttle(rate) => way.throttle(rate),
        }
    }
}
