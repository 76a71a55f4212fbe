//! Values looked up by their newest name, and read.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    str::FromStr,
};

use super::{SettingsError, Surroundings};

/// The environment, and what is to be said about it.
pub(super) struct Variables<'a> {
    values: &'a BTreeMap<String, String>,
    read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    /// Every name that was asked for: those that were not are unknown.
    known: BTreeSet<&'static str>,
    warnings: Vec<String>,
}

/// One of several names for the same thing, and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Named<'a> {
    pub name: &'static str,
    pub value: &'a str,
}

impl<'a> Variables<'a> {
    pub(super) fn new(surroundings: &Surroundings<'a>) -> Self {
        let Surroundings { variables, read, .. } = *surroundings;
        Self { values: variables, read, known: BTreeSet::new(), warnings: Vec::new() }
    }

    /// The value of a variable; none where it is empty.
    pub(super) fn get(&mut self, name: &'static str) -> Option<&'a str> {
        self.known.insert(name);
        self.values.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The value by the first of several names that has one. Values that disagree are worth a warning.
    pub(super) fn first_of(&mut self, names: &[&'static str]) -> Option<Named<'a>> {
        let set = names.iter().filter_map(|name| Some(Named { name, value: self.get(name)? }));
        let set: Vec<_> = set.collect();
        let (first, others) = set.split_first()?;
        for other in others.iter().filter(|other| other.value != first.value) {
            self.warn(format!("{} has no effect: {} says something else", other.name, first.name));
        }
        Some(*first)
    }

    /// A value of a type that can be read, and shown where it cannot, with `advice`.
    pub(super) fn parse<T: FromStr>(&mut self, name: &'static str, advice: &str) -> Result<Option<T>, SettingsError> {
        let read = |value: &str| value.parse().map_err(|_| SettingsError::invalid(name, value, advice));
        self.get(name).map(read).transpose()
    }

    /// A yes or no as Go's `strconv.ParseBool` reads it, in any case; no where it is unset.
    pub(super) fn flag(&mut self, name: &'static str) -> Result<bool, SettingsError> {
        let Some(value) = self.get(name) else { return Ok(false) };
        match value.to_ascii_lowercase().as_str() {
            "1" | "t" | "true" => Ok(true),
            "0" | "f" | "false" => Ok(false),
            _ => Err(SettingsError::invalid(name, value, "say true or false")),
        }
    }

    /// The content of the file that a variable names.
    pub(super) fn file(&mut self, name: &'static str) -> Result<Option<Vec<u8>>, SettingsError> {
        let Some(path) = self.get(name) else { return Ok(None) };
        let unreadable = |source| SettingsError::Unreadable { variable: name, path: path.to_owned(), source };
        (self.read)(Path::new(path)).map(Some).map_err(unreadable)
    }

    pub(super) fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    /// All warnings, with one about the variables that nobody asked for.
    pub(super) fn into_warnings(mut self) -> Vec<String> {
        let unknown = |(name, value): &(&String, &String)| {
            name.starts_with("PROXY_") && !value.is_empty() && !self.known.contains(name.as_str())
        };
        let unknown: Vec<_> = self.values.iter().filter(unknown).map(|(name, _)| name.as_str()).collect();
        if !unknown.is_empty() {
            self.warnings.push(format!("not known, and without effect: {}", unknown.join(", ")));
        }
        self.warnings
    }
}
