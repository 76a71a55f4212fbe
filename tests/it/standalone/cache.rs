//! A cache on a disk that does what disks do.

use tempfile::TempDir;
use tokio::process::Command;

use super::{
    Process,
    process::{complaint, worker},
};
use crate::{
    lab::{Broker, Registry},
    modules::module,
    old_device::{Access, OldDevice},
};

/// A worker's command between these two, with a cache.
fn caching(broker: &Broker, registry: &Registry, dir: &TempDir) -> Command {
    let mut command = Process::command(broker, registry);
    command.env("PROXY_CACHE_DIR", dir.path());
    command
}

/// The same command, whose files cannot grow over a number of KiB, as if the disk were full then.
fn with_full_disk(command: &Command, kibibytes: u32) -> Command {
    let inner = command.as_std();
    // The limit is in blocks of 512 bytes, in the shells that keep to POSIX.
    let script = format!(r#"trap "" XFSZ; ulimit -f {}; exec "$0" "$@""#, 2 * kibibytes);
    let mut outer = Command::new("sh");
    outer.arg("-c").arg(script).arg(inner.get_program()).args(inner.get_args()).env_clear().kill_on_drop(true);
    outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    outer.current_dir(inner.get_current_dir().unwrap());
    outer
}

async fn ask(broker: &Broker, name: &str) {
    let access = Access { port: broker.port(), ..Access::default() };
    OldDevice::connect(&access, "device", "channels/floor/messages").await.ask(name).await;
}

#[tokio::test]
async fn a_full_disk_costs_a_warning_and_no_delivery() {
    let (broker, registry) = tokio::join!(Broker::start(), Registry::start());
    for name in ["wasm/add:latest", "wasm/sub:latest"] {
        registry.push(name, module(4 << 20)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let worker = Process::run(&mut with_full_disk(&caching(&broker, &registry, &dir), 1024));
    worker.line("connected").await;
    for name in ["wasm/add", "wasm/sub"] {
        ask(&broker, name).await;
    }
    let says = |beginning: &'static str| {
        move |line: &&serde_json::Value| line["message"].as_str().is_some_and(|message| message.starts_with(beginning))
    };
    let lines = worker.lines_until(|lines| lines.iter().filter(says("published")).count() == 2).await;
    let warnings: Vec<_> = lines.iter().filter(says("the cache cannot be written to")).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(std::fs::read_dir(dir.path().join("sha256")).unwrap().next().is_none());
    assert!(std::fs::read_dir(dir.path().join("partial")).unwrap().next().is_none());
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_one_line_and_exit_code_2() {
    let variables = [
        ("PROXY_REGISTRY_URL", "registry.example"),
        ("PROXY_CHANNEL_ID", "floor"),
        ("PROXY_CACHE_DIR", "/dev/null/cache"),
    ];
    let said = complaint(&mut worker(&variables), 2).await;
    assert!(said.starts_with("wasmproxy: PROXY_CACHE_DIR cannot be used: "), "{said}");
}
