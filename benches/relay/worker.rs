//! The worker that is measured, in a process of its own: the program that `WORKER` names, or the release build.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use crate::process;

/// How it is started.
#[derive(Clone, Debug)]
pub struct Settings<'a> {
    /// The broker's URL.
    pub broker: &'a str,
    /// The registry's host and port.
    pub registry: &'a str,
    /// What the registry's certificate is below.
    pub ca: &'a Path,
    /// Where modules are kept.
    pub cache: &'a Path,
    /// Bytes of a module in a chunk.
    pub chunk_size: u32,
    /// Bytes a second after the first 500 chunks.
    pub pace: &'a str,
}

/// The channel that it serves.
pub const CHANNEL: &str = "bench";

/// What its topics begin with.
pub const PREFIX: &str = "channels/bench/messages";

/// A running worker. It ends when dropped.
pub struct Worker {
    child: Child,
    started: Instant,
    lines: Receiver<(Instant, String)>,
    /// From its start until its requests were subscribed.
    pub until_subscribed: Duration,
}

impl Worker {
    /// Starts it, and waits until it has subscribed.
    pub fn start(settings: &Settings<'_>) -> Self {
        let program = env::var_os("WORKER").unwrap_or_else(|| env!("CARGO_BIN_EXE_wasmproxy").into());
        let mut command = Command::new(program);
        command.args(["worker", "--log-format", "json"]).env_clear().current_dir(settings.cache);
        command.env("PROXY_MQTT_ADDRESS", settings.broker).env("PROXY_CHANNEL_ID", CHANNEL);
        command.env("PROXY_REGISTRY_URL", settings.registry).env("SSL_CERT_FILE", settings.ca);
        command.env("PROXY_CACHE_DIR", settings.cache).env("PROXY_CACHE_SIZE", "16Gi");
        command.env("PROXY_CHUNK_SIZE", settings.chunk_size.to_string()).env("PROXY_HTTP_PORT", "0");
        command.env("PROXY_PACE", settings.pace);
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn().unwrap();
        let said = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in said.lines() {
                let Ok(line) = line else { return };
                if sender.send((Instant::now(), line)).is_err() {
                    return;
                }
            }
        });
        let mut worker = Self { child, started, lines, until_subscribed: Duration::ZERO };
        worker.until_subscribed = worker.says("connected") - worker.started;
        worker
    }

    /// Waits until its log has a line with this message; returns when that was.
    fn says(&self, message: &str) -> Instant {
        let message = format!(r#""message":"{message}""#);
        let found = self.lines.iter().find(|(_, line)| line.contains(&message));
        found.expect("the worker has ended").0
    }

    /// The most memory that it has had, in bytes.
    pub fn peak_memory(&self) -> u64 {
        process::memory(self.child.id(), "VmHWM")
    }

    /// What it has by now, in bytes: all, and what is neither its program nor a file.
    pub fn memory(&self) -> (u64, u64) {
        let pid = self.child.id();
        (process::memory(pid, "VmRSS"), process::memory(pid, "RssAnon"))
    }

    /// The time that it has had a CPU.
    pub fn cpu(&self) -> Duration {
        process::cpu(self.child.id())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-s", "TERM", &pid]).status();
        let _ = self.child.wait();
    }
}

/// A folder that is empty, for a cache.
pub fn folder() -> tempfile::TempDir {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(target).unwrap();
    tempfile::Builder::new().prefix("cache-").tempdir_in(target).unwrap()
}
