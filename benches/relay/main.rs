//! What the relay makes of a broker: `make bench`.
//!
//! mosquitto, docker-registry behind TLS, and the program as a release build: a worker in a process of its own. A device
//! listens and notes when what arrives. Beside the worker, in the same run and in turns with it, a raw publisher sends the
//! same chunks, which it keeps as finished packets: what it reaches is what broker and device take.
//!
//! `RUNS=n` says how often each is measured (10), `QUICK=1` leaves out what takes long, `ONLY=name,name` all but these (see
//! `measure`), and `WORKER=file` measures another build of the program.
//!
//! - `stage`: broker, registry and modules; `worker`, `process`: the worker as a process, and what the kernel says of it;
//! - `device`, `wire`: the device that listens; `raw`: the raw publisher; `ceiling`: what the device takes at most;
//! - `throughput`, `latency`, `memory`, `crowd`, `remote` (over a `link`), `curves`: what is measured; `own_times`: the registry
//!   alone;
//! - `samples`, `report`, `plots`: what comes of it.

#![allow(clippy::panic, clippy::unwrap_used, missing_docs, reason = "a benchmark that cannot go on says where")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` reads better without a reference in front")]

mod ceiling;
mod crowd;
mod curves;
mod device;
mod latency;
mod link;
mod memory;
mod own_times;
mod plots;
mod process;
mod raw;
mod remote;
mod report;
mod samples;
mod stage;
mod throughput;
mod wire;
mod worker;

#[allow(dead_code, unused_imports, reason = "shared with the tests, which need more of it")]
#[path = "../../tests/it/lab/mod.rs"]
mod lab;
#[path = "../../tests/it/modules.rs"]
mod modules;
#[allow(dead_code, reason = "shared with the tests, which need more of it")]
#[path = "../../tests/it/waiting.rs"]
mod waiting;

use std::{env, fs, path::Path, thread};

use samples::Results;
use stage::{MIB, Stage};

/// Chunks in flight, of raw publishers: as many as the worker has.
const WINDOW: usize = 4;

#[tokio::main]
async fn main() {
    let mut arguments = env::args().skip(1);
    match arguments.next().as_deref() {
        Some(raw::SUBCOMMAND) => return raw::run(arguments),
        Some(ceiling::SUBCOMMAND) => return ceiling::run(arguments),
        _ => {}
    }
    let settings = Settings::from_environment();
    let stage = Stage::set().await;
    let mut results = Results::default();
    measure(&stage, &settings, &mut results).await;
    settings.keep(&results, &stage);
    println!("\n{}", report::table(&results));
}

/// How much is measured.
struct Settings {
    runs: usize,
    quick: bool,
    only: Option<String>,
}

impl Settings {
    fn from_environment() -> Self {
        let quick = env::var("QUICK").is_ok_and(|value| value == "1");
        let runs = env::var("RUNS").map(|value| value.parse().unwrap_or_else(|_| panic!("RUNS is no number")));
        Self { runs: runs.unwrap_or(if quick { 3 } else { 10 }), quick, only: env::var("ONLY").ok() }
    }

    /// Writes down all samples; and, where all was measured, what there is to read of them.
    fn keep(&self, results: &Results, stage: &Stage) {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench");
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("relay.json");
        fs::write(&file, format!("{:#}\n", results.json())).unwrap();
        println!("{}", file.display());
        if self.only.is_none() {
            let circumstances = self.circumstances(stage);
            report::write(results, &circumstances);
            plots::draw(results, &circumstances);
        }
    }

    fn circumstances(&self, stage: &Stage) -> String {
        let cores = thread::available_parallelism().unwrap();
        let log = stage.broker.server().log();
        let version = log.split("mosquitto version ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or("?");
        let quick = if self.quick { ", quickly" } else { "" };
        format!(
            "Medians of {} runs{quick}, and the least and the most, on {cores} cores, with mosquitto {version}.",
            self.runs
        )
    }

    /// Whether this is wanted; says so then.
    fn wants(&self, what: &str) -> bool {
        let wanted = self.only.as_ref().is_none_or(|only| only.split(',').any(|name| name == what));
        if wanted {
            eprintln!("{what} …");
        }
        wanted
    }
}

async fn measure(stage: &Stage, settings: &Settings, results: &mut Results) {
    let &Settings { runs, quick, .. } = settings;
    if settings.wants("ceiling") {
        ceiling::measure(&stage.plan(0, 0), runs, results);
    }
    if settings.wants("idle") {
        memory::idle(stage, runs, results);
    }
    if settings.wants("module") {
        throughput::module(stage, runs, WINDOW, results).await;
    }
    if settings.wants("small") {
        latency::small(stage, if quick { 100 } else { 400 }, results).await;
    }
    if settings.wants("many") {
        for modules in [64, 300] {
            throughput::many(stage, modules, runs.div_ceil(3), WINDOW, results).await;
        }
    }
    if settings.wants("crowd") {
        crowd::ask_for_one(stage, results).await;
    }
    if settings.wants("link") {
        remote::over_a_link(stage, runs.div_ceil(2), WINDOW, results).await;
    }
    if settings.wants("memory") {
        for size in if quick { vec![64] } else { vec![64, 1024] } {
            memory::peak(stage, size * MIB, results).await;
        }
    }
    if settings.wants("curves") {
        let runs = runs.div_ceil(3);
        let sizes: &[usize] = if quick { &[1, 4, 16, 64] } else { &[1, 4, 16, 64, 256, 1024] };
        curves::module_sizes(stage, sizes, runs, WINDOW, results).await;
        curves::chunk_sizes(stage, &[32_000, 64_000, 128_000, 256_000, 512_000, 1_024_000], runs, WINDOW, results)
            .await;
        curves::windows(stage, link::open(stage.broker.port()), runs, results);
    }
    if settings.wants("large") {
        throughput::large(stage, if quick { 256 } else { 1024 } * MIB, runs, WINDOW, results).await;
    }
}
