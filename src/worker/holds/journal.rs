//! What is held, in a file: a worker that is killed and started again still knows of it.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Cut, HOLD, Hold};

/// The file, and what it is called.
#[derive(Debug)]
pub(super) struct Journal(PathBuf);

/// A name that is held, as it is written down.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    cut: Option<Cut>,
    /// Seconds since 1970; none while a pass is under way, which nobody knows the end of where the worker is killed.
    until: Option<u64>,
}

impl Journal {
    /// The journal in this file, and what it says; nothing where there is no such file, or none that can be read.
    pub(super) fn open(file: &Path) -> (Self, HashMap<String, Hold>) {
        let journal = Self(file.to_owned());
        let entries = match std::fs::read(file) {
            Ok(json) => serde_json::from_slice(&json).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(HashMap::new()),
            Err(error) => Err(error),
        };
        let entries: HashMap<String, Entry> = entries.unwrap_or_else(|error| {
            tracing::warn!(file = %file.display(), %error, "cannot read which names old devices may keep parts of");
            HashMap::new()
        });
        let (now, time) = (Instant::now(), seconds(SystemTime::now()));
        let left = |entry: &Entry| entry.until.map_or(HOLD, |until| Duration::from_secs(until.saturating_sub(time)));
        let holds = entries.into_iter().map(|(app_name, entry)| {
            let cut = entry.cut;
            (app_name, Hold { cut, until: Some(now + left(&entry).min(HOLD)), over_parts: true })
        });
        (journal, holds.collect())
    }

    /// Writes down what is held. Where that cannot be done, it is lost if the worker is killed: no reason not to deliver.
    pub(super) fn write(&self, holds: &HashMap<String, Hold>) {
        let (now, time) = (Instant::now(), SystemTime::now());
        let entries: HashMap<_, _> = holds
            .iter()
            .map(|(app_name, Hold { cut, until, .. })| {
                let until = until.map(|until| seconds(time + (until - now)));
                (app_name, Entry { cut: *cut, until })
            })
            .collect();
        if let Err(error) = self.replace(&entries) {
            tracing::warn!(file = %self.0.display(), %error, "cannot note which names old devices may keep parts of");
        }
    }

    fn replace(&self, entries: &HashMap<&String, Entry>) -> io::Result<()> {
        let new = self.0.with_extension("new");
        std::fs::write(&new, serde_json::to_vec(entries)?)?;
        std::fs::rename(&new, &self.0)
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
