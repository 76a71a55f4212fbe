//! The command line: one file a subcommand.

mod crd;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Brings WebAssembly modules from OCI registries to devices that have nothing but MQTT.
#[derive(Parser)]
#[command(name = "wasmproxy", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the definition of the `WasmProxy` resource, for kubectl apply.
    Crd,
}

/// Parses the command line and runs it.
///
/// Exits with 2 where the command line is wrong, and with 1 where what it asks for fails.
pub fn main() -> ExitCode {
    // `parse` ends the process itself: with 2 after a usage error, with 0 after `--help` and `--version`.
    let Cli { command } = Cli::parse();
    match command {
        Command::Crd => crd::run(),
    }
}
