//! Runs a process as in a container: with mounts, a user, an environment and a hostname of its own, on the machine's network.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use k8s_openapi::api::core::v1::{Container, Pod};
use tokio::process::Command;

use super::environment::Variables;

/// The user that the image says.
const IMAGE_USER: i64 = 65532;
const SCRIPT: &str = include_str!("sandbox.sh");

/// A folder of the machine that a container sees.
pub struct Mount {
    pub source: PathBuf,
    pub path: String,
    pub read_only: bool,
}

/// What a container is made of.
pub struct Sandbox {
    /// An empty folder, where its root filesystem is put together.
    pub root: PathBuf,
    pub hostname: String,
    pub mounts: Vec<Mount>,
    pub user: User,
    pub read_only_root: bool,
    pub working_dir: String,
}

/// Whom a container runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    uid: i64,
    gid: i64,
    /// Owns the volumes, and is a group of every process.
    pub fs_group: Option<i64>,
    new_privileges: bool,
    capabilities: bool,
}

impl User {
    /// As the Pod and the container say, or else the image.
    ///
    /// # Errors
    /// Where that may not be.
    pub fn of(pod: &Pod, container: &Container) -> Result<Self, String> {
        let pod = pod.spec.as_ref().and_then(|spec| spec.security_context.clone()).unwrap_or_default();
        let own = container.security_context.clone().unwrap_or_default();
        let uid = own.run_as_user.or(pod.run_as_user).unwrap_or(IMAGE_USER);
        if uid == 0 && own.run_as_non_root.or(pod.run_as_non_root) == Some(true) {
            return Err("container's runAsUser breaks non-root policy".to_owned());
        }
        let dropped = own.capabilities.and_then(|capabilities| capabilities.drop).unwrap_or_default();
        Ok(Self {
            uid,
            gid: own.run_as_group.or(pod.run_as_group).unwrap_or(uid),
            fs_group: pod.fs_group,
            new_privileges: own.allow_privilege_escalation != Some(false),
            capabilities: !dropped.contains(&"ALL".to_owned()),
        })
    }

    /// How a process becomes that user, and ends with the thread that started it, however that ends.
    fn command(&self) -> Vec<String> {
        let mut words = vec!["setpriv".to_owned(), "--pdeathsig=KILL".to_owned()];
        // In a user namespace of our own there is no other user to become.
        if is_root() {
            let groups = self.fs_group.map_or("--clear-groups".to_owned(), |group| format!("--groups={group}"));
            words.extend([format!("--reuid={}", self.uid), format!("--regid={}", self.gid), groups]);
        }
        if !self.new_privileges {
            words.push("--no-new-privs".to_owned());
        }
        if !self.capabilities {
            words.extend(["--bounding-set=-all".to_owned(), "--inh-caps=-all".to_owned()]);
        }
        words
    }
}

/// Whether this process may do anything on this machine.
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

impl Sandbox {
    /// How these words are run in it. Every program on the way becomes the next, so that the process is that of the last.
    pub fn command(&self, words: &[String], variables: &Variables) -> Command {
        let access = |read_only| if read_only { "ro" } else { "rw" };
        let mut command = Command::new("unshare");
        command.args(if is_root() { &[][..] } else { &["--map-root-user"] });
        command.args(["--mount", "--uts", "--propagation", "private", "sh", "-c", SCRIPT, "sandbox"]);
        command
            .arg(&self.root)
            .arg(env!("CARGO_BIN_EXE_wasmproxy"))
            .arg(&self.hostname)
            .arg(access(self.read_only_root));
        for Mount { source, path, read_only } in &self.mounts {
            command.arg::<&Path>(source).arg(path).arg(access(*read_only));
        }
        command.arg("--").args(self.user.command()).args(["env", "-i", "-C", &self.working_dir]);
        command.args(variables.iter().map(|(name, value)| format!("{name}={value}"))).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).process_group(0);
        command
    }
}
