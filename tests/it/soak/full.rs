//! A device of the full dialect: ours.

use std::{path::PathBuf, time::Instant};

use tokio::sync::watch;
use wasmproxy::{
    device::{self, Event, FetchError, FetchOptions, Fetched},
    digest::Digest,
};

use super::report::{Activity, History};

/// What a device is to do.
#[derive(Clone, Debug)]
pub struct Errand {
    pub number: u64,
    pub name: String,
    pub options: FetchOptions,
    /// It is switched off after so many chunks, and begins anew: each time.
    pub stops: Vec<u64>,
    pub file: PathBuf,
    pub history: History,
}

/// How a device ended.
#[derive(Debug)]
pub struct Ended {
    pub errand: Errand,
    /// When it began to ask for what it has.
    pub asked: Instant,
    pub outcome: Result<Fetched, FetchError>,
    /// What its file holds, where it says that it has the module.
    pub file: Option<Digest>,
}

/// Runs until the device ends by itself.
pub async fn run(errand: Errand, activity: Activity) -> Ended {
    let (outcome, asked) = fetch(&errand, &activity).await;
    activity.done();
    let file = outcome.is_ok().then(|| Digest::of(&std::fs::read(&errand.file).unwrap()));
    let _ = std::fs::remove_file(&errand.file);
    errand.history.note(format_args!("{outcome:?}"));
    Ended { errand, asked, outcome, file }
}

async fn fetch(errand: &Errand, activity: &Activity) -> (Result<Fetched, FetchError>, Instant) {
    let reference = errand.name.parse().unwrap();
    for stop in errand.stops.iter().map(|stop| Some(*stop)).chain([None]) {
        let asked = Instant::now();
        let (gathered, mut gathers) = watch::channel(0);
        let see = |event: Event| {
            match &event {
                Event::Gathered { .. } => {
                    gathered.send_modify(|gathered| *gathered += 1);
                    activity.done();
                    return;
                }
                Event::Asked { .. } => activity.asked(),
                _ => {}
            }
            errand.history.note(format_args!("has {} chunks: {event:?}", *gathered.borrow()));
        };
        let fetching = device::fetch(&reference, &errand.file, &errand.options, see);
        let stopped = async {
            match stop {
                Some(stop) => drop(gathers.wait_for(|gathered| *gathered >= stop).await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            outcome = fetching => return (outcome, asked),
            () = stopped => errand.history.note(format_args!("switched off")),
        }
    }
    unreachable!("the last is not stopped")
}
