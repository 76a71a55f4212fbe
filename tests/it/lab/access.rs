//! How a server is reached, and who may.

use std::{
    path::Path,
    process::{Command, Stdio},
};

/// How a server is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// Plain TCP.
    #[default]
    Plain,
    /// TLS, with a certificate below the server's own authority.
    Tls,
    /// TLS, and the client shows a certificate below the same authority.
    MutualTls,
}

/// A user name and a password.
pub type User = (&'static str, &'static str);

/// `--user NAME:PASSWORD` for each, as the scripts want it.
pub(super) fn user_options(users: &[User]) -> Vec<String> {
    users.iter().flat_map(|(name, password)| ["--user".to_owned(), format!("{name}:{password}")]).collect()
}

/// Has a program write a user's password into a server's file.
pub(super) fn change_password(program: &str, options: &[&str], file: &Path, (name, password): User) {
    let status = Command::new(program).args(options).arg(file).args([name, password]).stderr(Stdio::null()).status();
    assert!(status.unwrap().success(), "{program} did not change a password");
}
