//! How a device reaches its channel, and how much it puts up with.

use std::time::Duration;

use super::patience;
use crate::{
    digest::Digest,
    mqtt::{BrokerUrl, Credentials, MqttOptions, Qos, Session, VersionPreference},
    protocol::{ChunkSize, DeviceName, MAX_APP_NAME, TopicPrefix, Topics, request::Wanted, topics::InvalidTopic},
    tls::TlsOptions,
};

/// The largest packet that is accepted, in bytes: the largest chunk there is, in base64, with all that is said besides.
const MAX_PACKET: usize = (ChunkSize::MAX as usize).div_ceil(3) * 4 + 6 * MAX_APP_NAME + 4096;

/// What a device listens to. In either case it hears notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    /// What is sent to everyone: a thousand devices are served by one pass.
    Everything,
    /// What is sent to this device alone, which asks for everything by number and sets its own pace: for one that sleeps,
    /// or is slow, or where anybody may publish on the channel and only the devices' own topics are the worker's.
    OwnTopic,
}

/// How a device reaches its channel, and how much it puts up with.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// The broker.
    pub url: BrokerUrl,
    /// User name and password.
    pub credentials: Option<Credentials>,
    /// Whom to trust; of use with an `mqtts` URL only.
    pub tls: TlsOptions,
    /// Which version of MQTT to speak.
    pub version: VersionPreference,
    /// Who we are to the broker. A second connection of the same name throws the first one out.
    pub client_id: String,
    /// Which channel.
    pub prefix: TopicPrefix,
    /// Who asks. Two devices of one name on one channel disturb each other.
    pub device: DeviceName,
    /// How chunks should come. On MQTT 3.1.1 [`Wanted::Raw`] means [`Wanted::Json`].
    pub format: Wanted,
    /// What to listen to.
    pub listen: Listen,
    /// How messages are subscribed to.
    pub qos: Qos,
    /// How long to go on without progress.
    pub timeout: Duration,
    /// After so long without a chunk what is missing is asked for; up to half as much is added at random, and more where
    /// single chunks take as long.
    pub silence: Duration,
    /// The SHA-256 of the only module that is accepted, where there is one: any that the reference means, else.
    pub digest: Option<Digest>,
    /// The largest module that is accepted, in bytes.
    pub max_size: u64,
}

impl FetchOptions {
    /// How long to go on without progress, unless something else is said.
    pub const TIMEOUT: Duration = Duration::from_secs(120);

    /// How long a silence is after which to ask again, unless something else is said.
    pub const SILENCE: Duration = patience::SILENCE;

    /// The largest module that is accepted unless something else is said, in bytes.
    pub const MAX_SIZE: u64 = 1 << 30;

    /// Options with defaults: no credentials, the system's trust, version `Auto`, a client id of our own, JSON,
    /// everything listened to, QoS 1, [`Self::TIMEOUT`], [`Self::SILENCE`] and [`Self::MAX_SIZE`].
    pub fn new(url: BrokerUrl, prefix: TopicPrefix, device: DeviceName) -> Self {
        Self {
            url,
            credentials: None,
            tls: TlsOptions::default(),
            version: VersionPreference::Auto,
            client_id: random_client_id(),
            prefix,
            device,
            format: Wanted::Json,
            listen: Listen::Everything,
            qos: Qos::AtLeastOnce,
            timeout: Self::TIMEOUT,
            silence: Self::SILENCE,
            digest: None,
            max_size: Self::MAX_SIZE,
        }
    }

    /// The connection that these options mean.
    pub(super) fn mqtt(&self, topics: &DeviceTopics) -> MqttOptions {
        let mut filters = vec![&topics.own, &topics.complete, &topics.error];
        if self.listen == Listen::Everything {
            filters.push(&topics.chunk);
            // A device that wants JSON has no use for the same chunks a second time. One that wants binary may get JSON
            // all the same: where it or the other end speaks MQTT 3.1.1, or because that is what goes to everyone.
            if self.format == Wanted::Raw && self.version != VersionPreference::V311 {
                filters.push(&topics.raw);
            }
        }
        MqttOptions {
            credentials: self.credentials.clone(),
            tls: self.tls.clone(),
            version: self.version,
            session: Session::Clean,
            subscriptions: filters.into_iter().map(|filter| (filter.clone(), self.qos)).collect(),
            max_packet_size: MAX_PACKET,
            ..MqttOptions::new(self.url.clone(), self.client_id.clone())
        }
    }
}

/// What every broker must accept (MQTT 3.1.1, MQTT-3.1.3-5): at most 23 letters and digits.
fn random_client_id() -> String {
    let random = std::iter::repeat_with(fastrand::alphanumeric).take(16);
    "wpfetch".chars().chain(random).collect()
}

/// The topics that one device has to do with.
#[derive(Debug)]
pub(super) struct DeviceTopics {
    pub requests: String,
    pub receipt: String,
    /// Chunks that this device asked for by number.
    pub own: String,
    pub chunk: String,
    pub raw: String,
    pub complete: String,
    pub error: String,
}

impl DeviceTopics {
    pub fn new(prefix: &TopicPrefix, device: &DeviceName) -> Result<Self, InvalidTopic> {
        let topics = Topics::new(prefix);
        Ok(Self {
            receipt: topics.receipt(device)?,
            own: topics.device(device)?,
            requests: topics.requests,
            chunk: topics.chunk,
            raw: topics.raw,
            complete: topics.complete,
            error: topics.error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{ChunkHead, Format, Layout};

    #[test]
    fn the_largest_chunk_fits_into_the_largest_packet() {
        let layout = Layout::new(u64::from(ChunkSize::MAX), ChunkSize::MAX).unwrap();
        // The longest way to write a character in JSON takes six.
        let head = ChunkHead { app_name: "\u{1}".repeat(MAX_APP_NAME), digest: crate::digest::Digest::of(b""), layout };
        assert!(head.max_payload(Format::Full) < MAX_PACKET);
    }

    #[test]
    fn a_client_id_is_what_every_broker_accepts_and_used_once() {
        let (id, other) = (random_client_id(), random_client_id());
        assert!(id.len() <= 23 && id.chars().all(|c| c.is_ascii_alphanumeric()), "{id}");
        assert_ne!(id, other);
    }
}
