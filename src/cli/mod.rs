//! The command line: one file a subcommand.

mod cluster;
mod controller;
mod crd;
mod fetch;
mod probe;
mod signals;
mod worker;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::{
    telemetry::logs::{LogFormat, LogLevel},
    tls::install_provider,
};

/// Brings WebAssembly modules from OCI registries to devices that have nothing but MQTT.
#[derive(Parser)]
#[command(name = "wasmproxy", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    logs: LogArgs,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done, or ended by a signal as it should
  1  it did not work
  2  the command line or the environment is wrong: nothing was begun";

/// What modules may take up in a cache, where nobody says.
const CACHE_SIZE: &str = "1Gi";

/// In the order of the help: what serves first, then what asks, then what prints.
#[derive(Subcommand)]
enum Command {
    /// Serve the channels of all `WasmProxy` resources in a Kubernetes cluster.
    #[command(after_long_help = controller::DETAILS)]
    Controller(controller::ControllerArgs),
    /// Serve one channel: as a `WasmProxy` resource says, or without Kubernetes as the environment says.
    #[command(after_long_help = worker::DETAILS)]
    Worker(worker::WorkerArgs),
    Fetch(Box<fetch::FetchArgs>),
    /// Ask a running controller or worker how it is: for health checks of images without a shell.
    Probe(probe::ProbeArgs),
    /// Print the definition of the `WasmProxy` resource, for kubectl apply.
    Crd,
}

/// Where log lines go is standard error, always.
#[derive(Args)]
#[command(next_help_heading = "Logging")]
struct LogArgs {
    /// How log lines are written
    #[arg(long, global = true, env = "WASMPROXY_LOG_FORMAT", value_enum, ignore_case = true, default_value_t)]
    log_format: LogFormat,
    /// What is worth a log line [default: info]
    #[arg(long, global = true, env = "WASMPROXY_LOG", value_enum, ignore_case = true)]
    log_level: Option<LogLevel>,
}

/// Parses the command line and runs it.
///
/// Exits with 2 where the command line is wrong, and with 1 where what it asks for fails.
pub fn main() -> ExitCode {
    install_provider();
    // `parse` ends the process itself: with 2 after a usage error, with 0 after `--help` and `--version`.
    let Cli { command, logs } = Cli::parse();
    match command {
        Command::Controller(args) => controller::run(&args, &logs),
        Command::Worker(args) => worker::run(&args, &logs),
        Command::Fetch(args) => fetch::run(&args, &logs),
        Command::Probe(args) => probe::run(&args),
        Command::Crd => crd::run(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
