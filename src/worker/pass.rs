//! A pass: one module, to everyone who listens, chunk by chunk.

use super::{
    pace::Pace,
    publisher::{Intake, Publisher, SendError},
    seats::Seats,
    source::ChunkSource,
};
use crate::protocol::{Complete, Format};

/// One module on its way to everyone.
pub(super) struct Pass {
    pub(super) publisher: Publisher,
    /// Each chunk is sent in each of these.
    pub(super) formats: Vec<Format>,
    pub(super) seats: Seats,
    pub(super) pace: Pace,
}

impl Pass {
    /// Sends all chunks, then again those that somebody who joined late has missed, then says that it is complete.
    ///
    /// The last chunk of the first round leaves only after the digest of the whole has been verified.
    pub(super) async fn run(self) -> Result<(), SendError> {
        let Self { publisher, formats, seats, mut pace } = self;
        publisher.run(async |intake| feed(&publisher, &formats, &seats, &mut pace, &intake).await).await?;
        let (link, head) = (&publisher.link, &publisher.head);
        if formats.iter().any(|&format| format != Format::Plain)
            && let Ok(notice) = serde_json::to_vec(&Complete::from(&**head))
        {
            link.publish_notice(&link.topics.complete, notice).await;
        }
        Ok(())
    }
}

async fn feed(
    publisher: &Publisher,
    formats: &[Format],
    seats: &Seats,
    pace: &mut Pace,
    intake: &Intake,
) -> Result<(), SendError> {
    let Publisher { link, module, head, .. } = publisher;
    let mut source = intake.until_stopped(ChunkSource::open(&link.registry, module, head.clone())).await??;
    for _ in 0..head.layout.total() {
        let before = async |len| {
            pace.wait(len).await;
            seats.send();
        };
        intake.put(link, &mut source, formats, before).await?;
    }
    let digests = source.verified();
    link.known.put(head, digests.clone());
    let again = seats.close();
    if again > 0 {
        let opening = ChunkSource::open_at(&link.registry, module, head.clone(), 0, digests);
        let mut source = intake.until_stopped(opening).await??;
        for _ in 0..again {
            intake.put(link, &mut source, formats, async |len| pace.wait(len).await).await?;
        }
    }
    Ok(())
}
