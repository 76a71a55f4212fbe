//! Artifacts as people's tools push them: each layout that is understood, and what is refused.

mod images;
mod layers;
mod layout;
mod unpacking;

use std::{fs, path::PathBuf};

use tempfile::TempDir;
use wasmproxy::registry::{Cache, Registry, RegistryError, RegistryOptions, Unsupported};

use super::{module, options, pull, refusal, registry, resolve};
use crate::lab::{self, tool};

/// A registry, and a folder with the files that are pushed to it.
struct Workshop {
    server: lab::Registry,
    dir: TempDir,
}

impl Workshop {
    /// There are `add.wasm`, a module; and `config.json`, with nothing in it.
    async fn start() -> Self {
        let server = lab::Registry::start().await;
        let dir = tempfile::Builder::new().prefix("workshop-").tempdir().unwrap();
        let workshop = Self { server, dir };
        workshop.write("add.wasm", &module(1000));
        workshop.write("config.json", b"{}");
        workshop
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file, in a folder that may be new.
    fn write(&self, name: &str, bytes: &[u8]) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), bytes).unwrap();
    }

    /// `oras push` under this name, with a config of this media type where there is one.
    async fn push(&self, name: &str, config: Option<&str>, files: &[&str]) {
        let config = config.map(|media_type| format!("--config=config.json:{media_type}"));
        let name = format!("{}/{name}", self.server.host());
        let options = ["push", "--plain-http"].into_iter().chain(config.as_deref());
        self.oras(&options.chain([&*name]).chain(files.iter().copied()).collect::<Vec<_>>()).await;
    }

    /// `skopeo copy` of an image to this name, in this format.
    async fn copy(&self, image: &str, name: &str, format: &str) {
        let target = format!("docker://{}/{name}", self.server.host());
        let options = ["--insecure-policy", "copy", "--all", "--dest-tls-verify=false", "--format", format];
        tool("skopeo", self.dir.path(), &[&options[..], &[image, &target]].concat()).await;
    }

    /// `tar` of these files of a folder, with these options, into a file.
    async fn tar(&self, file: &str, folder: &str, arguments: &[&str]) {
        tool("tar", self.dir.path(), &[&["-c", "-f", file, "-C", folder], arguments].concat()).await;
    }

    /// A client that unpacks images.
    fn unpacking(&self) -> Registry {
        self.unpacking_from(&self.server.host())
    }

    /// The same, of a registry that is reached at another address.
    fn unpacking_from(&self, host: &str) -> Registry {
        let cache = Some(Cache::open(self.path("cache"), 1 << 30).unwrap());
        Registry::new(RegistryOptions { cache, ..options(host) }).unwrap()
    }

    async fn oras(&self, arguments: &[&str]) {
        tool("oras", self.dir.path(), arguments).await;
    }

    /// What is under this name: the media type of its module, and the bytes.
    async fn pull(&self, name: &str) -> (String, Vec<u8>) {
        let registry = registry(&self.server.host());
        let media_type = resolve(&registry, name).await.unwrap().media_type;
        (media_type, pull(&registry, name).await.unwrap())
    }

    /// Why nothing is to be had under this name.
    async fn why(&self, name: &str) -> Unsupported {
        why(&registry(&self.server.host()), name).await
    }
}

/// What an artifact is instead of one that can be used.
async fn why(registry: &Registry, name: &str) -> Unsupported {
    match refusal(registry, name).await {
        RegistryError::UnsupportedArtifact { why, .. } => why,
        other => panic!("{other}"),
    }
}
