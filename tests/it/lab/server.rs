//! One server, run by one of the scripts in `tests/lab/`.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::time::timeout;

use crate::waiting::PATIENCE;

/// A running script and what it says of its server. Dropped, it stops the server and waits for its end.
pub struct Server {
    child: Child,
    facts: HashMap<String, String>,
}

impl Server {
    /// Starts `tests/lab/{script}` in `dir` and returns when it is ready for clients.
    ///
    /// # Panics
    /// Where it does not start. The script says why on standard error.
    pub async fn start(script: &str, dir: &Path, options: Vec<String>) -> Self {
        let script = repository().join("tests/lab").join(script);
        let mut command = Command::new(&script);
        // The script stops when its standard input ends, and the kernel sees to that, even if this process is killed.
        command.arg(dir).arg("--until-eof").args(options).stdin(Stdio::piped()).stdout(Stdio::piped());
        let start = move || {
            let mut child = command.spawn().unwrap();
            let facts = read_facts(&mut child);
            (child, facts)
        };
        let (child, facts) = tokio::task::spawn_blocking(start).await.unwrap();
        let facts = facts.unwrap_or_else(|| panic!("{} did not start: see above", script.display()));
        Self { child, facts }
    }

    /// What the script says of its server under this name.
    pub fn fact(&self, name: &str) -> &str {
        &self.facts[name]
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.fact("PORT").parse().unwrap()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.fact("LOG")).unwrap()
    }

    /// Waits until it has logged something so many times since it was started.
    pub async fn until_it_logs(&self, text: &str, times: usize) {
        let logged = async {
            while self.log().matches(text).count() < times {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(timeout(PATIENCE, logged).await.is_ok(), "{text:?} is not in\n{}", self.log());
    }

    /// Sends its process a signal: `KILL`, or `STOP` and `CONT` for a server that hangs for a while.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, self.fact("PID")]).status().unwrap();
        assert!(status.success(), "no process {} to signal", self.fact("PID"));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // A test may have killed the server itself: its script then ends with an error, and that is no news.
        let _ = self.child.wait();
    }
}

/// The facts that the script prints before `ready`; `None` where it ends without.
fn read_facts(child: &mut Child) -> Option<HashMap<String, String>> {
    let mut facts = HashMap::new();
    for line in BufReader::new(child.stdout.as_mut()?).lines() {
        let line = line.unwrap();
        match line.split_once('=') {
            Some((name, value)) => facts.insert(name.to_owned(), value.to_owned()),
            None if line == "ready" => return Some(facts),
            None => None,
        };
    }
    None
}

/// A port of 127.0.0.1 that nobody listens on, below those that the kernel gives to outgoing connections.
pub fn free_port() -> u16 {
    let mut candidates = std::iter::repeat_with(|| fastrand::u16(10_000..30_000));
    candidates.find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

/// The folder of this repository.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
