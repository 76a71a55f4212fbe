//! A pass: one module, to everyone who listens, chunk by chunk.

use super::{
    fingerprint::Fingerprint,
    holds::{Begun, Parts},
    link::Link,
    pace::Pace,
    publisher::{Audience, Intake, Publisher, SendError},
    source::ChunkSource,
    wish::Active,
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
    /// Sends all chunks, then again those that somebody who joined late has missed, then says that it is complete. Says
    /// besides what it has left behind at those who have not heard all.
    ///
    /// The last chunk of the first round leaves only after the digest of the whole has been verified.
    pub(super) async fn run(self) -> (Result<(), SendError>, Parts) {
        let Self { link, active, mut pace } = self;
        let mut parts = Parts::Sound(active.begun);
        let (plan, stop, formats) = (active.plan.clone(), active.stop.clone(), active.ticket.wish.formats.clone());
        let publisher = Publisher { link, plan, audience: Audience::Everyone(active), stop };
        let sent = publisher.run(async |intake| feed(&publisher, &formats, &mut pace, &intake, &mut parts).await).await;
        let (link, head) = (&publisher.link, &publisher.plan.head);
        if sent.is_ok()
            && formats.iter().any(|&format| format != Format::Plain)
            && let Ok(notice) = serde_json::to_vec(&Complete::from(&**head))
        {
            link.publish_notice(&link.topics.complete, notice).await;
        }
        (sent, parts)
    }
}

async fn feed(
    publisher: &Publisher,
    formats: &[Format],
    pace: &mut Pace,
    intake: &Intake,
    parts: &mut Parts,
) -> Result<(), SendError> {
    let Publisher { link, plan, audience: Audience::Everyone(active), .. } = publisher else { return Ok(()) };
    let (head, buffers) = (&plan.head, link.buffers.join());
    let opening = async {
        match link.known.get(head) {
            Some(known) => ChunkSource::open_at(&link.registry, &plan.module, head.clone(), 0, known).await,
            None => ChunkSource::open(&link.registry, &plan.module, head.clone()).await,
        }
    };
    let source = intake.until_stopped(active.starving.during(opening)).await??;
    let mut source = source.telling(active.starving.clone()).using(buffers.clone());
    let first_round = first_round(publisher, active, &mut source, formats, pace, intake).await;
    *parts = left_behind(&source, active, &first_round);
    first_round?;
    let known = source.verified();
    link.known.put(head, known.clone());
    let again = active.seats.close();
    if again > 0 {
        let opening = ChunkSource::open_at(&link.registry, &plan.module, head.clone(), 0, known);
        let source = intake.until_stopped(active.starving.during(opening)).await??;
        let mut source = source.telling(active.starving.clone()).using(buffers);
        for index in 0..again {
            intake.until_stopped(pace.wait(head.layout.len_of(index))).await?;
            intake.put(publisher, &mut source, formats, |_| active.seats.send_again()).await?;
        }
    }
    Ok(())
}

async fn first_round(
    publisher: &Publisher,
    active: &Active,
    source: &mut ChunkSource,
    formats: &[Format],
    pace: &mut Pace,
    intake: &Intake,
) -> Result<(), SendError> {
    let layout = publisher.plan.head.layout;
    for index in 0..layout.total() {
        // At once where every chunk is known, or else before the first one more is said than last time.
        let is_time = |begun: &Begun| begun.chunks == index || (source.is_checked() && index == 0);
        if let Some(begun) = active.begun.filter(is_time)
            && source.first(begun.chunks) != Some(begun)
        {
            let error = SendError::Unlike { reference: publisher.plan.module.reference.clone() };
            tracing::warn!("{error}");
            return Err(error);
        }
        intake.until_stopped(pace.wait(layout.len_of(index))).await?;
        let log = active.log.as_ref().filter(|_| !source.is_checked()).cloned();
        let on_its_way = |fingerprint: &Fingerprint| {
            if let Some(log) = log {
                log.note(fingerprint);
            }
            active.seats.send();
        };
        intake.put(publisher, source, formats, on_its_way).await?;
    }
    Ok(())
}

/// What a first round leaves behind, after an earlier one that may have begun.
fn left_behind(source: &ChunkSource, active: &Active, first_round: &Result<(), SendError>) -> Parts {
    match first_round {
        Ok(()) => Parts::Sound(None),
        Err(SendError::Unlike { .. }) => Parts::Corrupt,
        // What is checked chunk by chunk has not left.
        Err(SendError::Registry(RegistryError::DigestMismatch { .. } | RegistryError::ChunkMismatch { .. }))
            if !source.is_checked() =>
        {
            Parts::Corrupt
        }
        Err(_) => {
            let sent = active.seats.sent();
            let unmet = active.begun.filter(|begun| begun.chunks >= sent);
            Parts::Sound(unmet.or_else(|| source.first(sent).filter(|_| !source.is_checked())))
        }
    }
}
