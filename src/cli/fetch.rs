//! `wasmproxy fetch`: a device, for people and for scripts.

mod args;
mod report;
mod values;

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use tokio::{runtime::Runtime, task::spawn_blocking};

pub use self::args::FetchArgs;
use self::report::Report;
use super::{LogArgs, signals::Signals};
use crate::{
    device::{self, FetchError, FetchOptions, Fetched},
    telemetry::logs,
};

/// What `-o -` means.
const STDOUT: &str = "-";

/// Fetches the module, says how that goes, and returns the exit code.
pub(super) fn run(args: &FetchArgs, logs: &LogArgs) -> ExitCode {
    // What a person should know is said without a log. Who asks for one gets it in between.
    if let Some(level) = logs.log_level {
        // An error means that there is one already, which is as good.
        let _ = logs::init(logs.log_format, level);
    }
    match Runtime::new() {
        Ok(runtime) => runtime.block_on(run_until_interrupted(args)),
        Err(error) => fail(1, &error),
    }
}

async fn run_until_interrupted(args: &FetchArgs) -> ExitCode {
    let options = match args.options() {
        Ok(options) => options,
        Err(error) => return fail(2, &error),
    };
    let mut report = Report::new(args, &options);
    tokio::select! {
        outcome = fetch(args, &options, &mut report) => match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(Failure::Fetch(error)) if error.is_usage() => fail(2, &error),
            Err(error) => fail(1, &error),
        },
        // What is under way is dropped, and its file is removed with it.
        code = interrupted() => fail(code, &"interrupted"),
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("cannot make a folder for the module until it is verified: {0}")]
    Folder(io::Error),
    #[error("cannot write to standard output: {0}")]
    Stdout(io::Error),
}

async fn fetch(args: &FetchArgs, options: &FetchOptions, report: &mut Report) -> Result<(), Failure> {
    if args.output == Path::new(STDOUT) {
        // A folder that only we can see, gone with all that is in it when we go.
        let folder = tempfile::tempdir().map_err(Failure::Folder)?;
        let file = folder.path().join("module");
        let fetched = fetch_to(&file, args, options, report).await?;
        let copied = spawn_blocking(move || io::copy(&mut std::fs::File::open(file)?, &mut io::stdout().lock()));
        copied.await.map_err(io::Error::other).flatten().map_err(Failure::Stdout)?;
        report.finish("standard output", &fetched);
    } else {
        let fetched = fetch_to(&args.output, args, options, report).await?;
        report.finish(&args.output.display().to_string(), &fetched);
    }
    Ok(())
}

async fn fetch_to(
    file: &Path,
    args: &FetchArgs,
    options: &FetchOptions,
    report: &mut Report,
) -> Result<Fetched, FetchError> {
    let fetched = device::fetch(&args.reference, file, options, |event| report.note(&event)).await;
    report.clear();
    fetched
}

fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    // Where nobody reads it the exit code still says it; `eprintln` would panic.
    let _ = writeln!(io::stderr().lock(), "error: {error}");
    ExitCode::from(code)
}

/// Waits for a signal that asks us to end, and returns the exit code that it means.
async fn interrupted() -> u8 {
    match Signals::listen() {
        Ok(mut signals) => signals.next().await.exit_code(),
        // No signal can be waited for: the system's own way to end a process is left.
        Err(_) => std::future::pending().await,
    }
}
