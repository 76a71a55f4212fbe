//! Publishes chunks as they are read, several at once, and counts those that the broker has acknowledged.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    cut::PacketsTooSmall,
    fingerprint::Fingerprint,
    link::Link,
    progress::{Failure, FailureReason},
    source::{ChunkSource, EncodedChunk},
    turns::{Claim, Share},
    wish::{Active, Plan},
};
use crate::{
    backoff::Backoff,
    mqtt::{Ack, PublishError},
    protocol::{Format, layout::InvalidLayout},
    registry::{Reference, RegistryError},
};

/// The pauses before a chunk is sent again that a quota of the broker was in the way of.
const QUOTA_PAUSES: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));

/// Why chunks did not all get through.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Devices may keep what was said before it could be verified.
    #[error(
        "{reference}: what was said of it before was not what its digest says: nothing is said in plain until old devices have forgotten it"
    )]
    Unlike { reference: Reference },
    #[error("{reference} cannot be sent: {source}")]
    Uncut { reference: Reference, source: InvalidLayout },
    #[error(transparent)]
    PacketsTooSmall(#[from] PacketsTooSmall),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error("stopped")]
    Stopped,
}

impl SendError {
    /// What to report; `None` where it was our own doing.
    pub(super) fn failure(&self) -> Option<Failure> {
        let reason = match self {
            Self::Registry(error) => return Some(error.into()),
            // What was asked for is held, and served once nobody can mix it with what was said before.
            Self::Unlike { .. } | Self::Stopped | Self::Publish(PublishError::Closed) => return None,
            Self::Uncut { .. } => FailureReason::UnsupportedArtifact,
            Self::PacketsTooSmall(_) => FailureReason::ChunkTooLarge,
            Self::Publish(error) => broker_reason(error),
        };
        Some(Failure { reason, message: self.to_string() })
    }
}

fn broker_reason(error: &PublishError) -> FailureReason {
    match error {
        PublishError::TooLarge { .. } | PublishError::SeemsTooLarge { .. } => FailureReason::ChunkTooLarge,
        PublishError::NotAuthorized { .. } | PublishError::SeemsDenied { .. } => FailureReason::BrokerUnauthorized,
        PublishError::QuotaExceeded => FailureReason::BrokerQuotaExceeded,
        _ => FailureReason::BrokerRejected,
    }
}

/// A chunk, and the share of the budget that it takes until it is acknowledged.
type Ready = (EncodedChunk, Share);

/// Who is to hear the chunks.
pub(super) enum Audience {
    /// Everyone, in a pass.
    Everyone(Active),
    /// One device, on its own topic.
    Device(String),
}

impl Audience {
    /// What the next chunk to it has to say for itself.
    fn claim(&self) -> Claim {
        match self {
            Self::Everyone(pass) => Claim::Pass { since: pass.ticket.since, left: pass.left() },
            Self::Device(_) => Claim::Pull,
        }
    }
}

/// Where chunks go.
pub(super) struct Publisher {
    pub(super) link: Link,
    pub(super) plan: Arc<Plan>,
    pub(super) audience: Audience,
    /// No chunk is begun any more once this is cancelled; those under way are waited for.
    pub(super) stop: CancellationToken,
}

/// Where chunks are put in: one may wait here while those before it are on their way.
pub(super) struct Intake {
    chunks: mpsc::Sender<Ready>,
    /// Ends with the publisher, too: where nothing can be published there is nothing to wait for.
    stop: CancellationToken,
}

impl Publisher {
    /// Runs `feed`, which puts chunks in, while publishing what it puts in; ends when all is acknowledged.
    pub(super) async fn run<T>(&self, feed: impl AsyncFnOnce(Intake) -> Result<T, SendError>) -> Result<T, SendError> {
        let (chunks, ready) = mpsc::channel(1);
        let stop = self.stop.child_token();
        let publish = async {
            let published = self.publish(ready).await;
            stop.cancel();
            published
        };
        let (fed, published) = tokio::join!(feed(Intake { chunks, stop: stop.clone() }), publish);
        // Where publishing fails, feeding only knows that it was stopped.
        published?;
        fed
    }

