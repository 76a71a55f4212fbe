//! docker-registry.

use std::{
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use oci_client::{
    Client, Reference,
    client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol, Config, ImageLayer},
    manifest::OciImageIndex,
    secrets::RegistryAuth,
};
use wasmproxy::{digest::Digest, tls::install_provider};

use super::{Service, Transport, User, change_password, user_options};

/// What kind of registry a test wants. The default lets anybody push and pull, over plain HTTP.
#[derive(Clone, Debug, Default)]
pub struct RegistryConfig {
    user: Option<User>,
    token: Option<(String, PathBuf)>,
    transport: Transport,
}

impl RegistryConfig {
    /// Lets this user push and pull, and nobody else.
    pub fn user(mut self, name: &'static str, password: &'static str) -> Self {
        self.user = Some((name, password));
        self
    }

    /// Sends clients to this token service, whose key has a certificate below those in the file. It calls both itself
    /// and the issuer `lab`.
    pub fn token(mut self, realm: impl Into<String>, certificates: &Path) -> Self {
        self.token = Some((realm.into(), certificates.to_owned()));
        self
    }

    /// How clients connect.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Starts it on a free port.
    pub async fn start(self) -> Registry {
        let service = Service::start("registry.sh", self.transport, self.options()).await;
        Registry { config: self, service }
    }

    fn options(&self) -> Vec<String> {
        let mut options = user_options(self.user.as_slice());
        if let Some((realm, certificates)) = &self.token {
            options.extend(["--token".to_owned(), realm.clone(), certificates.display().to_string()]);
        }
        options
    }
}

/// A registry of a test's own. It ends when dropped.
pub struct Registry {
    config: RegistryConfig,
    service: Service,
}

impl Registry {
    /// One that lets anybody push and pull, over plain HTTP.
    pub async fn start() -> Self {
        RegistryConfig::default().start().await
    }

    /// Changes the user's password: the old one is none any more.
    pub fn change_password(&mut self, password: &'static str) {
        let (name, _) = self.config.user.unwrap();
        change_password("htpasswd", &["-b", "-B", "-C", "4"], &self.dir().join("htpasswd"), (name, password));
        self.config.user = Some((name, password));
    }

    /// [`Service::start_again`] with another configuration. What wants a token or a client certificate is pushed to
    /// before it does.
    pub async fn start_again_as(&mut self, config: RegistryConfig) {
        self.service.start_again_with(config.transport, config.options()).await;
        self.config = config;
    }

    /// Pushes a module in the layout of the CNCF's guidance under `repository:tag`; returns the digest of the module.
    pub async fn push(&self, name: &str, module: impl Into<Bytes>) -> Digest {
        self.push_layer(name, "application/wasm", module).await
    }

    /// The same with another media type.
    pub async fn push_layer(&self, name: &str, media_type: &str, layer: impl Into<Bytes>) -> Digest {
        let layer = ImageLayer::new(layer, media_type.into(), None);
        let digest = layer.sha256_digest().parse().unwrap();
        let config = Config::new("{}", "application/vnd.wasm.config.v0+json".into(), None);
        self.push_image(name, &[layer], config).await;
        digest
    }

    /// Pushes layers and a config of any kind under `repository:tag`.
    pub async fn push_image(&self, name: &str, layers: &[ImageLayer], config: Config) {
        self.client().push(&self.reference(name), layers, config, &self.auth(), None).await.unwrap();
    }

    /// Pushes an index under `repository:tag`.
    pub async fn push_index(&self, name: &str, index: OciImageIndex) {
        self.client().push_manifest_list(&self.reference(name), &self.auth(), index).await.unwrap();
    }

    /// The digest of a manifest or an index.
    pub async fn manifest_digest(&self, name: &str) -> Digest {
        let digest = self.client().fetch_manifest_digest(&self.reference(name), &self.auth()).await;
        digest.unwrap().parse().unwrap()
    }

    /// The file that holds a blob. The registry serves what is in it under the old digest.
    pub fn blob(&self, digest: Digest) -> PathBuf {
        let hex = digest.hex();
        self.dir().join(format!("data/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]))
    }

    /// Changes the last byte of a blob.
    pub fn corrupt(&self, digest: Digest) {
        let path = self.blob(digest);
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }

    /// What a reference to this registry is for the library.
    pub fn reference(&self, name: &str) -> Reference {
        format!("{}/{name}", self.host()).parse().unwrap()
    }

    /// A client with what it takes to reach this registry.
    pub fn client(&self) -> Client {
        install_provider();
        let mut config = ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() };
        if self.transport() != Transport::Plain {
            config.protocol = ClientProtocol::Https;
            let ca = Certificate { encoding: CertificateEncoding::Pem, data: self.tls().ca.unwrap() };
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

impl Deref for Registry {
    type Target = Service;

    fn deref(&self) -> &Service {
        &self.service
    }
}

impl DerefMut for Registry {
    fn deref_mut(&mut self) -> &mut Service {
        &mut self.service
    }
}
