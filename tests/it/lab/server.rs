//! One server, run by one of the scripts in `tests/lab/`.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

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

    /// The authority that signed its certificate, in PEM. For servers behind TLS only.
    pub fn ca(&self) -> Vec<u8> {
        std::fs::read(self.fact("CA")).unwrap()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.fact("LOG")).unwrap()
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

/// The folder of this repository.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
