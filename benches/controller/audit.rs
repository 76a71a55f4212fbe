//! What somebody asks of the API server, by its audit log.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead as _, BufReader},
    path::PathBuf,
};

use serde_json::Value;

/// Reads the log from where it was read to.
pub struct Audit(PathBuf, Option<BufReader<File>>);

impl Audit {
    pub fn of(path: PathBuf) -> Self {
        Self(path, None)
    }

    /// How often each verb was said of each kind since the last call.
    pub fn take(&mut self) -> BTreeMap<String, usize> {
        if self.1.is_none() {
            self.1 = File::open(&self.0).ok().map(BufReader::new);
        }
        let mut counts = BTreeMap::new();
        let Some(log) = &mut self.1 else { return counts };
        let mut line = String::new();
        // A line that is not whole yet is read when it is.
        while log.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
            let event: Value = serde_json::from_str(&line).unwrap();
            *counts.entry(named(&event)).or_default() += 1;
            line.clear();
        }
        log.seek_relative(-i64::try_from(line.len()).unwrap()).unwrap();
        counts
    }
}

/// `patch wasmproxies/status`, say.
fn named(event: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let object = &event["objectRef"];
    let kind = [text(&object["resource"]), text(&object["subresource"])];
    let kind: Vec<_> = kind.into_iter().filter(|part| !part.is_empty()).collect();
    format!("{} {}", text(&event["verb"]), kind.join("/"))
}
