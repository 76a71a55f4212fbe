//! Artifacts as people's tools push them: each layout that is understood, and what is refused.

mod layers;

use std::fs;

use tempfile::TempDir;
use wasmproxy::registry::{RegistryError, Unsupported};

use super::{module, pull, refusal, registry, resolve};
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

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.dir.path().join(name), bytes).unwrap();
    }

    /// `oras push` under this name, with a config of this media type where there is one.
    async fn push(&self, name: &str, config: Option<&str>, files: &[&str]) {
        let config = config.map(|media_type| format!("--config=config.json:{media_type}"));
        let name = format!("{}/{name}", self.server.host());
        let options = ["push", "--plain-http"].into_iter().chain(config.as_deref());
        self.oras(&options.chain([&*name]).chain(files.iter().copied()).collect::<Vec<_>>()).await;
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
        match refusal(&registry(&self.server.host()), name).await {
            RegistryError::UnsupportedArtifact { why, .. } => why,
            other => panic!("{other}"),
        }
    }
}
