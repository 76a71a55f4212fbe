//! What must hold of a device, whatever it hears in whatever order: see [`crate::fuzzing`].

#![allow(clippy::panic, clippy::unwrap_used, reason = "to panic is how it says that something does not hold")]

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;
use tokio::time::Instant;

use super::{
    assembly::{Assembly, MAX_CHUNKS, Whole},
    error::FetchError,
    gathering::{Audience, Gathering, Meaning, Next, Wish},
    options::Listen,
    subject::{MAX_CHANGES, MAX_MISMATCHES},
};
use crate::{
    digest::Digest,
    protocol::{Chunk, Complete, Layout, Request, request::Wanted},
};

/// The largest module that is accepted, in bytes.
const MAX_SIZE: u64 = 1 << 16;

/// What a device may hear of: size and chunk size of each. The last is larger than what is accepted.
const LAYOUTS: [(u64, u32); 7] =
    [(9, 10), (25, 10), (25, 9), (640, 10), (1500, 20), (MAX_SIZE, 1), (MAX_SIZE + 1, 512)];

/// A sequence of messages and moments, as bytes: what is said, and its arguments.
pub fn gathering(data: &[u8]) {
    let mut script = Script(data);
    let mut scene = Scene::new(script.byte().unwrap_or_default());
    while let Some(event) = script.byte() {
        if scene.play(event, &mut script).is_err() || scene.act().is_err() {
            return;
        }
        scene.check();
    }
}

struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn argument(&mut self) -> u8 {
        self.byte().unwrap_or_default()
    }

    fn whole(&mut self) -> Whole {
        let choice = self.argument();
        let (size, chunk_size) = LAYOUTS[usize::from(choice) % LAYOUTS.len()];
        Whole { digest: Digest::of(&[choice / 64]), layout: Layout::new(size, chunk_size).unwrap() }
    }

    fn name(&mut self) -> &'static str {
        if self.argument() < 250 { "add" } else { "other" }
    }
}

/// A device, and what it should know.
struct Scene {
    gathering: Gathering,
    now: Instant,
    /// What it said that it took, of the module that it gathers.
    taken: Option<(Whole, BTreeSet<u32>)>,
    /// A request is on its way.
    asking: bool,
    begun_anew: u32,
}

/// The device gave up: that is its right, at any time.
struct Over;

impl From<FetchError> for Over {
    fn from(_: FetchError) -> Self {
        Self
    }
}

impl Scene {
    fn new(options: u8) -> Self {
        let wish = Wish {
            reference: "add".parse().unwrap(),
            device: "d".parse().unwrap(),
            format: if options & 1 == 0 { Wanted::Json } else { Wanted::Raw },
            digest: (options & 2 != 0).then(|| Digest::of(&[0])),
            max_size: MAX_SIZE,
            listen: if options & 4 == 0 { Listen::Everything } else { Listen::OwnTopic },
            timeout: Duration::from_secs(120),
            silence: Duration::from_secs(10),
        };
        let now = Instant::now();
        let gathering = Gathering::new(wish, fastrand::Rng::with_seed(options.into()), now);
        Self { gathering, now, taken: None, asking: false, begun_anew: 0 }
    }

    /// Something happens to the device.
    fn play(&mut self, event: u8, script: &mut Script<'_>) -> Result<(), Over> {
        match event % 8 {
            0 | 1 => self.hear_chunk(script)?,
            2 => self.hear_complete(script)?,
            3 => self.hear_error(script)?,
            4 => self.gathering.connected(script.argument() & 1 == 0, self.now),
            5 if self.asking => {
                self.asking = false;
                self.gathering.asked(self.now);
            }
            6 if self.is_complete() => {
                self.gathering.mismatch(self.now)?;
                self.begin_anew();
            }
            _ => self.now += Duration::from_millis(100) * u32::from(script.argument()),
        }
        Ok(())
    }

    fn hear_chunk(&mut self, script: &mut Script<'_>) -> Result<(), Over> {
        let (app_name, whole) = (script.name().to_owned(), script.whole());
        let (total, index) = (whole.layout.total(), u32::from(script.argument()) << (script.argument() % 9));
        let audience = if script.argument() & 1 == 0 { Audience::Everyone } else { Audience::Us };
        let said = (script.argument() != 0).then_some((whole.digest, whole.layout));
        let index = index % total;
        let data = vec![0; whole.layout.len_of(index)];
        let chunk = Chunk { app_name, index, total, whole: said, data };
        if self.gathering.chunk(&chunk, audience, self.now)? {
            assert_eq!((chunk.app_name.as_str(), chunk.whole), ("add", Some((whole.digest, whole.layout))));
            // How a module is cut may turn out to be another than was heard: then it is gathered anew.
            let cut_otherwise = |of: &Whole| audience == Audience::Us && of.digest == whole.digest && *of != whole;
            self.taken.take_if(|(of, _)| cut_otherwise(of));
            let (of, taken) = self.taken.get_or_insert_with(|| (whole, BTreeSet::new()));
            assert!(*of == whole && taken.insert(index), "a chunk is written once, into its own module");
        }
        self.notice_begin();
        Ok(())
    }

