//! mosquitto.

use std::path::PathBuf;

use tempfile::TempDir;
use wasmproxy::tls::{Identity, TlsOptions};

use super::{Server, Transport, User, user_options};

/// What kind of broker a test wants. The default lets anybody in, over plain TCP.
#[derive(Clone, Debug, Default)]
pub struct BrokerConfig {
    users: Vec<User>,
    transport: Transport,
    lines: Vec<&'static str>,
}

impl BrokerConfig {
    /// Lets this user in, and of those not named nobody.
    pub fn user(mut self, name: &'static str, password: &'static str) -> Self {
        self.users.push((name, password));
        self
    }

    /// How clients connect.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// A line for the listener in mosquitto.conf: `max_packet_size 1000`, `protocol websockets`, `acl_file …`.
    pub fn line(mut self, line: &'static str) -> Self {
        self.lines.push(line);
        self
    }

    /// Starts it on a free port.
    pub async fn start(self) -> Broker {
        let dir = tempfile::Builder::new().prefix("broker-").tempdir().unwrap();
        let server = Server::start("broker.sh", dir.path(), self.options()).await;
        Broker { port: server.port(), config: self, server: Some(server), dir }
    }

    fn options(&self) -> Vec<String> {
        let mut options = user_options(&self.users);
        options.extend(self.lines.iter().flat_map(|line| ["--config".to_owned(), (*line).to_owned()]));
        match self.transport {
            Transport::Plain => {}
            Transport::Tls => options.push("--tls".into()),
            Transport::MutualTls => options.push("--mutual-tls".into()),
        }
        options
    }
}

/// A broker of a test's own. It ends when dropped.
pub struct Broker {
    config: BrokerConfig,
    port: u16,
    server: Option<Server>,
    dir: TempDir,
}

impl Broker {
    /// One that lets anybody in, over plain TCP.
    pub async fn start() -> Self {
        BrokerConfig::default().start().await
    }

    /// Where it listens, on 127.0.0.1; the same after [`Self::start_again`].
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `mqtt://127.0.0.1:port`, or `mqtts`.
    pub fn url(&self) -> String {
        let scheme = if self.config.transport == Transport::Plain { "mqtt" } else { "mqtts" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// The first of those whom it lets in, where it does not let in anybody.
    pub fn user(&self) -> Option<User> {
        self.config.users.first().copied()
    }

    /// What a client needs to trust this broker and, with mutual TLS, to be trusted.
    pub fn tls(&self) -> TlsOptions {
        if self.config.transport == Transport::Plain {
            return TlsOptions::default();
        }
        let read = |name| std::fs::read(self.pki().join(name)).unwrap();
        let identity = (self.config.transport == Transport::MutualTls)
            .then(|| Identity { certificate: read("client.crt"), key: read("client.key") });
        TlsOptions { ca: Some(read("ca.crt")), identity, ..TlsOptions::default() }
    }

    /// The folder with the certificates of a broker behind TLS: `ca.crt`, `server.crt`, with mutual TLS `client.crt`
    /// and `client.key`.
    pub fn pki(&self) -> PathBuf {
        self.dir.path().join("pki")
    }

    /// The running server, for its log or a signal.
    ///
    /// # Panics
    /// Between [`Self::stop`] and [`Self::start_again`].
    pub fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    /// Ends it as an administrator would; clients see their connections close.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Starts it on the same port after [`Self::stop`] or a `KILL`: with its users, settings and certificates, and
    /// with its sessions only where it was configured with `persistence true` and a location.
    pub async fn start_again(&mut self) {
        self.stop();
        let mut options = self.config.options();
        options.extend(["--port".into(), self.port.to_string()]);
        self.server = Some(Server::start("broker.sh", self.dir.path(), options).await);
    }

    /// The same with another configuration: a password that was changed, say.
    pub async fn start_again_as(&mut self, config: BrokerConfig) {
        self.config = config;
        self.start_again().await;
    }
}
