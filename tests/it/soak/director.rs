//! Who decides what happens next, and whether what came of it is as promised.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::timeout};
use wasmproxy::{
    device::{FetchError, FetchOptions, MAX_CHANGES, MAX_MISMATCHES},
    mqtt::{Qos, VersionPreference},
    protocol::{TopicPrefix, request::Wanted},
};

use super::{
    Length, Settings,
    faults::Fault,
    floor::{Floor, LINKS, OLD_LINKS, PREFIX},
    full,
    hostile::Hostile,
    ledger::{Kind, Standing},
    old,
    report::{Activity, Figures, History},
};

/// The longest that a step waits for what devices get done.
const STEP: Duration = Duration::from_millis(300);
/// Devices at the same time.
const FULL_DEVICES: usize = 24;
const OLD_DEVICES: usize = 6;
/// No device gives up by itself.
const ENDLESS: Duration = Duration::from_secs(24 * 3600);
/// Within this time after the last fault everybody has come to an end, or never will.
const SETTLING: Duration = Duration::from_secs(300);
/// A fault of the registry's way may be told of so long after it.
const AFTERMATH: Duration = Duration::from_secs(120);
/// How often a long run says how far it is.
const TIDINGS: u64 = 500;

/// What was broken and is to be mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repair {
    Way(usize),
    Worker,
    Broker,
    Registry,
}

/// What a step does.
#[derive(Clone, Copy, Debug)]
enum Action {
    Full,
    Old,
    Push,
    Break,
    EndWorker,
    EndBroker,
    EndRegistry,
    Rage,
}

/// How often each happens, out of their sum.
const ACTIONS: [(u32, Action); 8] = [
    (40, Action::Full),
    (6, Action::Old),
    (4, Action::Push),
    (24, Action::Break),
    (4, Action::EndWorker),
    (1, Action::EndBroker),
    (1, Action::EndRegistry),
    (8, Action::Rage),
];

/// A run.
pub struct Director {
    settings: Settings,
    random: fastrand::Rng,
    begun: Instant,
    step: u64,
    floor: Floor,
    hostile: Hostile,
    repairs: Vec<(u64, Repair)>,
    full: JoinSet<full::Ended>,
    old: JoinSet<(old::Errand, bool)>,
    completed: old::AllCompleted,
    /// Devices that have not ended, and what they have gone through.
    running: BTreeMap<u64, (String, History)>,
    devices: u64,
    activity: Activity,
    history: History,
    figures: Figures,
    /// When a byte from the registry was changed last.
    registry_lied: Option<Instant>,
    /// When a byte on a link was changed, each time.
    link_lied: Vec<Instant>,
}

impl Director {
    pub async fn start(settings: Settings) -> Self {
        let mut random = fastrand::Rng::with_seed(settings.seed);
        let floor = Floor::start(settings.seed, &mut random).await;
        let begun = Instant::now();
        let mut director = Self {
            settings,
            random,
            begun,
            step: 0,
            hostile: Hostile::connect(floor.broker.port()),
            floor,
            repairs: Vec::new(),
            full: JoinSet::new(),
            old: JoinSet::new(),
            completed: old::AllCompleted::default(),
            running: BTreeMap::new(),
            devices: 0,
            activity: Activity::default(),
            history: History::new(begun),
            figures: Figures::default(),
            registry_lied: None,
            link_lied: Vec::new(),
        };
        director.start_worker();
        director
    }

    /// Goes on until its length is reached.
    pub async fn run(&mut self) {
        while !self.is_over() {
            self.step += 1;
            let (due, later) = self.repairs.iter().partition(|(step, _)| *step <= self.step);
            self.repairs = later;
            self.mend(due).await;
            self.act().await;
            let count = self.random.u64(1..100);
            let _ = timeout(STEP, self.activity.more(count)).await;
            self.floor.look_at_worker();
            while let Some(ended) = self.full.try_join_next() {
                self.judge(ended.unwrap());
            }
            self.judge_old();
            while let Some(ended) = self.old.try_join_next() {
                self.count_old(ended.unwrap());
            }
            if self.step.is_multiple_of(TIDINGS) {
                let seconds = self.begun.elapsed().as_secs();
                println!("soak: step {}, {seconds} s, {} devices so far", self.step, self.devices);
            }
        }
    }

