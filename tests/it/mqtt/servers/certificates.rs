//! A private certificate authority.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// `ca.crt`; `server.crt` and `server.key` for 127.0.0.1 and localhost; `client.crt` and `client.key`.
pub struct Certificates(TempDir);

impl Certificates {
    pub fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        openssl(
            folder.path(),
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ca \
            -keyout ca.key -out ca.crt -addext basicConstraints=critical,CA:true",
        );
        for (name, extension) in
            [("server", "subjectAltName=IP:127.0.0.1,DNS:localhost"), ("client", "extendedKeyUsage=clientAuth")]
        {
            openssl(
                folder.path(),
                &format!(
                    "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
                -subj /CN={name} -keyout {name}.key -out {name}.crt -CA ca.crt -CAkey ca.key -addext {extension} \
                -addext basicConstraints=critical,CA:false"
                ),
            );
        }
        Self(folder)
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    pub fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.path(file)).unwrap()
    }
}

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").current_dir(folder).args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
}
