//! Certificates for trials.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;
use wasmproxy::tls::Identity;

use super::server::repository;

/// An authority of a test's own.
pub struct Pki {
    dir: PathBuf,
    _temporary: Option<TempDir>,
}

impl Pki {
    /// A new authority, which nobody trusts yet.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("pki-").tempdir().unwrap();
        run(dir.path(), &[]);
        Self { dir: dir.path().to_owned(), _temporary: Some(dir) }
    }

    /// The one in this folder: a server's own.
    pub fn within(dir: PathBuf) -> Self {
        Self { dir, _temporary: None }
    }

    /// The authority's certificate, in PEM.
    pub fn ca(&self) -> Vec<u8> {
        std::fs::read(self.ca_file()).unwrap()
    }

    /// The file that holds it.
    pub fn ca_file(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    /// A certificate for a server or a client by that name, reached by `alt_names` (`DNS:localhost,IP:127.0.0.1`).
    pub fn issue(&self, name: &str, alt_names: &str) -> Identity {
        run(&self.dir, &[name, alt_names]);
        let read = |extension| std::fs::read(self.dir.join(name).with_extension(extension)).unwrap();
        Identity { certificate: read("crt"), key: read("key") }
    }
}

fn run(dir: &Path, arguments: &[&str]) {
    let status = Command::new(repository().join("tests/lab/pki.sh")).arg(dir).args(arguments).status().unwrap();
    assert!(status.success(), "no certificate: see above");
}
