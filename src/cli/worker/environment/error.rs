//! A mistake in the environment, in one line.

use std::{fmt::Display, io};

/// What is missing or wrong. The text is one line for whoever starts the worker; it never holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A variable that there must be is not there.
    #[error("{variable} is not set: {hint}")]
    Missing {
        /// Its newest name.
        variable: &'static str,
        /// What it is for, with an example.
        hint: &'static str,
    },
    /// A value that may be shown.
    #[error("{variable} is {value:?}: {problem}")]
    Invalid {
        /// The variable by the name that was used.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        problem: String,
    },
    /// A value that had better not be shown, or that is wrong together with another.
    #[error("{variable} cannot be used: {problem}")]
    Wrong {
        /// The variable by the name that was used.
        variable: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A value that is not UTF-8.
    #[error("{0} is not UTF-8")]
    NotUtf8(String),
    /// A file that a variable names.
    #[error("{variable} names the file {path:?}, which cannot be read: {source}")]
    Unreadable {
        /// The variable.
        variable: &'static str,
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The file with the identity is there, but of no use.
    #[error("config.toml cannot be used: {0}")]
    ConfigFile(String),
}

impl SettingsError {
    pub(super) fn invalid(variable: &'static str, value: &str, problem: impl Display) -> Self {
        Self::Invalid { variable, value: value.to_owned(), problem: problem.to_string() }
    }

    pub(super) fn wrong(variable: &'static str, problem: impl Display) -> Self {
        Self::Wrong { variable, problem: problem.to_string() }
    }
}
