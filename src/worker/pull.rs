//! Chunks that a device asks for by number, on its own topic.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    known::Fingerprints,
    link::Link,
    look::look,
    publisher::{Audience, Intake, Publisher, SendError},
    source::ChunkSource,
    wish::Plan,
};
use crate::{
    digest::Digest,
    protocol::{Descriptor, DeviceName, ErrorCode, Format, Missing},
    registry::Reference,
};

/// How long requests of one device are gathered before they are answered as one.
const GATHER: Duration = Duration::from_millis(500);

/// The most chunks that one device is sent in answer to what was gathered.
const MAX_CHUNKS: usize = 256;

/// What one device misses of one module.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Pull {
    pub(super) device: DeviceName,
    /// The reference as the device wrote it.
    pub(super) app_name: String,
    pub(super) reference: Reference,
    pub(super) digest: Digest,
    pub(super) chunk_size: u32,
    pub(super) format: Format,
}

/// Gathers what devices ask for.
#[derive(Debug, Default)]
pub(super) struct Pulls(HashMap<Pull, Gathered>);

#[derive(Debug)]
struct Gathered {
    due: Instant,
    chunks: BTreeSet<u32>,
}

impl Pulls {
    /// Takes a request in; `false` where `capacity` others are being gathered already.
    pub(super) fn ask(&mut self, pull: Pull, missing: &Missing, capacity: usize, now: Instant) -> bool {
        if self.0.len() >= capacity && !self.0.contains_key(&pull) {
            return false;
        }
        let gathered = self.0.entry(pull).or_insert_with(|| Gathered { due: now + GATHER, chunks: BTreeSet::new() });
        let room = MAX_CHUNKS.saturating_sub(gathered.chunks.len());
        gathered.chunks.extend(missing.chunks.iter().take(room));
        true
    }

    /// Takes out what was gathered long enough.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<(Pull, BTreeSet<u32>)> {
        self.0.extract_if(|_, gathered| gathered.due <= now).map(|(pull, gathered)| (pull, gathered.chunks)).collect()
    }

    /// When something will be due.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.0.values().map(|gathered| gathered.due).min()
    }
}

/// Why a device did not get its chunks.
#[derive(Debug, thiserror::Error)]
pub(super) enum PullError {
    #[error("{1}")]
    Refused(ErrorCode, &'static str),
    #[error("{1}")]
    Changed(Descriptor, &'static str),
    #[error(transparent)]
    Send(#[from] SendError),
}

impl Pull {
    /// Sends `chunks` to the device, each checked against what a verified reading of the module left.
    pub(super) async fn run(
        &self,
        link: Link,
        chunks: BTreeSet<u32>,
        stop: CancellationToken,
    ) -> Result<(), PullError> {
        let host = self.reference.host();
        let looking = async {
            let _slot = link.slots.at(host).await;
            look(&link, &self.reference, &self.app_name).await
        };
        let plan = stop.run_until_cancelled(looking).await.ok_or(SendError::Stopped)??;
        let layout = plan.head.layout;
        let now = Descriptor::new(plan.module.digest, layout);
        if plan.module.digest != self.digest {
            return Err(PullError::Changed(now, "the reference means another module by now: begin anew"));
        }
        if layout.chunk_size() != self.chunk_size {
            return Err(PullError::Changed(now, "the module is cut into other chunks by now: begin anew"));
        }
        // Others may have asked under this device's name: what there is, it gets.
        let chunks: BTreeSet<u32> = chunks.range(..layout.total()).copied().collect();
        if chunks.is_empty() {
            let message = "`chunks` names chunks that the module does not have";
            return Err(PullError::Refused(ErrorCode::BadRequest, message));
        }
        let topic = link
            .topics
            .device(&self.device)
            .map_err(|_| PullError::Refused(ErrorCode::BadRequest, "`device` makes too long a topic"))?;
        // Whoever reads the module for the fingerprints of its chunks takes a slot for all who wait for them.
        let surveying = link.known.get_or_survey(&link.registry, &link.slots, &plan.module, &plan.head);
        let surveyed = stop.run_until_cancelled(surveying).await.ok_or(SendError::Stopped)?;
        let known = surveyed.map_err(SendError::Registry)?;
        let _slot = stop.run_until_cancelled(link.slots.at(host)).await.ok_or(SendError::Stopped)?;
        let publisher = Publisher { link: link.clone(), plan: Arc::new(plan), audience: Audience::Device(topic), stop };
        publisher.run(async |intake| feed(&publisher, &chunks, &known, self.format, &intake).await).await?;
        Ok(())
    }
}

async fn feed(
    publisher: &Publisher,
    chunks: &BTreeSet<u32>,
    known: &Fingerprints,
    format: Format,
    intake: &Intake,
) -> Result<(), SendError> {
    let Publisher { link, plan, .. } = publisher;
    let Plan { module, head, .. } = &**plan;
    let buffers = link.buffers.join();
    let mut source: Option<ChunkSource> = None;
    for &index in chunks {
        let mut reading = match source.take() {
            Some(mut reading) if reading.is_nearer(index) => {
                intake.until_stopped(reading.pass_over(index)).await??;
                reading
            }
            _ => {
                let opening = ChunkSource::open_at(&link.registry, module, head.clone(), index, known.clone());
                intake.until_stopped(opening).await??.using(buffers.clone())
            }
        };
        intake.put(publisher, &mut reading, &[format], |_| ()).await?;
        source = Some(reading);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ChunkRanges;

    fn pull(device: &str) -> Pull {
        Pull {
            device: device.parse().unwrap(),
            app_name: "a".to_owned(),
            reference: Reference::parse("a", "registry.example").unwrap(),
            digest: Digest::of(b"a"),
            chunk_size: 10,
            format: Format::Full,
        }
    }

    fn missing(device: &str, chunks: impl IntoIterator<Item = u32>) -> Missing {
        Missing {
            device: device.parse().unwrap(),
            digest: Digest::of(b"a"),
            chunk_size: 10,
            chunks: ChunkRanges::first_of(chunks).unwrap(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_one_device_asks_within_half_a_second_is_one_answer() {
        let mut pulls = Pulls::default();
        assert!(pulls.ask(pull("d"), &missing("d", [1, 2]), 10, Instant::now()));
        tokio::time::advance(GATHER / 2).await;
        assert!(pulls.ask(pull("d"), &missing("d", [2, 7]), 10, Instant::now()));
        assert!(pulls.take_due(Instant::now()).is_empty());
        tokio::time::advance(GATHER / 2).await;
        assert_eq!(pulls.take_due(Instant::now()), [(pull("d"), BTreeSet::from([1, 2, 7]))]);
        assert_eq!(pulls.wake_at(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_gathered_is_bounded() {
        let mut pulls = Pulls::default();
        for first in 0..100 {
            pulls.ask(pull("d"), &missing("d", first * 64..(first + 1) * 64), 1, Instant::now());
        }
        assert!(!pulls.ask(pull("e"), &missing("e", [0]), 1, Instant::now()));
        tokio::time::advance(GATHER).await;
        assert_eq!(pulls.take_due(Instant::now())[0].1.len(), MAX_CHUNKS);
    }
}
