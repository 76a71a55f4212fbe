//! The program as a process.

use std::{
    process::{ExitStatus, Output, Stdio},
    sync::Mutex,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    sync::watch,
};

use crate::lab::{Broker, Registry};

/// The program with nothing in its environment.
pub fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wasmproxy"));
    command.args(arguments).env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// A worker's environment, in a working directory without a `config.toml`.
pub fn worker(variables: &[(&str, &str)]) -> Command {
    let mut command = program(&["worker", "--log-format", "json"]);
    command.current_dir(env!("CARGO_TARGET_TMPDIR"));
    command.env("PROXY_HTTP_HOST", "127.0.0.1").env("PROXY_HTTP_PORT", "0").envs(variables.iter().copied());
    command
}

/// A running process and what it says. It ends when dropped.
pub struct Process {
    child: Mutex<Child>,
    pid: u32,
    lines: watch::Receiver<Vec<Value>>,
}

impl Process {
    /// A worker of the channel `floor` between these two.
    pub fn between(broker: &Broker, registry: &Registry) -> Self {
        Self::run(&mut Self::command(broker, registry))
    }

    /// How [`Self::between`] is run.
    pub fn command(broker: &Broker, registry: &Registry) -> Command {
        worker(&[
            ("PROXY_MQTT_ADDRESS", &broker.url()),
            ("PROXY_REGISTRY_URL", &format!("http://{}", registry.host())),
            ("PROXY_CHANNEL_ID", "floor"),
        ])
    }

    /// Runs a command whose log lines are JSON.
    pub fn run(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let pid = child.id().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, lines) = watch::channel(Vec::new());
        tokio::spawn(async move {
            while let Ok(Some(line)) = said.next_line().await {
                // Shown where a test fails.
                eprintln!("{pid}: {line}");
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                sender.send_modify(|lines: &mut Vec<Value>| lines.push(line));
            }
        });
        Self { child: Mutex::new(child), pid, lines }
    }

    /// The first log line whose message begins like that, once it is there.
    ///
    /// # Panics
    /// Where the process ends without it.
    pub async fn line(&self, beginning: &str) -> Value {
        let begins = |line: &&Value| line["message"].as_str().is_some_and(|message| message.starts_with(beginning));
        let find = |lines: &Vec<Value>| lines.iter().find(begins).cloned();
        let mut lines = self.lines.clone();
        let found = lines.wait_for(|lines| find(lines).is_some()).await;
        found.ok().and_then(|lines| find(&lines)).unwrap_or_else(|| panic!("it ended without saying {beginning:?}"))
    }

    /// All lines so far, once they are as wanted.
    pub async fn lines_until(&self, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let mut lines = self.lines.clone();
        lines.wait_for(|lines| wanted(lines)).await.expect("it ended before that").clone()
    }

    /// Sends a signal: `TERM`, say.
    pub fn signal(&self, name: &str) {
        let status = std::process::Command::new("kill").args(["-s", name, &self.pid.to_string()]).status().unwrap();
        assert!(status.success(), "no process {} to signal", self.pid);
    }

    /// Waits for its end.
    pub async fn end(self) -> ExitStatus {
        let mut child = self.child.into_inner().unwrap();
        child.wait().await.unwrap()
    }

    /// The most memory that it has had so far, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kibibytes: u64 = peak.trim().strip_suffix(" kB").unwrap().parse().unwrap();
        kibibytes * 1024
    }
}

/// What a command says and how it ends.
pub async fn output(command: &mut Command) -> Output {
    command.output().await.unwrap()
}

/// The one line that a process says on standard error before it ends with this code.
pub async fn complaint(command: &mut Command, code: i32) -> String {
    let output = output(command).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.lines().count()), (Some(code), 1), "{said}");
    assert_eq!(output.stdout, b"");
    said.trim_end().to_owned()
}
