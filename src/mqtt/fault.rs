//! Why a link ended, and what that means: for the version to try next, for the link's state, and for people.

use std::io;

use rumqttc_v5::TlsError;

use super::{
    options::MqttOptions,
    state::{ConnectFailure, FailureKind},
    version::Verdict,
};

/// How far a connection had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// No CONNACK yet.
    Opening,
    /// After CONNACK.
    Open,
}

/// Why a link ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// No TCP connection: the system's words.
    Unreachable(String),
    /// No CONNACK in time.
    NoAnswer,
    /// TLS could not be established or was broken off: the TLS library's words.
    Tls(String),
    /// Hung up after CONNECT, without CONNACK.
    HungUp,
    /// CONNACK: the version is not spoken.
    VersionRefused,
    /// CONNACK: not with these credentials.
    Unauthorized(String),
    /// DISCONNECT: something was not allowed, or is not any more.
    Forbidden(String),
    /// CONNACK: not now.
    Unavailable(String),
    /// CONNACK: no, for another reason.
    Refused(String),
    /// Somebody does not keep to the protocol.
    Protocol(String),
    /// DISCONNECT 0x8E.
    TakenOver,
    /// SUBACK with a failure.
    SubscriptionDenied {
        /// The topic filter.
        filter: String,
        /// The reason code's name.
        reason: String,
    },
    /// The connection was closed or reset.
    Lost(String),
    /// Nothing came or went for too long.
    Silent(String),
    /// DISCONNECT with a reason that has nothing to do with what we sent.
    SentAway(String),
    /// The connection stands, but publishes are not acknowledged.
    Unresponsive,
    /// A packet of so many bytes arrived, more than we take. The broker keeps it in a persistent session, and sends it again
    /// on every connection that resumes it.
    Oversized(usize),
    /// The link's own state is of no use any more, as when a message kept for the next connection can never be sent.
    Unusable(String),
    /// Ended by our own DISCONNECT.
    Finished,
    /// Ended by ourselves, to come back as somebody else.
    Interrupted,
}

impl Fault {
    /// An I/O error, which TLS failures come as too.
    pub fn from_io(error: &io::Error, stage: Stage) -> Self {
        if let Some(tls) = tls_error(error) {
            return Self::Tls(tls_advice(tls));
        }
        match stage {
            Stage::Open if error.kind() == io::ErrorKind::TimedOut => Self::Silent("it took no more bytes".to_owned()),
            Stage::Open => Self::Lost(error.to_string()),
            Stage::Opening if error.kind() == io::ErrorKind::TimedOut => Self::NoAnswer,
            Stage::Opening => Self::HungUp,
        }
    }

    /// A failure of the TLS handshake.
    pub fn from_tls(error: &TlsError) -> Self {
        Self::Tls(match error {
            TlsError::Io(error) => match tls_error(error) {
                Some(tls) => tls_advice(tls),
                None => format!("{error}; does this port speak TLS?"),
            },
            TlsError::TLS(tls) => tls_advice(tls),
            other => other.to_string(),
        })
    }

    /// Whether the link can serve for the next connection.
    pub fn spares_link(&self) -> bool {
        !matches!(self, Self::Unusable(_) | Self::Protocol(_) | Self::Oversized(_))
    }

