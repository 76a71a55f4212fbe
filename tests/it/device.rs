//! The `device` room against a real mosquitto. What is at the other end is played by a [`Script`] where a test is about
//! what a device does, whatever it hears; it is a real worker, on a [`Floor`](floor::Floor), where both have to agree on
//! what is lost, how much is asked for, and who is told.

mod command;
mod fetch;
mod floor;
mod outages;
mod own_topic;
mod raw;
mod script;
mod slow;
mod trouble;

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::{sync::mpsc, task::JoinHandle};
use wasmproxy::{
    device::{self, Event, FetchError, FetchOptions, Fetched},
    protocol::TopicPrefix,
};

use self::script::Script;
use crate::{lab::Broker, waiting::soon};

/// What devices ask for here, unless they ask for something else.
const APP: &str = "registry.example/wasm/add:1.2";
const DEVICE: &str = "press-4";

fn prefix() -> TopicPrefix {
    TopicPrefix::of_channel("9b1c").unwrap()
}

/// A channel with somebody at its other end, and a folder for what comes.
struct Channel {
    broker: Broker,
    script: Script,
    folder: TempDir,
}

impl Channel {
    async fn open() -> Self {
        let broker = Broker::start().await;
        let script = Script::on(&broker).await;
        Self { broker, script, folder: tempfile::tempdir().unwrap() }
    }

    fn options(&self) -> FetchOptions {
        FetchOptions::new(self.broker.url().parse().unwrap(), prefix(), DEVICE.parse().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("add.wasm")
    }

    fn fetch(&self) -> Fetch {
        self.fetch_with(APP, self.options())
    }

    fn fetch_with(&self, reference: &str, options: FetchOptions) -> Fetch {
        Fetch::begin(reference, self.file(), options)
    }

    /// The names of the files that are there.
    fn files(&self) -> Vec<String> {
        names(self.folder.path())
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// A fetch under way.
struct Fetch {
    running: JoinHandle<Result<Fetched, FetchError>>,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Fetch {
    fn begin(reference: &str, file: PathBuf, options: FetchOptions) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let reference = reference.parse().unwrap();
        let running =
            tokio::spawn(
                async move { device::fetch(&reference, &file, &options, |event| drop(sender.send(event))).await },
            );
        Self { running, events }
    }

    async fn end(&mut self) -> Result<Fetched, FetchError> {
        soon("the end", &mut self.running).await.unwrap()
    }

    /// Waits for an event.
    async fn sees(&mut self, what: impl Fn(&Event) -> bool) -> Event {
        let next = async {
            loop {
                let event = self.events.recv().await.expect("it has ended");
                if what(&event) {
                    return event;
                }
            }
        };
        soon("an event", next).await
    }
}
