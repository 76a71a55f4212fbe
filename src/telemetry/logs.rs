//! Log lines on standard error: text for people, or JSON for machines.

use std::{
    io::{self, IsTerminal as _},
    str::FromStr,
};

use clap::ValueEnum;
use tracing::{level_filters::LevelFilter, subscriber::SetGlobalDefaultError};
use tracing_subscriber::{
    filter::Targets,
    fmt,
    layer::{Layer as _, SubscriberExt as _},
};

/// How a line is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people; with colours on a terminal, unless `NO_COLOR` is set.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is worth a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum LogLevel {
    /// Only what went wrong for good.
    Error,
    /// What somebody should look at, too.
    Warn,
    /// Connections and transfers, too.
    #[default]
    Info,
    /// How they come about, too.
    Debug,
    /// Everything.
    Trace,
}

/// The text names no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a log level is one of error, warn, info, debug, trace")]
pub struct InvalidLogLevel;

impl FromStr for LogLevel {
    type Err = InvalidLogLevel;

    /// Reads a level in upper or lower case.
    fn from_str(text: &str) -> Result<Self, InvalidLogLevel> {
        <Self as ValueEnum>::from_str(text, true).map_err(|_| InvalidLogLevel)
    }
}

impl LogLevel {
    /// Our own lines at this level; the libraries' two levels above it, since they are talkative, but never less than
    /// their warnings where we warn. kube says each failed request, and each retry, in words of its own; what it comes to
    /// we say ourselves, once.
    fn targets(self) -> Targets {
        let (own, libraries) = match self {
            Self::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
            Self::Warn => (LevelFilter::WARN, LevelFilter::WARN),
            Self::Info => (LevelFilter::INFO, LevelFilter::WARN),
            Self::Debug => (LevelFilter::DEBUG, LevelFilter::INFO),
            Self::Trace => (LevelFilter::TRACE, LevelFilter::DEBUG),
        };
        let kube = if self < Self::Debug { LevelFilter::OFF } else { libraries };
        let lines = Targets::new().with_default(libraries).with_target(env!("CARGO_CRATE_NAME"), own);
        lines.with_target("kube_client", kube).with_target("kube_runtime", kube)
    }
}

/// Sends the log lines of the whole program to standard error from now on.
///
/// # Errors
/// Where that was done before.
pub fn init(format: LogFormat, level: LogLevel) -> Result<(), SetGlobalDefaultError> {
    // A line that cannot be written is dropped: to complain on the same closed pipe would panic.
    let lines = fmt::layer().with_writer(io::stderr).log_internal_errors(false);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(colours()).with_target(level > LogLevel::Info).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines.with_filter(level.targets())))
}

fn colours() -> bool {
    // https://no-color.org: set, and not empty.
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !unwanted
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn a_level_is_read_in_any_case() {
        for (text, level) in [("info", LogLevel::Info), ("DEBUG", LogLevel::Debug), ("Warn", LogLevel::Warn)] {
            assert_eq!(text.parse(), Ok(level));
        }
        assert_eq!("loud".parse::<LogLevel>(), Err(InvalidLogLevel));
    }

    #[test]
    fn libraries_are_quieter_than_we_are() {
        let info = LogLevel::Info.targets();
        assert!(info.would_enable("wasmproxy::worker", &Level::INFO));
        assert!(!info.would_enable("wasmproxy::worker", &Level::DEBUG));
        assert!(!info.would_enable("rustls::client", &Level::INFO));
        assert!(info.would_enable("rustls::client", &Level::WARN));
        assert!(!LogLevel::Error.targets().would_enable("rustls::client", &Level::WARN));
        assert!(!info.would_enable("kube_runtime::watcher", &Level::WARN));
        assert!(LogLevel::Debug.targets().would_enable("kube_runtime::watcher", &Level::WARN));
    }
}