    fn is_over(&self) -> bool {
        match self.settings.length {
            Length::Steps(steps) => self.step >= steps,
            Length::Time(time) => self.begun.elapsed() >= time,
        }
    }

    /// Lets faults end, and everybody come to an end.
    pub async fn settle(&mut self) {
        let repairs = std::mem::take(&mut self.repairs);
        self.mend(repairs).await;
        self.history.note(format_args!("no more faults"));
        let begun = Instant::now();
        self.until_all_ended("devices that ran when the last fault ended").await;
        self.figures.add("seconds until the last full device ended after the last fault", begun.elapsed().as_secs());
        if matches!(self.settings.length, Length::Time(_)) {
            let old = async {
                while let Some(ended) = self.old.join_next().await {
                    self.judge_old();
                    self.count_old(ended.unwrap());
                }
            };
            assert!(timeout(SETTLING, old).await.is_ok(), "old devices give up after a while");
        }
        self.figures.add("old devices: still waiting at the end", self.old.len() as u64);
        self.old.shutdown().await;
        self.judge_old();

        for name in self.floor.ledger.names(&Kind::ALL).into_iter().map(str::to_owned).collect::<Vec<_>>() {
            self.start_full(&name, 0);
        }
        self.until_all_ended("the last devices, one for each name").await;
    }

    async fn until_all_ended(&mut self, who: &str) {
        let all = async {
            while let Some(ended) = self.full.join_next().await {
                self.floor.look_at_worker();
                self.judge(ended.unwrap());
            }
        };
        assert!(timeout(SETTLING, all).await.is_ok(), "did not end in {SETTLING:?}: {who}");
    }

    /// The figures, of a run in which all went well.
    pub async fn end(mut self) -> String {
        self.floor.look_at_worker();
        self.floor.end_worker("TERM").await;
        let log = std::fs::read_to_string(self.floor.folder.join("worker.log")).unwrap();
        assert!(!log.contains("panicked at"), "a worker has panicked");
        std::fs::remove_dir_all(&self.floor.folder).unwrap();
        let mut figures = std::mem::take(&mut self.figures);
        figures.add("steps", self.step);
        figures.add("seconds", self.begun.elapsed().as_secs());
        figures.add("devices", self.devices);
        figures.add("modules pushed", self.floor.ledger.modules() as u64);
        figures.add("requests by devices", self.activity.requests());
        figures.add("KiB: most memory of a worker", self.floor.peak_memory() / 1024);
        for (name, bytes) in self.floor.bytes() {
            figures.add(format!("bytes: {name}"), bytes);
        }
        format!("soak: SOAK_SEED={} SOAK_STEPS={}\n{figures}", self.settings.seed, self.step)
    }

    async fn mend(&mut self, repairs: Vec<(u64, Repair)>) {
        for (_, repair) in repairs {
            self.note(format_args!("mends {repair:?}"));
            match repair {
                Repair::Way(way) => self.floor.way(way).heal(),
                Repair::Worker => self.start_worker(),
                Repair::Broker => self.floor.broker.start_again().await,
                Repair::Registry => self.floor.registry.start_again().await,
            }
        }
    }

    /// Something is broken until then.
    fn mend_later(&mut self, repair: Repair) {
        // Seldom for long, and never for long in a short run.
        let long = self.random.u8(..20) == 0 && matches!(self.settings.length, Length::Time(_));
        let steps = self.random.u64(1..if long { 120 } else { 12 });
        self.repairs.push((self.step + steps, repair));
    }

    fn is_broken(&self, what: Repair) -> bool {
        self.repairs.iter().any(|(_, repair)| *repair == what)
    }