    /// Whether it may be the broker's answer to what we sent, once the connection stood.
    pub fn may_be_an_answer(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Forbidden(_) | Self::Unresponsive)
    }

    /// What it says about the version spoken, where the connection did not come about.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::VersionRefused => Verdict::Refused,
            Self::HungUp => Verdict::HungUp,
            Self::Unauthorized(_) | Self::Unavailable(_) | Self::Refused(_) => Verdict::Spoken,
            _ => Verdict::Silent,
        }
    }

    /// For people and programs.
    pub fn describe(&self, options: &MqttOptions) -> ConnectFailure {
        let broker = options.url.address();
        let id = &options.client_id;
        let (kind, message) = match self {
            Self::Unreachable(error) => (
                FailureKind::Unreachable,
                format!("cannot connect to the broker at {broker}: {error}; check its address, and that it runs"),
            ),
            Self::NoAnswer => (
                FailureKind::Unreachable,
                format!("the broker at {broker} did not answer within {} s", options.timeout.as_secs_f32()),
            ),
            Self::Tls(error) => (FailureKind::Tls, format!("no TLS connection to the broker at {broker}: {error}")),
            Self::HungUp if options.url.is_tls() => {
                (FailureKind::Protocol, format!("the broker at {broker} hung up instead of answering CONNECT"))
            }
            Self::HungUp => (
                FailureKind::Protocol,
                format!("the broker at {broker} hung up instead of answering CONNECT: if it wants TLS, use mqtts://"),
            ),
            Self::VersionRefused => {
                (FailureKind::Protocol, format!("the broker at {broker} does not speak this version of MQTT"))
            }
            Self::Unauthorized(reason) => (
                FailureKind::Unauthorized,
                format!(
                    "the broker at {broker} refused the user name or the password ({reason}): correct them, or set them"
                ),
            ),
            Self::Forbidden(reason) => (
                FailureKind::Unauthorized,
                format!(
                    "the broker at {broker} ended the connection ({reason}): see what the user may publish and subscribe to"
                ),
            ),
            Self::Unavailable(reason) => {
                (FailureKind::Unreachable, format!("the broker at {broker} is not available ({reason})"))
            }
            Self::Refused(reason) => {
                (FailureKind::Refused, format!("the broker at {broker} refused the client {id:?} ({reason})"))
            }
            Self::Protocol(error) => {
                (FailureKind::Protocol, format!("the broker at {broker} did not keep to the protocol: {error}"))
            }
            Self::TakenOver => (
                FailureKind::TakenOver,
                format!("another client took the id {id:?} at {broker}: only one may use it at a time"),
            ),
            Self::SubscriptionDenied { filter, reason } => (
                FailureKind::SubscriptionDenied,
                format!(
                    "the broker at {broker} denied the subscription to {filter} ({reason}): give the user read access"
                ),
            ),
            Self::Silent(error) => (FailureKind::Lost, format!("the connection to {broker} went silent: {error}")),
            Self::SentAway(reason) => {
                (FailureKind::Lost, format!("the broker at {broker} ended the connection ({reason})"))
            }
            Self::Lost(error) => (FailureKind::Lost, format!("the connection to {broker} was lost: {error}")),
            Self::Unresponsive => (FailureKind::Lost, format!("the broker at {broker} stopped acknowledging messages")),
            Self::Oversized(size) => (
                FailureKind::Lost,
                format!(
                    "somebody sent a message of {size} bytes to a topic that {id:?} listens to at {broker}, more than the {} \
                     allowed: find out who publishes there, and clear the message if it is retained",
                    options.max_packet_size
                ),
            ),
            Self::Unusable(error) => (FailureKind::Lost, format!("the connection to {broker} was given up: {error}")),
            Self::Finished | Self::Interrupted => (FailureKind::Lost, format!("the connection to {broker} was closed")),
        };
        ConnectFailure { kind, message }
    }
}

/// The TLS failure inside an I/O error, which may be wrapped in further ones.
fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    let inner = error.get_ref()?;
    inner.downcast_ref().or_else(|| tls_error(inner.downcast_ref()?))
}

/// What TLS says, and what to do about the usual cases.
fn tls_advice(error: &rustls::Error) -> String {
    use rustls::{AlertDescription as Alert, CertificateError as Certificate, Error};
    let advice = match error {
        // A bad signature is that of another authority of the same name.
        Error::InvalidCertificate(Certificate::UnknownIssuer | Certificate::BadSignature) => {
            "trust the authority that signed its certificate"
        }
        Error::InvalidCertificate(Certificate::NotValidForName | Certificate::NotValidForNameContext { .. }) => {
            "use the host name in its certificate"
        }
        Error::InvalidCertificate(Certificate::Expired | Certificate::ExpiredContext { .. }) => {
            "its certificate needs to be renewed"
        }
        Error::AlertReceived(Alert::CertificateRequired) => "it wants a client certificate",
        Error::AlertReceived(Alert::UnknownCA | Alert::BadCertificate | Alert::CertificateUnknown) => {
            "it does not trust our client certificate"
        }
        Error::InvalidMessage(_) => "does this port speak TLS?",
        _ => return error.to_string(),
    };
    format!("{error}; {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tls_failure_is_found_inside_an_io_error() {
        let tls = || io::Error::new(io::ErrorKind::InvalidData, rustls::Error::DecryptError);
        for error in [tls(), io::Error::other(tls())] {
            assert!(matches!(Fault::from_io(&error, Stage::Opening), Fault::Tls(_)));
        }
    }

    #[test]
    fn a_message_that_is_too_large_is_told_with_its_size_and_the_limit() {
        let options = MqttOptions::new("mqtt://localhost".parse().unwrap(), "client");
        let failure = Fault::Oversized(2_000_000).describe(&options);
        assert!(
            failure.message.contains("2000000 bytes") && failure.message.contains("1048576"),
            "{}",
            failure.message
        );
    }

    #[test]
    fn only_what_the_broker_says_about_the_version_speaks_about_the_version() {
        assert_eq!(Fault::VersionRefused.verdict(), Verdict::Refused);
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(Fault::from_io(&reset, Stage::Opening).verdict(), Verdict::HungUp);
        let stalled = io::Error::from(io::ErrorKind::TimedOut);
        for fault in [Fault::from_io(&stalled, Stage::Opening), Fault::NoAnswer, Fault::Tls(String::new())] {
            assert_eq!(fault.verdict(), Verdict::Silent);
        }
        assert_eq!(Fault::Unauthorized(String::new()).verdict(), Verdict::Spoken);
    }
}
