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
use super::LogArgs;
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
        signal = interrupted() => fail(128 + signal, &"interrupted"),
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

/// Waits for a signal that asks us to end, and returns its number.
async fn interrupted() -> u8 {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        const SIGINT: u8 = 2;
        const SIGTERM: u8 = 15;
        if let (Ok(mut interrupt), Ok(mut terminate)) =
            (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        {
            return tokio::select! {
                Some(()) = interrupt.recv() => SIGINT,
                Some(()) = terminate.recv() => SIGTERM,
            };
        }
    }
    #[cfg(not(unix))]
    if tokio::signal::ctrl_c().await.is_ok() {
        return 2;
    }
    // No signal can be waited for: the system's own way to end a process is left.
    std::future::pending().await
}
