//! From a wish to a pass: asks the registry what the reference means, and sends it.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    link::Link,
    pace::Pace,
    pass::Pass,
    progress::Source,
    publisher::{Audience, Publisher, SendError},
    schedule::Active,
};
use crate::{
    protocol::{ChunkHead, ChunkSize, Layout},
    registry::Module,
};

/// One wish being fulfilled.
pub(super) struct Delivery {
    pub(super) link: Link,
    pub(super) active: Active,
    pub(super) chunk_size: ChunkSize,
    pub(super) pace: Option<u64>,
    /// What it is published to, where this pass says all that was declared of it.
    pub(super) target: Option<String>,
}

/// How a delivery ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// All chunks are acknowledged.
    Sent,
    /// It is what was published there already.
    Unchanged,
    /// It did not get through.
    Failed(SendError),
    /// The module cannot be cut into chunks of the configured size.
    Uncut(String),
}

impl Delivery {
    /// Fulfils the wish, and says how long that took.
    pub(super) async fn run(self) -> (Outcome, Duration) {
        let began = Instant::now();
        let outcome = self.deliver().await.unwrap_or_else(Outcome::Failed);
        (outcome, began.elapsed())
    }

    async fn deliver(self) -> Result<Outcome, SendError> {
        let Self { link, active, .. } = &self;
        let Active { wish, seats, stop, .. } = active;
        let (reference, app_name) = (&wish.reference, wish.app_name.as_str());
        link.tracker.resolving(reference, app_name);
        let resolved = stop.run_until_cancelled(link.registry.resolve(reference)).await;
        let answer = resolved.ok_or(SendError::Stopped)?;
        // A device must not be able to unsettle the channel by what it asks for: that is said of the artifact alone.
        if wish.source == Source::Declared || answer.is_ok() {
            link.tracker.registry(&answer);
        }
        let module = answer?;
        if self.is_published(&module) && seats.close_if_empty() {
            link.tracker.unchanged(reference, app_name);
            return Ok(Outcome::Unchanged);
        }
        let layout = match Layout::new(module.size, self.chunk_size.get()) {
            Ok(layout) => layout,
            Err(error) => return Ok(Outcome::Uncut(format!("{reference} cannot be sent: {error}"))),
        };
        let head = ChunkHead { app_name: app_name.to_owned(), digest: module.digest, layout };
        link.tracker.streaming(active, &head, self.target.as_deref());
        tracing::info!(%reference, digest = %module.digest, bytes = module.size, chunks = layout.total(), "streaming");
        let (head, audience) = (Arc::new(head), Audience::Everyone(active.id));
        let publisher = Publisher { link: link.clone(), module, head, audience, stop: stop.clone() };
        let (formats, pace) = (wish.formats.clone(), Pace::new(self.pace));
        Pass { publisher, formats, seats: seats.clone(), pace }.run().await?;
        Ok(Outcome::Sent)
    }

    fn is_published(&self, module: &Module) -> bool {
        self.link.tracker.artifact(&self.active.wish.reference).is_some_and(|artifact| {
            artifact.completed.is_some()
                && artifact.digest == Some(module.digest)
                && self.target.as_ref().is_some_and(|target| artifact.target == *target)
        })
    }
}
