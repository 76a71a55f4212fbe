//! The distribution project's registry, as Debian packages it.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use oci_client::{
    Client, Reference,
    client::{ClientConfig, ClientProtocol, Config, ImageLayer},
    manifest::OciImageIndex,
    secrets::RegistryAuth,
};
use tempfile::TempDir;
use wasmproxy::digest::Digest;

use super::certificates::Pair;

/// What registries keep; several can serve the same.
pub struct Storage {
    folder: TempDir,
}

/// A registry that ends with the value.
pub struct RegistryServer {
    /// `127.0.0.1:port`.
    pub host: String,
    process: Child,
}

/// How a registry is served.
#[derive(Default)]
pub struct Serving<'a> {
    /// A user name and a password that it asks for.
    pub basic: Option<(&'a str, &'a str)>,
    /// The token service that it sends clients to, and the certificate of its key.
    pub token: Option<(&'a str, &'a Path)>,
    /// Its certificate.
    pub tls: Option<&'a Pair>,
    /// The authority whose client certificates it asks for.
    pub client_ca: Option<&'a Path>,
}

impl Storage {
    pub fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    /// A registry that everybody may read and write.
    pub fn serve_openly(&self) -> RegistryServer {
        self.serve(&Serving::default())
    }

    /// Returns once the registry listens.
    pub fn serve(&self, serving: &Serving<'_>) -> RegistryServer {
        let folder = TempDir::new_in(&self.folder).unwrap().keep();
        let config = folder.join("config.yml");
        fs::write(&config, serving.config(&self.blobs(), &folder).to_string()).unwrap();
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (send, listening) = mpsc::channel();
        let log = BufReader::new(process.stderr.take().unwrap());
        thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("listening on ") {
                    let _ = send.send(rest.split(['"', ',']).next().unwrap().to_owned());
                }
            }
        });
        let host = listening.recv_timeout(Duration::from_secs(30)).unwrap();
        RegistryServer { host, process }
    }

    /// The file that holds a blob.
    pub fn blob(&self, digest: Digest) -> PathBuf {
        let hex = digest.hex();
        self.blobs().join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(&hex).join("data")
    }

    fn blobs(&self) -> PathBuf {
        self.folder.path().join("blobs")
    }
}

impl Serving<'_> {
    fn config(&self, blobs: &Path, folder: &Path) -> serde_json::Value {
        let mut config = serde_json::json!({
            "version": 0.1,
            "log": { "level": "info", "accesslog": { "disabled": true } },
            "storage": { "filesystem": { "rootdirectory": blobs } },
            "http": { "addr": "127.0.0.1:0" },
        });
        if let Some((user, password)) = self.basic {
            let hashed = Command::new("htpasswd").args(["-Bbn", user, password]).output().unwrap().stdout;
            let path = folder.join("htpasswd");
            fs::write(&path, hashed).unwrap();
            config["auth"] = serde_json::json!({ "htpasswd": { "realm": "tests", "path": path } });
        }
        if let Some((realm, certificate)) = self.token {
            config["auth"] = serde_json::json!({ "token": {
                "realm": realm, "service": "tests", "issuer": "tests", "rootcertbundle": certificate,
            }});
        }
        if let Some(pair) = self.tls {
            config["http"]["tls"] = serde_json::json!({ "certificate": pair.certificate, "key": pair.key });
        }
        if let Some(ca) = self.client_ca {
            config["http"]["tls"]["clientcas"] = serde_json::json!([ca]);
        }
        config
    }
}

impl RegistryServer {
    /// Pushes layers, each a media type and its bytes, under `wasm/add:1` or the like.
    pub async fn push(&self, name: &str, layers: &[(&str, &[u8])]) {
        let layers: Vec<_> =
            layers.iter().map(|(kind, data)| ImageLayer::new(data.to_vec(), (*kind).to_owned(), None)).collect();
        let config = Config::new(b"{}".to_vec(), "application/vnd.wasm.config.v0+json".to_owned(), None);
        let reference = self.reference(name);
        client().push(&reference, &layers, config, &RegistryAuth::Anonymous, None).await.unwrap();
    }

    /// Pushes an index.
    pub async fn push_index(&self, name: &str, index: serde_json::Value) {
        let index: OciImageIndex = serde_json::from_value(index).unwrap();
        client().push_manifest_list(&self.reference(name), &RegistryAuth::Anonymous, index).await.unwrap();
    }

    /// The digest of a manifest.
    pub async fn digest(&self, name: &str) -> Digest {
        let reference = self.reference(name);
        client().fetch_manifest_digest(&reference, &RegistryAuth::Anonymous).await.unwrap().parse().unwrap()
    }

    fn reference(&self, name: &str) -> Reference {
        format!("{}/{name}", self.host).parse().unwrap()
    }
}

fn client() -> Client {
    Client::new(ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() })
}

impl Drop for RegistryServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
