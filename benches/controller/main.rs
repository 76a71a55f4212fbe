//! What one controller costs with thousands of resources: `make bench-controller`.
//!
//! A real API server with etcd, the program as a release build with the rights of its own service account, and workers
//! that are played: as soon as a Deployment is there it is said to be available, and the worker's part of the status is
//! written. So what is measured is the controller, and what it asks of the API server, counted by the server's audit log.
//!
//! `RESOURCES=n` says how many (5,000), `REST=s` how long it is watched at rest (60 s).

#![allow(clippy::panic, clippy::unwrap_used, missing_docs, reason = "a benchmark that cannot go on says where")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` reads better without a reference in front")]

mod audit;
mod fleet;
mod players;
mod program;

#[allow(dead_code, unused_imports, reason = "shared with the tests, which need more of it")]
#[path = "../../tests/it/lab/mod.rs"]
mod lab;
#[allow(dead_code, reason = "shared with the tests, which need more of it")]
#[path = "../../tests/it/waiting.rs"]
mod waiting;

use std::{
    env,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use audit::Audit;
use fleet::Fleet;
use lab::ControlPlane;
use program::Program;

/// Everything but those that would make Pods, which nobody would run.
const CONTROLLERS: &str = "*,-deployment-controller,-replicaset-controller";

#[tokio::main]
async fn main() {
    let resources = number("RESOURCES", 5000);
    let rest = Duration::from_secs(number("REST", 60) as u64);
    let user = format!("system:serviceaccount:{}:{}", fleet::HOME, program::ACCOUNT);
    let options = ["--audit", &user, "--controllers", CONTROLLERS];
    let control_plane = ControlPlane::start_as(&[], &options).await;
    let client = control_plane.client().await;
    let mut audit = Audit::of(control_plane.audit());
    let fleet = Fleet::create(client.clone(), resources).await;
    println!("{resources} resources in {} namespaces", fleet::NAMESPACES);
    println!("\n| | time | memory | CPU | requests | a second | of these |\n|---|---|---|---|---|---|---|");

    let _players = players::play(client.clone());
    let kubeconfig = program::account(&control_plane).await;
    let begun = Instant::now();
    let program = Program::start(&kubeconfig, "worker:1").await;
    fleet.until_ready(1).await;
    row("first start, nothing is there", begun.elapsed(), &program, &mut audit);

    let begun = Instant::now();
    program.until_it_rests().await;
    row("until the last event is told", begun.elapsed() - program::REST, &program, &mut audit);
    sleep(rest).await;
    row("at rest", rest, &program, &mut audit);

    let begun = Instant::now();
    fleet.change().await;
    fleet.until_ready(2).await;
    row("every spec changes", begun.elapsed(), &program, &mut audit);
    program.until_it_rests().await;
    drop(program);

    let begun = Instant::now();
    let program = Program::start(&kubeconfig, "worker:1").await;
    program.until_it_rests().await;
    row("second start, all is there", begun.elapsed() - program::REST, &program, &mut audit);
    sleep(rest).await;
    row("at rest again", rest, &program, &mut audit);
}

fn number(name: &str, otherwise: usize) -> usize {
    env::var(name).map_or(otherwise, |value| value.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

fn row(what: &str, time: Duration, program: &Program, audit: &mut Audit) {
    let requests = audit.take();
    let count: usize = requests.values().sum();
    let seconds = time.as_secs_f64();
    let mut by_count: Vec<_> = requests.iter().collect();
    by_count.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let most: Vec<_> = by_count.iter().take(5).map(|(what, count)| format!("{what} {count}")).collect();
    println!(
        "| {what} | {seconds:.1} s | {} MiB | {:.1} s | {count} | {:.1} | {} |",
        program.memory() >> 20,
        program.cpu().as_secs_f64(),
        count as f64 / seconds,
        most.join(", ")
    );
}
