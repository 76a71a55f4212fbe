//! docker-registry.

use bytes::Bytes;
use oci_client::{
    Client, Reference,
    client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol, Config, ImageLayer},
    secrets::RegistryAuth,
};
use tempfile::TempDir;
use wasmproxy::{
    digest::Digest,
    tls::{TlsOptions, install_provider},
};

use super::{Server, Transport, User, user_options};

/// What kind of registry a test wants. The default lets anybody push and pull, over plain HTTP.
#[derive(Clone, Debug, Default)]
pub struct RegistryConfig {
    user: Option<User>,
    transport: Transport,
}

impl RegistryConfig {
    /// Lets this user push and pull, and nobody else.
    pub fn user(mut self, name: &'static str, password: &'static str) -> Self {
        self.user = Some((name, password));
        self
    }

    /// How clients connect: plainly or by TLS.
    pub fn transport(mut self, transport: Transport) -> Self {
        assert_ne!(transport, Transport::MutualTls, "docker-registry asks nobody for a certificate here");
        self.transport = transport;
        self
    }

    /// Starts it on a free port.
    pub async fn start(self) -> Registry {
        let dir = tempfile::Builder::new().prefix("registry-").tempdir().unwrap();
        let server = Server::start("registry.sh", dir.path(), self.options()).await;
        Registry { port: server.port(), config: self, server: Some(server), dir }
    }

    fn options(&self) -> Vec<String> {
        let mut options = user_options(self.user.as_slice());
        if self.transport == Transport::Tls {
            options.push("--tls".into());
        }
        options
    }
}

/// A registry of a test's own. It ends when dropped.
pub struct Registry {
    config: RegistryConfig,
    port: u16,
    server: Option<Server>,
    dir: TempDir,
}

impl Registry {
    /// One that lets anybody push and pull, over plain HTTP.
    pub async fn start() -> Self {
        RegistryConfig::default().start().await
    }

    /// `127.0.0.1:port`, as it stands in a reference.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What a client needs to trust a registry behind TLS.
    pub fn tls(&self) -> TlsOptions {
        TlsOptions { ca: Some(self.server().ca()), ..TlsOptions::default() }
    }

    /// The running server, for its log (which holds a line for each request) or a signal.
    ///
    /// # Panics
    /// Between [`Self::stop`] and [`Self::start_again`].
    pub fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    /// Ends it; what was pushed stays.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Starts it on the same port after [`Self::stop`] or a `KILL`, with all that was pushed.
    pub async fn start_again(&mut self) {
        self.stop();
        let mut options = self.config.options();
        options.extend(["--port".into(), self.port.to_string()]);
        self.server = Some(Server::start("registry.sh", self.dir.path(), options).await);
    }

    /// Pushes a module in the layout of the CNCF's guidance under `repository:tag`; returns the digest of the module.
    pub async fn push(&self, name: &str, module: impl Into<Bytes>) -> Digest {
        let layer = ImageLayer::new(module, "application/wasm".into(), None);
        let digest = layer.sha256_digest().parse().unwrap();
        let config = Config::new("{}", "application/vnd.wasm.config.v0+json".into(), None);
        self.push_image(name, &[layer], config).await;
        digest
    }

    /// Pushes layers and a config of any kind under `repository:tag`.
    pub async fn push_image(&self, name: &str, layers: &[ImageLayer], config: Config) {
        let reference: Reference = format!("{}/{name}", self.host()).parse().unwrap();
        self.client().push(&reference, layers, config, &self.auth(), None).await.unwrap();
    }

    /// Changes the last byte of a blob where it is kept: the registry goes on serving it under the old digest.
    pub fn corrupt(&self, digest: Digest) {
        let hex = digest.hex();
        let blob = format!("data/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
        let path = self.dir.path().join(blob);
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }

    /// A client with what it takes to reach this registry.
    pub fn client(&self) -> Client {
        install_provider();
        let mut config = ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() };
        if self.config.transport == Transport::Tls {
            config.protocol = ClientProtocol::Https;
            let ca = Certificate { encoding: CertificateEncoding::Pem, data: self.server().ca() };
            config.extra_root_certificates = vec![ca];
        }
        Client::try_from(config).unwrap()
    }

    /// What this registry wants to see.
    pub fn auth(&self) -> RegistryAuth {
        match self.config.user {
            Some((name, password)) => RegistryAuth::Basic(name.into(), password.into()),
            None => RegistryAuth::Anonymous,
        }
    }
}
