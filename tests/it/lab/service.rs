//! What a broker and a registry have in common.

use std::path::PathBuf;

use tempfile::TempDir;
use wasmproxy::tls::{Identity, TlsOptions};

use super::{Server, Transport};

/// A server with a folder of its own, which can go and come back. It ends when dropped.
pub struct Service {
    script: &'static str,
    options: Vec<String>,
    transport: Transport,
    port: u16,
    server: Option<Server>,
    dir: TempDir,
}

impl Service {
    /// Starts a script of `tests/lab/` with these options on a free port.
    pub(super) async fn start(script: &'static str, transport: Transport, options: Vec<String>) -> Self {
        let dir = tempfile::Builder::new().prefix(&script.replace(".sh", "-")).tempdir().unwrap();
        let server = Server::start(script, dir.path(), with_transport(transport, &options)).await;
        Self { script, options, transport, port: server.port(), server: Some(server), dir }
    }

    /// Where it listens, on 127.0.0.1; the same after [`Self::start_again`].
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:port`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// How it is reached.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// What a client needs to trust this server and, with mutual TLS, to be trusted.
    pub fn tls(&self) -> TlsOptions {
        if self.transport == Transport::Plain {
            return TlsOptions::default();
        }
        let read = |name| std::fs::read(self.pki().join(name)).unwrap();
        let identity = (self.transport == Transport::MutualTls)
            .then(|| Identity { certificate: read("client.crt"), key: read("client.key") });
        TlsOptions { ca: Some(read("ca.crt")), identity, ..TlsOptions::default() }
    }

    /// The folder with the certificates of a server behind TLS: `ca.crt`, `server.crt`, with mutual TLS `client.crt`
    /// and `client.key`.
    pub fn pki(&self) -> PathBuf {
        self.dir().join("pki")
    }

    /// The folder with all that it keeps.
    pub(super) fn dir(&self) -> PathBuf {
        self.dir.path().to_owned()
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

    /// Ends it without giving it a chance to say goodbye or to save anything.
    pub fn kill(&mut self) {
        self.server().signal("KILL");
        self.stop();
    }

    /// Starts it on the same port after [`Self::stop`] or [`Self::kill`], with its settings, its certificates and
    /// what it has saved.
    pub async fn start_again(&mut self) {
        self.stop();
        let mut options = with_transport(self.transport, &self.options);
        options.extend(["--port".into(), self.port.to_string()]);
        self.server = Some(Server::start(self.script, self.dir.path(), options).await);
    }

    /// The same with other settings.
    pub(super) async fn start_again_with(&mut self, transport: Transport, options: Vec<String>) {
        (self.transport, self.options) = (transport, options);
        self.start_again().await;
    }
}

fn with_transport(transport: Transport, options: &[String]) -> Vec<String> {
    let option = match transport {
        Transport::Plain => None,
        Transport::Tls => Some("--tls".to_owned()),
        Transport::MutualTls => Some("--mutual-tls".to_owned()),
    };
    options.iter().cloned().chain(option).collect()
}
