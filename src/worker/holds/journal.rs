//! What is held, in a file: a worker that is killed and started again still knows of it.

use std::{
    collections::HashMap,
    fs::{DirBuilder, File},
    io::{self, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Allowed, Begun, ChunkLog, HOLD, Hold, Until};
use crate::digest::Digest;

/// The file.
#[derive(Debug)]
pub(super) struct Journal(PathBuf);

/// A name that is held, as it is written down.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    allowed: Option<Allowed>,
    /// Seconds since 1970; none while a pass is under way, which nobody knows the end of where the worker is killed.
    until: Option<u64>,
}

impl Journal {
    /// The journal in this file, and what it says; nothing where there is no such file, or none that can be read.
    pub(super) fn open(file: &Path) -> (Self, HashMap<String, Hold>) {
        let journal = Self(file.to_owned());
        // Where that fails, so does the first note, and says why.
        let _ = file.parent().map(|folder| DirBuilder::new().recursive(true).mode(0o700).create(folder));
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
            let until = Until::Over(now + left(&entry).min(HOLD));
            let said = if entry.until.is_none() { ChunkLog::read(&journal.log_of(&app_name)) } else { None };
            let farther =
                |said: &Begun, allowed: &Allowed| allowed.begun.is_none_or(|begun| begun.chunks < said.chunks);
            let allowed = entry.allowed.map(|allowed| match said.filter(|said| farther(said, &allowed)) {
                Some(said) => Allowed { begun: Some(said), ..allowed },
                None => allowed,
            });
            (app_name, Hold { allowed, until })
        });
        let holds = holds.collect();
        (journal, holds)
    }

    /// Writes down what is held. Where that cannot be done, it is lost if the worker is killed: no reason not to deliver.
    pub(super) fn write(&self, holds: &HashMap<String, Hold>) {
        let (now, time) = (Instant::now(), SystemTime::now());
        let entries: HashMap<_, _> = holds
            .iter()
            .map(|(app_name, Hold { allowed, until })| {
                let until = match until {
                    Until::UnderWay(_) => None,
                    Until::Over(until) => Some(seconds(time + (*until - now))),
                };
                (app_name, Entry { allowed: *allowed, until })
            })
            .collect();
        if let Err(error) = self.replace(&entries) {
            tracing::warn!(file = %self.0.display(), %error, "cannot note which names old devices may keep parts of");
        }
    }

    /// A log of what a pass under that name says before it is verified.
    pub(super) fn log(&self, app_name: &str) -> Option<ChunkLog> {
        let file = self.log_of(app_name);
        let created = ChunkLog::create(&file);
        created.inspect_err(|error| tracing::warn!(file = %file.display(), %error, "cannot note what is said")).ok()
    }

    /// What was said is in the journal by now.
    pub(super) fn end_log(&self, app_name: &str) {
        let _ = std::fs::remove_file(self.log_of(app_name));
    }

    fn log_of(&self, app_name: &str) -> PathBuf {
        self.0.with_extension(Digest::of(app_name.as_bytes()).hex())
    }

    fn replace(&self, entries: &HashMap<&String, Entry>) -> io::Result<()> {
        let new = self.0.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(entries)?)?;
        // After a loss of power the old journal is there, or the new one, and no empty file.
        file.sync_data()?;
        std::fs::rename(&new, &self.0)
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