    async fn publish(&self, mut ready: mpsc::Receiver<Ready>) -> Result<(), PublishError> {
        let mut in_flight = FuturesUnordered::new();
        let mut published = vec![false; self.plan.head.layout.total() as usize];
        let mut open = true;
        while open || !in_flight.is_empty() {
            tokio::select! {
                biased;
                Some(acknowledged) = in_flight.next() => {
                    let (index, len, no_subscribers) = acknowledged?;
                    let again = published.get_mut(index as usize).is_none_or(|done| std::mem::replace(done, true));
                    let pass = match &self.audience {
                        Audience::Everyone(pass) if !again => Some(pass.ticket.id),
                        _ => None,
                    };
                    self.link.tracker.acknowledged(&self.plan.module.reference, pass, len, no_subscribers);
                }
                chunk = ready.recv(), if open => match chunk {
                    Some(chunk) => in_flight.push(self.publish_chunk(chunk)),
                    None => open = false,
                },
            }
        }
        Ok(())
    }

    async fn publish_chunk(&self, (chunk, share): Ready) -> Result<(u32, usize, bool), PublishError> {
        let EncodedChunk { index, len, payloads, .. } = chunk;
        let mut no_subscribers = true;
        for (format, payload) in payloads {
            let topic = match &self.audience {
                Audience::Everyone(_) => self.link.topic(format),
                Audience::Device(topic) => topic,
            };
            let ack = self.publish_payload(topic, format, index, payload).await?;
            no_subscribers &= ack.no_subscribers;
        }
        drop(share);
        Ok((index, len, no_subscribers))
    }

    /// Publishes, again and again while the broker's quota is used up: that passes.
    async fn publish_payload(
        &self,
        topic: &str,
        format: Format,
        index: u32,
        payload: Bytes,
    ) -> Result<Ack, PublishError> {
        let mut pauses = QUOTA_PAUSES;
        loop {
            let published = self.link.publish_chunk(topic, &self.plan.head, format, index, payload.clone()).await;
            let Err(error @ PublishError::QuotaExceeded) = published else { return published };
            if let Audience::Everyone(pass) = &self.audience {
                let failure = Failure { reason: broker_reason(&error), message: error.to_string() };
                self.link.tracker.held_up(&self.plan.module.reference, pass.ticket.id, failure);
            }
            let pause = tokio::time::sleep(pauses.fail(fastrand::f64()));
            // Nobody waits for more of it: this one may be missing, too.
            self.stop.run_until_cancelled(pause).await.ok_or(PublishError::Closed)?;
        }
    }
}

impl Intake {
    /// Reads the next chunk of `source` in `formats` once it is its turn, and puts it in; `on_its_way` is called just before.
    pub(super) async fn put(
        &self,
        publisher: &Publisher,
        source: &mut ChunkSource,
        formats: &[Format],
        on_its_way: impl FnOnce(&Fingerprint),
    ) -> Result<(), SendError> {
        let put = async {
            // Who has nothing to send yet must not hold what others could use.
            source.ready().await?;
            let turn = publisher.link.turns.take(publisher.audience.claim(), formats.len());
            let share = turn.await.ok_or(SendError::Stopped)?;
            let chunk = source.next(formats).await?;
            let place = self.chunks.reserve().await.map_err(|_| SendError::Stopped)?;
            on_its_way(&chunk.fingerprint);
            place.send((chunk, share));
            Ok(())
        };
        self.until_stopped(put).await?
    }

    /// Waits for `future`, unless there is nothing more to send.
    pub(super) async fn until_stopped<T>(&self, future: impl Future<Output = T>) -> Result<T, SendError> {
        self.stop.run_until_cancelled(future).await.ok_or(SendError::Stopped)
    }
}
