//! What the parts cost that every chunk or every request goes through: `make bench-hot`.
//!
//! Each case is measured by criterion, for time; with `INSTRUCTIONS=1` valgrind counts instead what one call takes, which does
//! not depend on who else is busy. A filter may be given: part of a case's name.
//!
//! - `chunks`: encoding, hashing, decoding; `requests`: reading and deciding; `manifests`: what registries say;
//! - `instructions`: counting.

#![allow(clippy::panic, clippy::unwrap_used, missing_docs, reason = "a benchmark that cannot go on says where")]

mod chunks;
mod instructions;
mod manifests;
mod requests;

use std::{env, hint::black_box};

use criterion::{Criterion, Throughput};

/// Something that is done again and again.
pub struct Case {
    /// `group/name`.
    name: String,
    /// The bytes of a module that go through it at a time, where that is what counts.
    bytes: Option<usize>,
    run: Box<dyn FnMut()>,
}

impl Case {
    pub fn new<T>(name: impl Into<String>, mut run: impl FnMut() -> T + 'static) -> Self {
        let run = move || {
            black_box(run());
        };
        Self { name: name.into(), bytes: None, run: Box::new(run) }
    }

    /// The same, measured in bytes of a module a second.
    pub fn of_bytes<T>(name: impl Into<String>, bytes: usize, run: impl FnMut() -> T + 'static) -> Self {
        Self { bytes: Some(bytes), ..Self::new(name, run) }
    }
}

fn cases() -> Vec<Case> {
    [chunks::cases(), requests::cases(), manifests::cases()].into_iter().flatten().collect()
}

fn main() {
    // Whatever decides about requests has tasks.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _entered = runtime.enter();
    let mut arguments = env::args().skip(1);
    match arguments.next() {
        Some(first) if first == instructions::SUBCOMMAND => instructions::run(arguments, cases()),
        filter if env::var("INSTRUCTIONS").is_ok_and(|value| value == "1") => {
            let filter = filter.filter(|filter| !filter.starts_with('-')).unwrap_or_default();
            instructions::count(cases().iter().filter(|case| case.name.contains(&filter)));
        }
        _ => measure(),
    }
    runtime.shutdown_background();
}

fn measure() {
    let mut criterion = Criterion::default().configure_from_args();
    for mut case in cases() {
        let (group, name) = case.name.split_once('/').unwrap();
        let mut group = criterion.benchmark_group(group);
        if let Some(bytes) = case.bytes {
            group.throughput(Throughput::Bytes(bytes as u64));
        }
        group.bench_function(name, |bencher| bencher.iter(&mut case.run));
        group.finish();
    }
    criterion.final_summary();
}
