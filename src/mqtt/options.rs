//! What a connection is made of.

use std::{fmt, sync::Arc, time::Duration};

use rustls::ClientConfig;

use super::{
    error::ConfigError,
    message::{MAX_STRING, Qos, encodable},
    url::BrokerUrl,
    version::VersionPreference,
};
use crate::tls::TlsOptions;

/// The largest packet that MQTT can express, in bytes (section 2.1.4 of MQTT 5, 2.2.3 of 3.1.1).
const LARGEST_PACKET: usize = 268_435_455;
/// More in flight at QoS 2 loses messages on brokers with a short inflight queue (mosquitto 2.0 with MQTT 3.1.1), and more
/// than 4 gains nothing.
const LARGEST_WINDOW: u16 = 10;

/// Where to connect, as whom, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MqttOptions {
    /// The broker.
    pub url: BrokerUrl,
    /// Who we are to the broker; its session belongs to this name. A second connection of the same name throws the
    /// first one out.
    pub client_id: String,
    /// User name and password.
    pub credentials: Option<Credentials>,
    /// Whom to trust; of use with an `mqtts` URL only.
    pub tls: TlsOptions,
    /// Which version of MQTT to speak.
    pub version: VersionPreference,
    /// What the broker keeps for us while we are away.
    pub session: Session,
    /// Topic filters, subscribed to on every connection. Without all of them there is no connection.
    pub subscriptions: Vec<(String, Qos)>,
    /// Further topic filters, which the broker may deny: that is warned of, and the connection goes on without them.
    pub optional_subscriptions: Vec<(String, Qos)>,
    /// Publishes at QoS 2 are to come. On a resumed session the packet identifiers that a former life of this client left
    /// half-way are then released first, so that the broker does not take new messages for old ones. False for brokers
    /// without QoS 2, which may break the connection on such a release.
    pub exactly_once: bool,
    /// The largest packet in or out, in bytes, headers included: 1 to 268,435,455. An MQTT 5 broker keeps larger ones back.
    /// One of 3.1.1 cannot know, and a single such message costs the connection, with it a persistent session and whatever
    /// else waits there.
    pub max_packet_size: usize,
    /// Publishes in flight at most: 1 to 10.
    pub window: u16,
    /// How often the broker is asked for a sign of life where nothing else is said: 1 to 65,535 s.
    pub keep_alive: Duration,
    /// Time for a connection to come about, CONNACK included; and the longest time that a write may make no progress at
    /// all, whatever the packet's size.
    pub timeout: Duration,
}

/// Who we are.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name.
    pub username: String,
    /// The password.
    pub password: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password.as_ref().map(|_| "…");
        f.debug_struct("Credentials").field("username", &self.username).field("password", &password).finish()
    }
}

/// What the broker keeps while we are away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    /// Subscriptions, and messages for them, are kept until we are back.
    Persistent {
        /// For how long on MQTT 5 (whole seconds; `Duration::MAX` for ever). On 3.1.1 the broker decides.
        expiry: Duration,
    },
    /// Nothing is kept.
    Clean,
}

impl MqttOptions {
    /// Options with defaults: no credentials, the system's trust, version `Auto`, a clean session without subscriptions,
    /// packets of at most 1 MiB, 4 in flight, keep-alive and timeout of 30 s.
    pub fn new(url: BrokerUrl, client_id: impl Into<String>) -> Self {
        Self {
            url,
            client_id: client_id.into(),
            credentials: None,
            tls: TlsOptions::default(),
            version: VersionPreference::Auto,
            session: Session::Clean,
            subscriptions: Vec::new(),
            optional_subscriptions: Vec::new(),
            exactly_once: false,
            max_packet_size: 1024 * 1024,
            window: 4,
            keep_alive: Duration::from_secs(30),
            timeout: Duration::from_secs(30),
        }
    }

    /// Every topic filter with its QoS, those first that must be granted.
    pub(super) fn all_subscriptions(&self) -> impl Iterator<Item = &(String, Qos)> {
        self.subscriptions.iter().chain(&self.optional_subscriptions)
    }