    async fn act(&mut self) {
        let all: u32 = ACTIONS.iter().map(|(weight, _)| weight).sum();
        let mut chance = self.random.u32(..all);
        let action = ACTIONS.iter().find(|(weight, _)| {
            let is_it = chance < *weight;
            chance = chance.saturating_sub(*weight);
            is_it
        });
        match action.unwrap().1 {
            Action::Full if self.full.len() < FULL_DEVICES => {
                let name = self.any_name();
                let stops = [0, 0, 0, 1, 2][self.random.usize(..5)];
                self.start_full(&name, stops);
            }
            Action::Old if self.old.len() < OLD_DEVICES => self.start_old(),
            Action::Push if !self.is_broken(Repair::Registry) => self.push().await,
            Action::Break => self.break_a_way(),
            Action::EndWorker if !self.is_broken(Repair::Worker) => {
                let signal = if self.random.u8(..3) == 0 { "TERM" } else { "KILL" };
                self.note(format_args!("SIG{signal} for the worker"));
                self.figures.count(format!("faults: worker ended by SIG{signal}"));
                self.floor.end_worker(signal).await;
                self.mend_later(Repair::Worker);
            }
            Action::EndBroker if !self.is_broken(Repair::Broker) => {
                let killed = self.random.bool();
                self.note(format_args!("ends the broker, killed: {killed}"));
                self.figures.count(if killed { "faults: broker killed" } else { "faults: broker stopped" });
                if killed {
                    self.floor.broker.kill();
                } else {
                    self.floor.broker.stop();
                }
                self.mend_later(Repair::Broker);
            }
            Action::EndRegistry if !self.is_broken(Repair::Registry) => {
                self.note(format_args!("ends the registry"));
                self.figures.count("faults: registry killed");
                self.floor.registry.kill();
                self.mend_later(Repair::Registry);
            }
            Action::Rage => {
                let names = self.floor.ledger.names(&[Kind::Moving, Kind::Missing, Kind::Pinned]);
                let (kind, count) = self.hostile.rage(&names, &mut self.random);
                self.note(format_args!("{count} hostile messages: {kind}"));
                self.figures.add(format!("hostile: {kind}"), count);
            }
            // Not now.
            _ => {}
        }
    }

    fn start_worker(&mut self) {
        self.figures.count("workers started");
        self.floor.start_worker();
    }

    async fn push(&mut self) {
        let kind = if self.random.u8(..10) == 0 { Kind::Plain } else { Kind::Moving };
        let names = self.floor.ledger.names(&[kind]);
        let name = names[self.random.usize(..names.len())].to_owned();
        self.floor.push(&name, &mut self.random).await;
        self.note(format_args!("pushed {name}"));
    }

    fn break_a_way(&mut self) {
        let way = match self.random.u8(..10) {
            0..3 => 0,
            3..6 => 1,
            _ => self.random.usize(2..2 + LINKS + OLD_LINKS),
        };
        // What plain chunks go through must not change them: old devices believe all they hear.
        let may_corrupt = (1..2 + LINKS).contains(&way);
        let fault = Fault::choose(&mut self.random, may_corrupt);
        if let Fault::Corrupt(..) = fault {
            if way == 1 {
                self.registry_lied = Some(Instant::now());
            } else {
                self.link_lied.push(Instant::now());
            }
        }
        let whose = ["worker to broker", "worker to registry", "devices to broker"][way.min(2)];
        self.note(format_args!("way {way}, {whose}: {fault:?}"));
        self.figures.count(format!("faults: {whose}: {}", fault.kind()));
        fault.inject(self.floor.way(way));
        self.mend_later(Repair::Way(way));
    }

    fn any_name(&mut self) -> String {
        let kinds: &[Kind] = match self.random.u8(..20) {
            0..13 => &[Kind::Moving],
            13..15 => &[Kind::Pinned],
            15..17 => &[Kind::Plain],
            _ => &[Kind::Missing, Kind::Denied, Kind::Odd],
        };
        let names = self.floor.ledger.names(kinds);
        names[self.random.usize(..names.len())].to_owned()
    }

    fn start_full(&mut self, name: &str, stops: usize) {
        let random = &mut self.random;
        let (number, link) = (self.devices, random.usize(..LINKS));
        let url = format!("mqtt://{}", self.floor.links[link].host).parse().unwrap();
        let options = FetchOptions {
            version: [VersionPreference::Auto, VersionPreference::V311, VersionPreference::V5][random.usize(..3)],
            format: [Wanted::Json, Wanted::Raw][random.usize(..2)],
            qos: [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce][random.usize(..3)],
            timeout: ENDLESS,
            ..FetchOptions::new(url, TopicPrefix::new(PREFIX).unwrap(), format!("full-{number}").parse().unwrap())
        };
        let stops = std::iter::repeat_with(|| random.u64(1..40)).take(stops).collect();
        let file = self.floor.folder.join(format!("{number}.wasm"));
        let (name, history) = (name.to_owned(), History::new(self.begun));
        let description = format!(
            "full-{number}, link {link}, {:?}, {:?}, {:?}: {name}",
            options.version, options.format, options.qos
        );
        self.note(format_args!("starts {description}"));
        self.running.insert(number, (description, history.clone()));
        self.full.spawn(full::run(full::Errand { number, name, options, stops, file, history }, self.activity.clone()));
        self.devices += 1;
    }

