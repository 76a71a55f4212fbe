//! What was done, and what came of it.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, Mutex},
    time::Instant,
};

use tokio::sync::watch;

/// How many lines of a history are kept.
const KEPT: usize = 300;

/// What happened, the last of it. Clones are the same history.
#[derive(Clone, Debug)]
pub struct History {
    begun: Instant,
    lines: Arc<Mutex<VecDeque<String>>>,
}

impl History {
    pub fn new(begun: Instant) -> Self {
        Self { begun, lines: Arc::default() }
    }

    pub fn note(&self, what: fmt::Arguments<'_>) {
        let mut lines = self.lines.lock().unwrap();
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(format!("{:9.3} {what}", self.begun.elapsed().as_secs_f64()));
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.lines.lock().unwrap();
        lines.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// Counts by name.
#[derive(Clone, Debug, Default)]
pub struct Figures(BTreeMap<String, u64>);

impl Figures {
    pub fn add(&mut self, name: impl Into<String>, count: u64) {
        *self.0.entry(name.into()).or_default() += count;
    }

    pub fn count(&mut self, name: impl Into<String>) {
        self.add(name, 1);
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, count)| writeln!(f, "  {count:>12}  {name}"))
    }
}

/// What all devices get done: steps are paced by it. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Activity {
    done: Arc<watch::Sender<u64>>,
    asked: Arc<watch::Sender<u64>>,
}

impl Activity {
    /// Somebody has got something done.
    pub fn done(&self) {
        self.done.send_modify(|done| *done += 1);
    }

    /// Somebody has asked for something.
    pub fn asked(&self) {
        self.asked.send_modify(|asked| *asked += 1);
    }

    /// How many requests there were.
    pub fn requests(&self) -> u64 {
        *self.asked.borrow()
    }

    /// Returns when so much more is done.
    pub async fn more(&self, count: u64) {
        let mut done = self.done.subscribe();
        let wanted = *done.borrow() + count;
        // Its sender is here.
        let _ = done.wait_for(|done| *done >= wanted).await;
    }
}
