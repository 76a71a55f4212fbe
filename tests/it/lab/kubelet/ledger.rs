//! What tests see of containers: what they say, how they end, and how many there were at once.

use std::sync::Mutex;

use tokio::sync::{mpsc, watch};

use crate::waiting::soon;

/// A container's process, running or ended: a container that is started again is another one.
#[derive(Clone)]
pub struct Container {
    pod: String,
    name: String,
    pid: u32,
    lines: watch::Receiver<Vec<String>>,
    exit: watch::Receiver<Option<i32>>,
    signals: mpsc::UnboundedSender<&'static str>,
}

impl Container {
    /// Its name in the Pod.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it has said so far on standard output and standard error.
    pub fn log(&self) -> Vec<String> {
        self.lines.borrow().clone()
    }

    /// The first line with this text, once it is there.
    ///
    /// # Panics
    /// Where the process ends without it.
    pub async fn line(&self, text: &str) -> String {
        let find = |lines: &Vec<String>| lines.iter().find(|line| line.contains(text)).cloned();
        let mut lines = self.lines.clone();
        let found = soon(text, lines.wait_for(|lines| find(lines).is_some())).await;
        found.ok().and_then(|lines| find(&lines)).unwrap_or_else(|| panic!("{} ended without {text:?}", self.pod))
    }

    /// Sends its process a signal: `KILL`, say, or `STOP` and `CONT`.
    pub fn signal(&self, name: &'static str) {
        // Nobody is there to get it once the process has ended.
        let _ = self.signals.send(name);
    }

    /// Whether its process runs.
    pub fn is_running(&self) -> bool {
        self.exit.borrow().is_none()
    }

    /// Waits for its end, and returns the exit code: 128 and the number of the signal where one ended it.
    pub async fn ended(&self) -> i32 {
        let mut exit = self.exit.clone();
        let code = soon("the end of a container", exit.wait_for(Option::is_some)).await;
        code.ok().and_then(|code| *code).unwrap_or_else(|| panic!("{} was abandoned", self.pod))
    }

    /// A file as the running container sees it.
    pub fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(format!("/proc/{}/root{path}", self.pid)).ok()
    }
}

/// A [`Container`] for who runs its process.
pub struct Entry {
    pod: String,
    lines: watch::Sender<Vec<String>>,
    exit: watch::Sender<Option<i32>>,
    /// What tests want to be sent to the process.
    pub signals: mpsc::UnboundedReceiver<&'static str>,
}

impl Entry {
    /// Where its lines go.
    pub fn lines(&self) -> watch::Sender<Vec<String>> {
        self.lines.clone()
    }
}

/// Whatever ran on a node.
#[derive(Default)]
pub struct Ledger {
    containers: watch::Sender<Vec<Container>>,
    /// Which Pods' processes began and ended, in that order.
    history: Mutex<Vec<(Moment, String)>>,
}

#[derive(Clone, Copy)]
enum Moment {
    Began,
    Ended,
}

impl Ledger {
    /// A process begins.
    pub fn begin(&self, pod: &str, name: &str, pid: u32) -> Entry {
        let (signals, received) = mpsc::unbounded_channel();
        let (lines, said) = watch::channel(Vec::new());
        let (exit, ended) = watch::channel(None);
        self.history.lock().unwrap().push((Moment::Began, pod.to_owned()));
        let (pod, name) = (pod.to_owned(), name.to_owned());
        let container = Container { pod: pod.clone(), name, pid, lines: said, exit: ended, signals };
        self.containers.send_modify(|containers| containers.push(container));
        Entry { pod, lines, exit, signals: received }
    }

    /// A process has ended.
    pub fn end(&self, entry: &Entry, code: i32) {
        self.history.lock().unwrap().push((Moment::Ended, entry.pod.clone()));
        entry.exit.send_replace(Some(code));
    }

    /// All processes of Pods whose names begin like that, oldest first.
    pub fn all(&self, pods: &str) -> Vec<Container> {
        let containers = self.containers.borrow();
        containers.iter().filter(|container| container.pod.starts_with(pods)).cloned().collect()
    }

    /// The latest process of such a Pod that runs and is not among those, once there is one.
    pub async fn running(&self, pods: &str, not: &[Container]) -> Container {
        let is_wanted = |container: &&Container| {
            let is_known = not.iter().any(|known| known.exit.same_channel(&container.exit));
            container.pod.starts_with(pods) && container.is_running() && !is_known
        };
        let find = |containers: &Vec<Container>| containers.iter().rev().find(is_wanted).cloned();
        let mut containers = self.containers.subscribe();
        let found = soon("a running container", containers.wait_for(|containers| find(containers).is_some())).await;
        // The ledger is there, and so is the sender.
        found.ok().and_then(|containers| find(&containers)).unwrap()
    }

    /// How many processes of such Pods ran at the same time, at the most.
    pub fn most_at_once(&self, pods: &str) -> usize {
        let (mut now, mut most) = (0_usize, 0);
        for (moment, pod) in self.history.lock().unwrap().iter() {
            match moment {
                _ if !pod.starts_with(pods) => {}
                Moment::Began => now += 1,
                Moment::Ended => now -= 1,
            }
            most = most.max(now);
        }
        most
    }
}
