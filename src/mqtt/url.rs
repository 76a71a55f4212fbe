//! Where a broker is: `mqtt://host:1883` or `mqtts://host:8883`.

use std::{fmt, str::FromStr};

use url::{Host, Url};

/// The address of a broker, and whether TLS is spoken there.
///
/// Schemes: `mqtt` and `tcp` mean plain TCP (default port 1883), `mqtts` and `ssl` mean TLS (default port 8883). It never
/// carries credentials, so it may be shown and logged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BrokerUrl {
    tls: bool,
    host: Host<String>,
    port: u16,
}

/// Why a text is no [`BrokerUrl`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBrokerUrl {
    /// It is no URL at all. The text is not repeated: it may hold a password.
    #[error("a broker's address looks like mqtt://host:1883 or mqtts://host:8883: {0}")]
    Malformed(url::ParseError),
    /// A scheme that is not spoken here.
    #[error("scheme {0:?} is not supported: use mqtt, mqtts, tcp or ssl")]
    Scheme(String),
    /// No host, or one with characters that no host has.
    #[error("a broker's address needs a host, as in mqtt://broker.example:1883")]
    Host,
    /// Port 0 cannot be connected to.
    #[error("port 0 cannot be connected to")]
    Port,
    /// A user name or password in the URL, where it would end up in logs.
    #[error("credentials do not belong into a broker's address: give user name and password separately")]
    UserInfo,
    /// A path, query or fragment, which plain MQTT has no use for.
    #[error("a broker's address ends after the port: remove the path, query or fragment")]
    Trailing,
}

impl BrokerUrl {
    /// The port of plain MQTT, registered with IANA.
    pub const DEFAULT_PORT: u16 = 1883;
    /// The port of MQTT over TLS, registered with IANA.
    pub const DEFAULT_TLS_PORT: u16 = 8883;

    /// Whether TLS is spoken.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// The host as a resolver and a certificate check want it: an IPv6 address without brackets.
    pub fn host(&self) -> String {
        match &self.host {
            Host::Domain(name) => name.clone(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        }
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host:port`, for messages.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl FromStr for BrokerUrl {
    type Err = InvalidBrokerUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(InvalidBrokerUrl::Malformed)?;
        let tls = match url.scheme() {
            "mqtt" | "tcp" => false,
            "mqtts" | "ssl" => true,
            other => return Err(InvalidBrokerUrl::Scheme(other.to_owned())),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidBrokerUrl::UserInfo);
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidBrokerUrl::Trailing);
        }
        let host = match url.host().ok_or(InvalidBrokerUrl::Host)? {
            Host::Domain(name) => domain_or_ipv4(name)?,
            address => address.to_owned(),
        };
        let port = url.port().unwrap_or(if tls { Self::DEFAULT_TLS_PORT } else { Self::DEFAULT_PORT });
        if port == 0 {
            return Err(InvalidBrokerUrl::Port);
        }
        Ok(Self { tls, host, port })
    }
}

/// The URL standard leaves the host of a scheme that it does not know unexamined; ours is a name or an address.
fn domain_or_ipv4(name: &str) -> Result<Host<String>, InvalidBrokerUrl> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if name.is_empty() || !name.chars().all(allowed) {
        return Err(InvalidBrokerUrl::Host);
    }
    Ok(name.parse().map_or_else(|_| Host::Domain(name.to_ascii_lowercase()), Host::Ipv4))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<BrokerUrl, InvalidBrokerUrl> {
        text.parse()
    }

    #[test]
    fn every_scheme_has_its_meaning_and_port() {
        for (text, shown) in [
            ("mqtt://broker.example", "mqtt://broker.example:1883"),
            ("tcp://localhost:1884", "mqtt://localhost:1884"),
            ("mqtts://Broker.Example/", "mqtts://broker.example:8883"),
            ("ssl://10.0.0.1:443", "mqtts://10.0.0.1:443"),
            ("mqtt://[::1]", "mqtt://[::1]:1883"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn an_ipv6_host_is_bare_and_its_address_bracketed() {
        let url = parse("mqtt://[::1]:1").unwrap();
        assert_eq!((url.host().as_str(), url.address().as_str()), ("::1", "[::1]:1"));
    }

    #[test]
    fn each_mistake_is_named() {
        for (text, error) in [
            ("localhost", InvalidBrokerUrl::Malformed(url::ParseError::RelativeUrlWithoutBase)),
            ("localhost:1883", InvalidBrokerUrl::Scheme("localhost".into())),
            ("http://localhost", InvalidBrokerUrl::Scheme("http".into())),
            ("ws://localhost", InvalidBrokerUrl::Scheme("ws".into())),
            ("mqtt://", InvalidBrokerUrl::Host),
            ("mqtt:broker", InvalidBrokerUrl::Trailing),
            ("mqtt://bro%20ker", InvalidBrokerUrl::Host),
            ("mqtt://broker:0", InvalidBrokerUrl::Port),
            ("mqtt://user@broker", InvalidBrokerUrl::UserInfo),
            ("mqtt://user:password@broker", InvalidBrokerUrl::UserInfo),
            ("mqtt://broker/topic", InvalidBrokerUrl::Trailing),
            ("mqtt://broker?x=1", InvalidBrokerUrl::Trailing),
            ("mqtt://broker#x", InvalidBrokerUrl::Trailing),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn no_error_repeats_a_password() {
        for text in ["mqtt://user:hunter2@broker", "mqtt://user:hunter2@broker:99999", "user:hunter2@broker"] {
            let error = parse(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_parses_to_the_same(tls: bool, host in "[a-z0-9][a-z0-9.-]{0,20}", port in 1u16..) {
            let scheme = if tls { "mqtts" } else { "mqtt" };
            let url = parse(&format!("{scheme}://{host}:{port}")).unwrap();
            prop_assert_eq!(parse(&url.to_string()).unwrap(), url.clone());
            prop_assert_eq!((url.is_tls(), url.port()), (tls, port));
        }

        #[test]
        fn no_text_breaks_the_parser(text in ".*") {
            let _ = parse(&text);
            let _ = parse(&format!("mqtt://{text}"));
        }
    }
}