    fn hear_complete(&mut self, script: &mut Script<'_>) -> Result<(), Over> {
        let (app_name, Whole { digest, layout }) = (script.name().to_owned(), script.whole());
        let total_chunks = layout.total() + u32::from(script.argument() == 255);
        let (size, chunk_size) = (layout.size(), layout.chunk_size());
        self.gathering.complete(&Complete { app_name, digest, size, chunk_size, total_chunks }, self.now)?;
        self.notice_begin();
        Ok(())
    }

    fn hear_error(&mut self, script: &mut Script<'_>) -> Result<(), Over> {
        const CODES: [&str; 8] = [
            "busy",
            "changed",
            "changed",
            "registry_unavailable",
            "bad_request",
            "not_found",
            "not_allowed",
            "too_large",
        ];
        let (app_name, code) = (script.name(), CODES[usize::from(script.argument()) % CODES.len()]);
        let device = ["d", "d", "e"].get(usize::from(script.argument() % 4));
        let retryable = script.argument() & 1 == 0;
        let mut notice = json!({
            "app_name": app_name, "code": code, "message": "because", "retryable": retryable, "device": device,
        });
        if code == "changed" && script.argument() & 1 != 0 {
            let Whole { digest, layout } = script.whole();
            notice["digest"] = digest.to_string().into();
            (notice["size"], notice["chunk_size"]) = (layout.size().into(), layout.chunk_size().into());
        }
        match self.gathering.error(serde_json::from_value(notice).unwrap(), self.now)? {
            Meaning::Nothing => {}
            Meaning::AskLater(wait) => assert!(wait > Duration::ZERO && app_name == "add" && device != Some(&"e")),
            Meaning::BeginAnew(_) => self.begin_anew(),
        }
        self.notice_begin();
        Ok(())
    }

    /// The device does what it wants to, until it waits.
    fn act(&mut self) -> Result<(), Over> {
        for _ in 0..4 {
            match self.gathering.next(self.now)? {
                Next::Wait(until) => {
                    assert!(until > self.now, "it does not wait in vain");
                    return Ok(());
                }
                Next::Ask(request) => self.check_request(&request),
                Next::BeginAnew(_) => self.begin_anew(),
                Next::GiveUp(_) => return Err(Over),
            }
        }
        panic!("it never comes to rest");
    }

    fn check_request(&mut self, request: &Request) {
        assert!(!std::mem::replace(&mut self.asking, true), "one request at a time");
        assert_eq!(Request::parse(&request.to_json()).as_ref(), Ok(request));
        let missing = request.full.as_ref().and_then(|full| full.missing.as_ref());
        match (missing, &self.taken) {
            (None, None) => {}
            (None, Some((whole, taken))) => assert_eq!(taken.len(), whole.layout.total() as usize),
            (Some(missing), Some((whole, taken))) => {
                assert_eq!((missing.digest, missing.chunk_size), (whole.digest, whole.layout.chunk_size()));
                assert!(missing.chunks.last() < whole.layout.total());
                assert!(missing.chunks.iter().all(|index| !taken.contains(&index)), "only what is missing");
            }
            // To be told what the reference means.
            (Some(missing), None) => assert_eq!(missing.chunks.iter().collect::<Vec<_>>(), [0]),
        }
    }

    fn begin_anew(&mut self) {
        self.begun_anew += 1;
        assert!(self.begun_anew <= MAX_CHANGES + MAX_MISMATCHES);
        self.taken = None;
        self.notice_begin();
    }

    /// A module is gathered from the moment that it is known, before its first chunk.
    fn notice_begin(&mut self) {
        if self.taken.is_none() {
            self.taken = self.gathering.assembly().map(|assembly| (assembly.whole(), BTreeSet::new()));
        }
    }

    fn is_complete(&self) -> bool {
        self.gathering.assembly().is_some_and(Assembly::is_complete)
    }

    /// The device's notes are ours.
    fn check(&self) {
        let Some(assembly) = self.gathering.assembly() else {
            assert!(self.taken.is_none());
            return;
        };
        let (whole, taken) = self.taken.as_ref().unwrap();
        let layout = whole.layout;
        assert_eq!(assembly.whole(), *whole);
        assert!(layout.size() <= MAX_SIZE && layout.total() <= MAX_CHUNKS);
        assert_eq!(assembly.chunks() as usize, taken.len());
        assert_eq!(assembly.is_complete(), taken.len() == layout.total() as usize);
        assert_eq!(assembly.bytes(), taken.iter().map(|index| layout.len_of(*index) as u64).sum::<u64>());
        if layout.total() <= 100 {
            assert!(assembly.missing().eq((0..layout.total()).filter(|index| !taken.contains(index))));
        }
    }
}
