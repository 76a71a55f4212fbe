//! What a connection says about itself.

use std::time::SystemTime;

use super::version::Version;

/// Where a connection stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// Being established; publishes wait.
    Connecting {
        /// Why the last attempt failed, or why the connection was lost. None before the first attempt has ended.
        failure: Option<ConnectFailure>,
        /// Attempts that failed, and connections that broke, since the last that held for 30 s.
        attempts: u32,
    },
    /// Established, and the broker has confirmed every subscription that is not optional: what is published to them from now
    /// on is heard.
    Connected {
        /// The version spoken.
        version: Version,
        /// Since when.
        since: SystemTime,
        /// The largest packet that the broker takes, in bytes, headers included. MQTT 3.1.1 does not announce one.
        max_packet_size: Option<u32>,
    },
    /// Ended for good, by [`Client::disconnect`](super::Client::disconnect) or because no client is left.
    Closed,
}

impl ConnectionState {
    /// Whether there is no connection, for this kind of reason.
    pub(super) fn fails_by(&self, kind: FailureKind) -> bool {
        matches!(self, Self::Connecting { failure: Some(failure), .. } if failure.kind == kind)
    }
}

/// Why there is no connection, for programs and for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectFailure {
    /// For programs.
    pub kind: FailureKind,
    /// For people: a sentence that names the broker and what to look at. It holds no credential.
    pub message: String,
}

/// What kept the connection from coming about, or ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// No TCP connection, no answer in time, or a broker that says it is not available.
    Unreachable,
    /// The broker refused user name, password or certificate.
    Unauthorized,
    /// No TLS: neither side's certificate convinced the other, or the port speaks something else.
    Tls,
    /// The broker speaks no version that we may use, or broke the protocol.
    Protocol,
    /// The broker refused the connection for another reason, such as the client id.
    Refused,
    /// Another client of the same id took the session (MQTT 5 only; on 3.1.1 it looks like [`Lost`](Self::Lost)).
    TakenOver,
    /// The broker denied a subscription.
    SubscriptionDenied,
    /// The connection broke, or went silent.
    Lost,
}