    /// Refuses what can never become a connection.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.client_id.is_empty() || !encodable(&self.client_id) {
            return Err(ConfigError::ClientId);
        }
        if let Some(credentials) = &self.credentials {
            let password_fits = credentials.password.as_ref().is_none_or(|password| password.len() <= MAX_STRING);
            if !encodable(&credentials.username) || !password_fits {
                return Err(ConfigError::Credentials);
            }
        }
        for (filter, _) in self.all_subscriptions() {
            if !encodable(filter) || !rumqttc_v5::valid_filter(filter) {
                return Err(ConfigError::TopicFilter(filter.clone()));
            }
        }
        if !(1..=LARGEST_PACKET).contains(&self.max_packet_size) {
            return Err(ConfigError::MaxPacketSize);
        }
        if !(1..=LARGEST_WINDOW).contains(&self.window) {
            return Err(ConfigError::Window);
        }
        if !(1..=u64::from(u16::MAX)).contains(&self.keep_alive.as_secs()) {
            return Err(ConfigError::KeepAlive);
        }
        if self.timeout.is_zero() {
            return Err(ConfigError::Timeout);
        }
        Ok(())
    }

    /// Checked options with their TLS configuration, made once for all connections.
    pub(super) fn settle(self) -> Result<Settled, ConfigError> {
        self.check()?;
        let tls = if self.url.is_tls() { Some(Arc::new(self.tls.client_config()?)) } else { None };
        Ok(Settled { options: self, tls })
    }
}

/// [`MqttOptions`] that passed their checks.
#[derive(Clone, Debug)]
pub(super) struct Settled {
    pub options: MqttOptions,
    /// Present where the URL says TLS.
    pub tls: Option<Arc<ClientConfig>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> MqttOptions {
        MqttOptions::new("mqtt://localhost".parse().unwrap(), "client")
    }

    #[test]
    fn the_defaults_are_valid() {
        options().check().unwrap();
    }

    #[test]
    fn the_debug_text_holds_no_password() {
        let credentials = Credentials { username: "user".into(), password: Some("hunter2".into()) };
        let options = MqttOptions { credentials: Some(credentials), ..options() };
        assert!(!format!("{options:?}").contains("hunter2"));
    }

    #[test]
    fn each_mistake_is_named() {
        let refused = |change: fn(&mut MqttOptions)| {
            let mut options = options();
            change(&mut options);
            options.check().unwrap_err()
        };
        assert!(matches!(refused(|o| o.client_id.clear()), ConfigError::ClientId));
        assert!(matches!(
            refused(|o| o.subscriptions.push(("a/#/b".into(), Qos::AtMostOnce))),
            ConfigError::TopicFilter(_)
        ));
        assert!(matches!(
            refused(|o| o.optional_subscriptions.push((String::new(), Qos::AtMostOnce))),
            ConfigError::TopicFilter(_)
        ));
        assert!(matches!(refused(|o| o.max_packet_size = 0), ConfigError::MaxPacketSize));
        assert!(matches!(refused(|o| o.max_packet_size = LARGEST_PACKET + 1), ConfigError::MaxPacketSize));
        assert!(matches!(refused(|o| o.window = 0), ConfigError::Window));
        assert!(matches!(refused(|o| o.window = 11), ConfigError::Window));
        assert!(matches!(refused(|o| o.keep_alive = Duration::from_millis(999)), ConfigError::KeepAlive));
        assert!(matches!(refused(|o| o.timeout = Duration::ZERO), ConfigError::Timeout));
        let username = "x".repeat(MAX_STRING + 1);
        let options = MqttOptions { credentials: Some(Credentials { username, password: None }), ..options() };
        assert!(matches!(options.check(), Err(ConfigError::Credentials)));
    }

    #[test]
    fn tls_material_is_only_looked_at_where_tls_is_spoken() {
        let tls = TlsOptions { ca: Some(b"no pem".to_vec()), ..TlsOptions::default() };
        let plain = MqttOptions { tls, ..options() };
        let secure = MqttOptions { url: "mqtts://localhost".parse().unwrap(), ..plain.clone() };
        assert!(plain.settle().is_ok());
        assert!(matches!(secure.settle(), Err(ConfigError::Tls(_))));
    }
}
