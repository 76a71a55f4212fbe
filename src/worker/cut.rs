//! How large the chunks are that go out: as configured, or as large as the broker takes.

use crate::protocol::{ChunkSize, topics::MAX_TOPIC};

/// What a packet holds besides the data and the `app_name`, at most: headers, topic, and the fields or user properties
/// of a full chunk, all numbers at their longest.
const REST: usize = MAX_TOPIC + 385;

/// The broker takes no packet that a chunk fits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the broker takes packets of at most {0} bytes, too few for a chunk: raise its maximum packet size")]
pub(super) struct PacketsTooSmall(u32);

/// The size of chunks that name `app_name`, where the broker takes packets of up to `max_packet` bytes.
///
/// It is the same for every topic and format, since devices ask by number for what they heard in another way.
///
/// # Errors
/// Where even the smallest chunk is too large.
pub(super) fn chunk_size(
    configured: ChunkSize,
    max_packet: Option<u32>,
    app_name: &str,
) -> Result<ChunkSize, PacketsTooSmall> {
    let Some(max_packet) = max_packet else { return Ok(configured) };
    // A string always serialises.
    let name = serde_json::to_string(app_name).unwrap_or_default();
    let room = usize::try_from(max_packet).unwrap_or(usize::MAX).saturating_sub(REST + name.len()) / 4 * 3;
    if room >= configured.get() as usize {
        return Ok(configured);
    }
    let room = u32::try_from(room).ok().and_then(|room| ChunkSize::new(room).ok());
    room.ok_or(PacketsTooSmall(max_packet))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        digest::Digest,
        protocol::{ChunkHead, Format, Layout},
    };

    fn configured() -> ChunkSize {
        ChunkSize::new(512_000).unwrap()
    }

    #[test]
    fn the_configured_size_holds_where_the_broker_takes_it() {
        assert_eq!(chunk_size(configured(), None, "add"), Ok(configured()));
        assert_eq!(chunk_size(configured(), Some(1 << 20), "add"), Ok(configured()));
    }

    #[test]
    fn a_broker_that_takes_nothing_is_named() {
        assert_eq!(chunk_size(configured(), Some(700), "add"), Err(PacketsTooSmall(700)));
    }

    #[test]
    fn the_largest_chunk_fits_and_little_is_wasted() {
        for app_name in ["a", &"\u{1}".repeat(512), &"x".repeat(512)] {
            let max_packet = 64 * 1024;
            let size = chunk_size(configured(), Some(max_packet), app_name).unwrap();
            let layout = Layout::new(u64::from(u32::MAX), size.get()).unwrap();
            let head = ChunkHead { app_name: app_name.to_owned(), digest: Digest::of(b""), layout };
            for format in [Format::Full, Format::Raw] {
                let user = if format == Format::Raw { head.properties(u32::MAX) } else { Vec::new() };
                let in_properties: usize = user.iter().map(|(name, value)| 5 + name.len() + value.len()).sum();
                let packet = head.max_payload(format) + in_properties + MAX_TOPIC + 50;
                assert!(packet <= max_packet as usize, "{packet} {format:?}");
                assert!(format == Format::Raw || packet + 512 > max_packet as usize, "{packet}");
            }
        }
    }
}
