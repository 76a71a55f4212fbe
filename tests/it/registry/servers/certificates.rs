//! Certificates of a test's own authority, made by `openssl`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

/// A certificate authority in a folder of its own.
pub struct Authority {
    folder: TempDir,
}

/// Where a certificate and its key are, in PEM.
pub struct Pair {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new() -> Self {
        let authority = Self { folder: TempDir::new().unwrap() };
        authority.request("ca", &["-addext", "basicConstraints=critical,CA:TRUE"]);
        authority
    }

    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// A certificate for 127.0.0.1, for a server or a client, with an RSA key.
    pub fn issue(&self, name: &str) -> Pair {
        let ca = self.certificate();
        let ca_key = self.folder.path().join("ca.key");
        let extensions = ["subjectAltName=IP:127.0.0.1", "basicConstraints=critical,CA:FALSE"];
        self.request(
            name,
            &["-CA", path(&ca), "-CAkey", path(&ca_key), "-addext", extensions[0], "-addext", extensions[1]],
        )
    }

    fn request(&self, name: &str, more: &[&str]) -> Pair {
        let certificate = self.folder.path().join(format!("{name}.crt"));
        let key = self.folder.path().join(format!("{name}.key"));
        let subject = format!("/CN={name}");
        let status = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", &subject])
            .args(["-out", path(&certificate), "-keyout", path(&key)])
            .args(more)
            .stderr(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "openssl makes a certificate");
        Pair { certificate, key }
    }
}

impl Pair {
    pub fn certificate(&self) -> Vec<u8> {
        fs::read(&self.certificate).unwrap()
    }

    pub fn key(&self) -> Vec<u8> {
        fs::read(&self.key).unwrap()
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
