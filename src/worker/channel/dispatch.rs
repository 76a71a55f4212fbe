//! A channel that decides, and begins nothing: see [`crate::hot`].

use super::{Channel, Legacy};
use crate::{
    mqtt::Message,
    worker::{Progress, WorkerConfig, tracker::Tracker},
};

/// A channel whose broker does not answer: what it hears is decided, and waits.
pub struct Dispatch(Channel);

impl Dispatch {
    /// Opens the channel, within a runtime of tokio's; `None` where it cannot come of the configuration.
    pub fn open(config: WorkerConfig) -> Option<Self> {
        Channel::open(config, Tracker::new(Progress::default()), &mut Legacy::default()).ok().map(Self)
    }

    /// From the bytes of a request to what becomes of it; a refusal is on its way then, unless the same was just said.
    pub fn hear(&mut self, message: &Message) {
        self.0.heard(message);
    }
}
