//! `wasmproxy fetch` as a process.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Output, Stdio},
};

use tokio::task::spawn_blocking;
use wasmproxy::protocol::ErrorCode;

use super::{
    APP, Channel, DEVICE,
    script::{Module, Script},
    soon,
};
use crate::lab::{BrokerConfig, Transport};

fn wasmproxy(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wasmproxy"));
    // Nothing of this machine's environment, and no terminal.
    command.env_clear().args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub fn fetch(channel: &Channel, output: &str) -> Command {
    let url = channel.broker.url();
    wasmproxy(&["fetch", APP, "-o", output, "--broker", &url, "--channel", "9b1c", "--device", DEVICE])
}

pub async fn end(child: Child) -> Output {
    soon("the end", spawn_blocking(move || child.wait_with_output())).await.unwrap().unwrap()
}

/// The most memory that it has had so far, in bytes.
pub fn peak_memory(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

async fn run(mut command: Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = end(command.spawn().unwrap()).await;
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[tokio::test]
async fn without_a_terminal_lines_say_how_it_goes() {
    let mut channel = Channel::open().await;
    let module = Module::new(1, 100_000, 1000);
    let file = channel.file();
    let child = fetch(&channel, file.to_str().unwrap()).spawn().unwrap();
    channel.script.request_for_all().await;
    channel.script.send(&module, module.chunks()).await;
    let Output { status, stdout, stderr } = end(child).await;
    let lines = String::from_utf8(stderr).unwrap();
    assert_eq!((status.code(), stdout.len()), (Some(0), 0), "{lines}");
    let lines: Vec<_> = lines.lines().collect();
    assert!(lines[0].contains(APP) && lines[0].contains("9b1c") && lines[0].contains(DEVICE), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("50 %") && line.contains("50 of 100 chunks")), "{lines:?}");
    let last = lines.last().unwrap();
    assert!(last.contains("add.wasm") && last.contains(&module.head.digest.to_string()), "{lines:?}");
    assert_eq!(std::fs::read(file).unwrap(), module.bytes);
}

#[tokio::test]
async fn standard_output_gets_the_module_and_nothing_else() {
    let mut channel = Channel::open().await;
    let module = Module::new(1, 100_000, 1000);
    let mut command = fetch(&channel, "-");
    command.arg("--quiet").env("TMPDIR", channel.folder.path());
    let child = command.spawn().unwrap();
    channel.script.request_for_all().await;
    channel.script.send(&module, module.chunks()).await;
    let Output { status, stdout, stderr } = end(child).await;
    assert_eq!((status.code(), String::from_utf8(stderr).unwrap().as_str()), (Some(0), ""));
    assert!(stdout == module.bytes);
    assert!(channel.files().is_empty());
}

#[tokio::test]
async fn the_environment_says_the_same_as_options() {
    let broker = BrokerConfig::default().user("press-4", "right").start().await;
    let url = broker.url();
    let command = |password| {
        let mut command = wasmproxy(&["fetch", APP, "-o", "-"]);
        command.env("WASMPROXY_BROKER", &url).env("WASMPROXY_CHANNEL", "9b1c").env("WASMPROXY_TIMEOUT", "2s");
        command.env("WASMPROXY_USERNAME", "press-4").env("WASMPROXY_PASSWORD", password);
        command
    };
    let (code, lines) = run(command("wrong")).await;
    assert_eq!(code, Some(1));
    assert!(
        lines.contains("refused the user name or the password (not authorized)") && !lines.contains("wrong"),
        "{lines}"
    );
    let (code, lines) = run(command("right")).await;
    assert_eq!(code, Some(1));
    assert!(lines.contains("is a worker running for"), "{lines}");
}

#[tokio::test]
async fn certificates_are_files() {
    let broker = BrokerConfig::default().transport(Transport::MutualTls).start().await;
    let script = Script::on(&broker).await;
    let mut channel = Channel { broker, script, folder: tempfile::tempdir().unwrap() };
    let module = Module::new(1, 2500, 1000);
    let pki = channel.broker.pki();

    let mut command = fetch(&channel, channel.file().to_str().unwrap());
    command.arg("--ca-file").arg(pki.join("ca.crt"));
    command.arg("--cert-file").arg(pki.join("client.crt"));
    let (code, lines) = run(command).await;
    assert_eq!(code, Some(2), "{lines}");

    let mut command = fetch(&channel, channel.file().to_str().unwrap());
    command.env("WASMPROXY_CA_FILE", pki.join("ca.crt"));
    command.env("WASMPROXY_CERT_FILE", pki.join("client.crt"));
    command.env("WASMPROXY_KEY_FILE", pki.join("client.key"));
    let child = command.spawn().unwrap();
    channel.script.request_for_all().await;
    channel.script.send(&module, module.chunks()).await;
    assert_eq!(end(child).await.status.code(), Some(0));
    assert_eq!(std::fs::read(channel.file()).unwrap(), module.bytes);
}

#[tokio::test]
async fn a_module_that_cannot_be_had_is_exit_code_1() {
    let mut channel = Channel::open().await;
    let child = fetch(&channel, channel.file().to_str().unwrap()).spawn().unwrap();
    channel.script.request_for_all().await;
    channel.script.error(ErrorCode::NotAllowed, "not on this channel").await;
    let Output { status, stderr, .. } = end(child).await;
    assert_eq!(status.code(), Some(1));
    assert!(String::from_utf8(stderr).unwrap().ends_with("error: not_allowed: not on this channel\n"));
    assert!(channel.files().is_empty());
}

#[tokio::test]
async fn an_option_that_is_wrong_is_exit_code_2() {
    for (args, named) in [
        (&["fetch", "add:1", "-o", "f"][..], "--channel"),
        (&["fetch", "add:1", "--channel", "c"], "--output"),
        (&["fetch", "add@sha256:1", "-o", "f", "--channel", "c"], "digest"),
        (&["fetch", "add:1", "-o", "f", "--channel", "a/b"], "a/b"),
        (&["fetch", "add:1", "-o", "f", "--topic-prefix", "/a"], "--topic-prefix: "),
        (&["fetch", "add:1", "-o", "f", "--channel", "c", "--broker", "http://b"], "http"),
        (&["fetch", "add:1", "-o", "f", "--channel", "c", "--broker", "127.0.0.1:1883"], "write mqtt://127.0.0.1:1883"),
        (&["fetch", "add:1", "-o", "f", "--channel", "c", "--timeout", "5"], "write 5s"),
        (&["fetch", "add:1", "-o", "/nowhere/f", "--channel", "c"], "there is no folder /nowhere: make it"),
        (&["fetch", "add:1", "-o", "/tmp", "--channel", "c"], "/tmp is a folder: name a file in it"),
        (&["fetch", "add:1", "-o", "/dev/null", "--channel", "c"], "no regular file"),
        (&["fetch", "add:1", "-o", "f", "--channel", "c", "--device", "a b"], "device"),
        (&["fetch", "add:1", "-o", "f", "--channel", "c", "--broker", "mqtts://b", "--ca-file", "/dev/null"], "CA"),
    ] {
        let (code, lines) = run(wasmproxy(args)).await;
        assert_eq!(code, Some(2), "{args:?}: {lines}");
        assert!(lines.contains(named), "{args:?}: {lines}");
        assert!(!lines.contains("asking for"), "{args:?}: {lines}");
    }
}

#[tokio::test]
async fn a_device_of_its_own_topic_says_what_it_gets_and_not_how_often_it_asks() {
    let mut channel = Channel::open().await;
    let module = Module::new(1, 100_000, 1000);
    let mut command = fetch(&channel, channel.file().to_str().unwrap());
    command.env("WASMPROXY_OWN_TOPIC", "true").args(["--timeout", "30s"]);
    let child = command.spawn().unwrap();
    assert!(channel.script.request().await.full.unwrap().missing.is_some());
    channel.script.changed_to(&module).await;
    for part in [0..64, 64..100] {
        assert_eq!(channel.script.request_by_number(&module).await, part.clone().collect::<Vec<_>>());
        channel.script.send_to_device(&module, part).await;
    }
    let Output { status, stderr, .. } = end(child).await;
    let lines = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(0), "{lines}");
    assert!(lines.contains("in 100 chunks") && !lines.contains("again"), "{lines}");
    assert_eq!(std::fs::read(channel.file()).unwrap(), module.bytes);
}

#[tokio::test]
async fn an_interrupt_removes_what_was_begun() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let mut channel = Channel::open().await;
        let module = Module::new(1, 2500, 1000);
        let mut child = fetch(&channel, channel.file().to_str().unwrap()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        channel.script.request_for_all().await;
        channel.script.send(&module, [0]).await;
        let begun = spawn_blocking(move || stderr.lines().map_while(Result::ok).any(|line| line.contains("40 %")));
        assert!(soon("the first chunk", begun).await.unwrap());
        assert_eq!(channel.files().len(), 1);
        assert!(Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap().success());
        assert_eq!(end(child).await.status.code(), Some(code));
        assert!(channel.files().is_empty());
    }
}
