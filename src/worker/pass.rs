//! A pass: one module, to everyone who listens, chunk by chunk.

use super::{
    link::Link,
    pace::Pace,
    publisher::{Audience, Intake, Publisher, SendError},
    schedule::Active,
    seats::Seats,
    source::ChunkSource,
};
use crate::{
    protocol::{Complete, Format},
    registry::RegistryError,
};

/// One module on its way to everyone.
pub(super) struct Pass {
    pub(super) link: Link,
    pub(super) active: Active,
    pub(super) pace: Pace,
}

impl Pass {
    /// Sends all chunks, then again those that somebody who joined late has missed, then says that it is complete.
    ///
    /// The last chunk of the first round leaves only after the digest of the whole has been verified.
    pub(super) async fn run(self) -> Result<(), SendError> {
        let Self { link, active, mut pace } = self;
        let (plan, stop, formats) = (active.plan.clone(), active.stop.clone(), active.ticket.wish.formats.clone());
        let publisher = Publisher { link, plan, audience: Audience::Everyone(active), stop };
        publisher.run(async |intake| feed(&publisher, &formats, &mut pace, &intake).await).await?;
        let (link, head) = (&publisher.link, &publisher.plan.head);
        if formats.iter().any(|&format| format != Format::Plain)
            && let Ok(notice) = serde_json::to_vec(&Complete::from(&**head))
        {
            link.publish_notice(&link.topics.complete, notice).await;
        }
        Ok(())
    }
}

async fn feed(publisher: &Publisher, formats: &[Format], pace: &mut Pace, intake: &Intake) -> Result<(), SendError> {
    let Publisher { link, plan, audience, .. } = publisher;
    let Audience::Everyone(Active { seats, .. }) = audience else { return Ok(()) };
    let head = &plan.head;
    let opening = audience.starving(ChunkSource::open(&link.registry, &plan.module, head.clone()));
    let mut source = intake.until_stopped(opening).await??.expect(link.known.begun(head));
    if let Err(error) = first_round(publisher, &mut source, formats, pace, intake, seats).await {
        let is_corrupt = matches!(error, SendError::Registry(RegistryError::DigestMismatch { .. }));
        link.known.put_begun(head, if is_corrupt { Vec::new() } else { source.begun() });
        return Err(error);
    }
    let digests = source.verified();
    link.known.put(head, digests.clone());
    let again = seats.close();
    if again > 0 {
        let opening = ChunkSource::open_at(&link.registry, &plan.module, head.clone(), 0, digests);
        let mut source = intake.until_stopped(audience.starving(opening)).await??;
        for index in 0..again {
            intake.until_stopped(pace.wait(head.layout.len_of(index))).await?;
            intake.put(publisher, &mut source, formats, || seats.send_again()).await?;
        }
    }
    Ok(())
}

async fn first_round(
    publisher: &Publisher,
    source: &mut ChunkSource,
    formats: &[Format],
    pace: &mut Pace,
    intake: &Intake,
    seats: &Seats,
) -> Result<(), SendError> {
    let layout = publisher.plan.head.layout;
    for index in 0..layout.total() {
        intake.until_stopped(pace.wait(layout.len_of(index))).await?;
        intake.put(publisher, source, formats, || seats.send()).await?;
    }
    Ok(())
}