    fn start_old(&mut self) {
        let (number, link) = (self.devices, LINKS + self.random.usize(..OLD_LINKS));
        let names = self.floor.ledger.names(&[Kind::Plain]);
        let name = names[self.random.usize(..names.len())].to_owned();
        let port = self.floor.links[link].host.rsplit_once(':').unwrap().1.parse().unwrap();
        let (attempts, history) = (self.random.u32(1..4), History::new(self.begun));
        let description = format!("old-{number}, link {link}: {name}");
        self.note(format_args!("starts {description}"));
        self.running.insert(number, (description, history.clone()));
        let errand = old::Errand { number, name, port, attempts, history };
        self.old.spawn(old::run(errand, self.completed.clone(), self.activity.clone()));
        self.devices += 1;
    }

    /// Whether a full device ended as promised.
    fn judge(&mut self, ended: full::Ended) {
        let full::Ended { errand, asked, outcome, file } = &ended;
        let kind = self.floor.ledger.kind(&errand.name);
        let registry_lied = self.registry_lied.is_some_and(|when| when + AFTERMATH > *asked);
        let how = match outcome {
            Ok(fetched) => {
                assert_eq!(*file, Some(fetched.whole.digest), "the file is another module: {ended:#?}");
                match self.floor.ledger.standing(&errand.name, fetched.whole.digest, *asked) {
                    Standing::Current => "have the module".to_owned(),
                    Standing::Earlier => "have the module of a pass that had begun before the tag moved".to_owned(),
                    Standing::Never => panic!("the name never meant that: {ended:#?}"),
                }
            }
            Err(FetchError::Refused(notice)) => {
                let is_true = kind.refusal().as_ref() == Some(&notice.code);
                assert!(is_true || registry_lied, "that is not so: {ended:#?}");
                format!("were told {}", notice.code)
            }
            Err(FetchError::Unsettled(_)) if self.floor.ledger.moved(&errand.name, *asked) >= MAX_CHANGES => {
                "gave up on a tag that moved too often".to_owned()
            }
            Err(FetchError::DigestMismatch(_)) if self.lies_since(*asked) >= MAX_MISMATCHES as usize => {
                "gave up on a link that changes bytes".to_owned()
            }
            Err(_) => panic!("neither a module nor a reason: {ended:#?}"),
        };
        self.figures.count(format!("full devices: {how}"));
        self.running.remove(&errand.number);
    }

    fn lies_since(&self, asked: Instant) -> usize {
        self.link_lied.iter().filter(|when| **when >= asked).count()
    }

    fn count_old(&mut self, (errand, has_it): (old::Errand, bool)) {
        self.figures.count(if has_it { "old devices: have the module" } else { "old devices: gave up" });
        self.running.remove(&errand.number);
    }

    /// Whether all that old devices have put together was pushed.
    fn judge_old(&mut self) {
        let completed = std::mem::take(&mut *self.completed.lock().unwrap());
        for old::Completed { device, name, digest } in completed {
            let standing = self.floor.ledger.standing(&name, digest, self.begun);
            assert_ne!(standing, Standing::Never, "old-{device} holds {digest}, which {name} never meant");
        }
    }

    fn note(&self, what: std::fmt::Arguments<'_>) {
        self.history.note(format_args!("step {}: {what}", self.step));
    }
}

impl Drop for Director {
    /// Where a promise was broken: all that it takes to see why.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        println!("soak: broken at step {}\n{}", self.step, self.history);
        for (description, history) in self.running.values() {
            println!("{description}\n{history}");
        }
        println!("{}", self.figures);
        println!("SOAK_SEED={} SOAK_STEPS={}, see {}", self.settings.seed, self.step, self.floor.folder.display());
    }
}
