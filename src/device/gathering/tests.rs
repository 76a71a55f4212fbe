mod forged;
mod lossy;
mod own_topic;

use super::*;
use crate::{
    device::{FetchOptions, MAX_CHANGES, MAX_MISMATCHES},
    protocol::Layout,
};

const TIMEOUT: Duration = Duration::from_secs(120);
const SILENCE: Duration = FetchOptions::SILENCE;
/// Longer than any silence.
const LONG: Duration = Duration::from_secs(15);

/// A gathering, and the time that it believes in.
struct Scene {
    gathering: Gathering,
    now: Instant,
}

fn whole(module: &[u8], chunk_size: u32) -> Whole {
    Whole { digest: Digest::of(module), layout: Layout::new(module.len() as u64, chunk_size).unwrap() }
}

fn chunk(whole: Whole, index: u32) -> Chunk {
    Chunk {
        app_name: "add".to_owned(),
        index,
        total: whole.layout.total(),
        whole: Some((whole.digest, whole.layout)),
        data: vec![0; whole.layout.len_of(index)],
    }
}

fn complete(whole: Whole) -> Complete {
    let Whole { digest, layout } = whole;
    Complete {
        app_name: "add".to_owned(),
        digest,
        size: layout.size(),
        chunk_size: layout.chunk_size(),
        total_chunks: layout.total(),
    }
}

fn notice(code: ErrorCode) -> ErrorNotice {
    ErrorNotice {
        app_name: "add".to_owned(),
        retryable: code.is_retryable(),
        code,
        message: "because".to_owned(),
        device: Some("d".parse().unwrap()),
        now: None,
    }
}

/// What the worker says where a reference means something else than what was asked for by number.
fn changed_to(whole: Whole) -> ErrorNotice {
    ErrorNotice { now: Some(Descriptor::new(whole.digest, whole.layout)), ..notice(ErrorCode::Changed) }
}

impl Scene {
    fn of(reference: &str) -> Self {
        let wish = Wish {
            reference: reference.parse().unwrap(),
            device: "d".parse().unwrap(),
            format: Wanted::Json,
            digest: None,
            max_size: 1_000_000,
            listen: Listen::Everything,
            timeout: TIMEOUT,
            silence: SILENCE,
        };
        Self::wishing(wish)
    }

    fn wishing(wish: Wish) -> Self {
        let now = Instant::now();
        let mut gathering = Gathering::new(wish, fastrand::Rng::with_seed(7), now);
        gathering.connected(true, now);
        Self { gathering, now }
    }

    /// One that has asked for the whole module.
    fn asked() -> Self {
        let mut scene = Self::of("add");
        assert_eq!(scene.asks(), None);
        scene
    }

    fn after(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self
    }

    fn next(&mut self) -> Next {
        self.gathering.next(self.now).unwrap()
    }

    fn waits(&mut self) {
        let next = self.next();
        assert!(matches!(next, Next::Wait(_)), "{next:?}");
    }

    /// Asks, and returns the chunks that it asked for by number.
    fn asks(&mut self) -> Option<Vec<u32>> {
        let Next::Ask(request) = self.next() else { panic!("asks for nothing") };
        self.gathering.asked(self.now);
        let full = request.full.unwrap();
        assert_eq!((request.app_name.as_str(), full.device), ("add", Some("d".parse().unwrap())));
        full.missing.map(|missing| missing.chunks.iter().collect())
    }

    fn hears(&mut self, whole: Whole, indexes: impl IntoIterator<Item = u32>) {
        for index in indexes {
            self.gathering.chunk(&chunk(whole, index), Audience::Everyone, self.now).unwrap();
        }
    }

    fn gets(&mut self, whole: Whole, indexes: impl IntoIterator<Item = u32>) {
        for index in indexes {
            assert!(self.gathering.chunk(&chunk(whole, index), Audience::Us, self.now).unwrap());
        }
    }

    fn hears_complete(&mut self, whole: Whole) {
        self.gathering.complete(&complete(whole), self.now).unwrap();
    }

    fn hears_error(&mut self, code: ErrorCode) -> Meaning {
        self.hears_notice(notice(code))
    }

    fn hears_notice(&mut self, notice: ErrorNotice) -> Meaning {
        self.gathering.error(notice, self.now).unwrap()
    }

    fn gathered(&self) -> Option<Whole> {
        self.gathering.assembly().map(Assembly::whole)
    }
}

#[test]
fn the_whole_module_is_asked_for_first_and_again_while_nothing_is_heard() {
    let mut scene = Scene::asked();
    scene.after(SILENCE - Duration::from_millis(1)).waits();
    assert_eq!(scene.after(SILENCE / 2).asks(), None);
    assert_eq!(scene.after(LONG).asks(), None);
}

#[test]
fn nothing_else_is_asked_for_until_the_broker_has_taken_a_request() {
    let mut scene = Scene::of("add");
    assert!(matches!(scene.next(), Next::Ask(_)));
    scene.after(LONG).waits();
    scene.gathering.asked(scene.now);
    scene.waits();
    assert_eq!(scene.after(LONG).asks(), None);
}

#[test]
fn what_is_missing_is_asked_for_after_complete() {
    let module = whole(&[7; 50], 10);
    let mut scene = Scene::asked();
    scene.hears(module, [0, 3]);
    scene.after(Duration::from_secs(1)).waits();
    scene.hears_complete(module);
    assert_eq!(scene.after(Duration::from_secs(1)).asks(), Some(vec![1, 2, 4]));
}

#[test]
fn what_is_missing_is_asked_for_after_a_silence() {
    let module = whole(&[7; 50], 10);
    let mut scene = Scene::asked();
    scene.hears(module, [0, 3]);
    scene.after(SILENCE - Duration::from_millis(1)).waits();
    scene.hears(module, [3]);
    scene.after(SILENCE - Duration::from_millis(1)).waits();
    assert_eq!(scene.after(LONG).asks(), Some(vec![1, 2, 4]));
}

#[test]
fn a_module_that_was_missed_altogether_is_asked_for_by_number() {
    let module = whole(&[7; 30], 10);
    let mut scene = Scene::asked();
    scene.hears_complete(module);
    assert_eq!(scene.after(Duration::from_secs(1)).asks(), Some(vec![0, 1, 2]));
}

#[test]
fn the_next_chunks_are_asked_for_when_those_before_have_come() {
    let module = whole(&[7; 1000], 10);
    let mut scene = Scene::asked();
    scene.hears_complete(module);
    assert_eq!(scene.after(Duration::from_secs(1)).asks(), Some((0..64).collect()));
    scene.gets(module, 0..63);
    scene.waits();
    scene.gets(module, [63]);
    assert_eq!(scene.asks(), Some((64..100).collect()));
}

#[test]
fn what_was_asked_for_and_does_not_come_is_asked_for_again_after_a_silence() {
    let module = whole(&[7; 50], 10);
    let mut scene = Scene::asked();
    scene.hears_complete(module);
    scene.after(Duration::from_secs(1)).asks();
    scene.gets(module, [0, 1]);
    // The end of another pass is no reason: what was asked for is on its way.
    scene.hears_complete(module);
    scene.after(Duration::from_secs(9)).waits();
    assert_eq!(scene.after(LONG).asks(), Some(vec![2, 3]));
}

#[test]
fn what_a_pass_brings_anyway_is_not_asked_for() {
    let module = whole(&[7; 1000], 10);
    let mut scene = Scene::asked();
    scene.hears_complete(module);
    scene.after(Duration::from_secs(1)).asks();
    scene.hears(module, [99]);
    scene.gets(module, 0..64);
    scene.after(Duration::from_secs(1)).waits();
    scene.hears_complete(module);
    assert_eq!(scene.after(Duration::from_secs(1)).asks(), Some((64..99).collect()));
}

#[test]
fn an_answer_that_overtakes_the_brokers_word_is_not_waited_for_again() {
    let module = whole(&[7; 1000], 10);
    let mut scene = Scene::asked();
    scene.hears_complete(module);
    scene.now += Duration::from_secs(1);
    assert!(matches!(scene.next(), Next::Ask(_)));
    scene.gets(module, 0..64);
    scene.waits();
    scene.gathering.asked(scene.now);
    assert_eq!(scene.asks(), Some((64..100).collect()));
}

#[test]
fn other_references_other_devices_and_plain_chunks_are_not_ours() {
    let module = whole(&[7; 30], 10);
    let mut scene = Scene::asked();
    let other = Chunk { app_name: "other".to_owned(), ..chunk(module, 0) };
    let plain = Chunk { whole: None, ..chunk(module, 0) };
    for chunk in [other, plain] {
        assert!(!scene.gathering.chunk(&chunk, Audience::Everyone, scene.now).unwrap());
    }
    scene.gathering.complete(&Complete { app_name: "other".to_owned(), ..complete(module) }, scene.now).unwrap();
    scene.gathering.complete(&Complete { total_chunks: 2, ..complete(module) }, scene.now).unwrap();
    for notice in [
        ErrorNotice { app_name: "other".to_owned(), ..notice(ErrorCode::NotFound) },
        ErrorNotice { device: Some("e".parse().unwrap()), ..notice(ErrorCode::NotFound) },
        ErrorNotice { device: None, ..notice(ErrorCode::BadRequest) },
    ] {
        assert_eq!(scene.gathering.error(notice, scene.now).unwrap(), Meaning::Nothing);
    }
    assert_eq!(scene.gathered(), None);
}

#[test]
fn only_the_module_of_the_digest_asked_for_is_an_answer() {
    let (module, other) = (whole(b"module", 10), whole(b"other", 10));
    let mut scene = Scene::asked();
    scene.gathering.wish.digest = Some(module.digest);
    for (whole, ours) in [(other, false), (module, true)] {
        let chunk = chunk(whole, 0);
        assert_eq!(scene.gathering.chunk(&chunk, Audience::Everyone, scene.now).unwrap(), ours);
    }
    assert_eq!(scene.gathered(), Some(module));
}

#[test]
fn two_modules_or_two_layouts_of_one_are_never_mixed() {
    let module = whole(&[7; 50], 10);
    for other in [whole(&[8; 50], 10), whole(&[7; 50], 25)] {
        let mut scene = Scene::asked();
        scene.hears(module, [0]);
        scene.hears(other, [0, 1]);
        assert_eq!(scene.gathered(), Some(module));
        assert_eq!(scene.gathering.assembly().unwrap().chunks(), 1);
    }
}

#[test]
fn a_module_that_fell_silent_is_left_for_one_that_did_not() {
    let (old, new) = (whole(&[7; 50], 10), whole(&[8; 50], 10));
    let mut scene = Scene::asked();
    scene.hears(old, [0, 1]);
    scene.hears(new, [0]);
    scene.after(Duration::from_secs(9)).waits();
    scene.hears(new, [1]);
    scene.now += LONG;
    assert_eq!(scene.next(), Next::BeginAnew(Cause::Overtaken));
    assert_eq!(scene.gathered(), Some(new));
    assert_eq!(scene.asks(), Some(vec![0, 1, 2, 3, 4]));
}

#[test]
fn a_module_that_goes_on_is_not_left() {
    let (old, new) = (whole(&[7; 50], 10), whole(&[8; 50], 10));
    let mut scene = Scene::asked();
    scene.hears(new, [0]);
    scene.hears(old, [0]);
    scene.hears(new, [1]);
    assert_eq!(scene.after(LONG).asks(), Some(vec![2, 3, 4]));
    assert_eq!(scene.gathered(), Some(new));
}

#[test]
fn changed_begins_anew() {
    let (old, new) = (whole(&[7; 50], 10), whole(&[8; 50], 10));
    let mut scene = Scene::asked();
    scene.hears(old, [0]);
    // Nobody asked by number yet: it is about somebody else's request.
    assert_eq!(scene.hears_error(ErrorCode::Changed), Meaning::Nothing);
    scene.after(LONG).asks();
    assert_eq!(scene.hears_error(ErrorCode::Changed), Meaning::BeginAnew(Cause::Changed));
    assert_eq!(scene.after(Duration::from_secs(1)).asks(), None);
    scene.hears(new, 0..5);
    assert!(scene.gathering.assembly().unwrap().is_complete());
}

#[test]
fn changed_before_the_brokers_word_begins_anew_at_once() {
    let module = whole(&[7; 50], 10);
    let mut scene = Scene::asked();
    scene.hears_complete(module);
    scene.now += Duration::from_secs(1);
    assert!(matches!(scene.next(), Next::Ask(_)));
    scene.hears_error(ErrorCode::Changed);
    scene.gathering.asked(scene.now);
    assert_eq!(scene.after(Duration::from_secs(1)).asks(), None);
}

#[test]
fn a_reference_that_never_settles_is_given_up() {
    let module = whole(&[7; 50], 10);
    let mut scene = Scene::asked();
    for _ in 0..MAX_CHANGES {
        scene.hears_complete(module);
        scene.after(Duration::from_secs(1)).asks();
        assert_eq!(scene.hears_error(ErrorCode::Changed), Meaning::BeginAnew(Cause::Changed));
    }
    scene.hears_complete(module);
    scene.after(Duration::from_secs(1)).asks();
    let given_up = scene.gathering.error(notice(ErrorCode::Changed), scene.now);
    assert!(matches!(given_up, Err(FetchError::Unsettled(MAX_CHANGES))));
}

#[test]
fn who_is_busy_is_asked_again_later() {
    let mut scene = Scene::asked();
    let Meaning::AskLater(wait) = scene.hears_error(ErrorCode::Busy) else { panic!("not later") };
    scene.after(wait - Duration::from_millis(1)).waits();
    assert_eq!(scene.after(Duration::from_millis(1)).asks(), None);
}

#[test]
fn what_will_not_be_better_later_ends_it() {
    let mut scene = Scene::asked();
    let refused = scene.gathering.error(notice(ErrorCode::NotFound), scene.now);
    assert!(matches!(refused, Err(FetchError::Refused(_))));
    // The other end knows best, whatever the code.
    let never = ErrorNotice { retryable: false, ..notice(ErrorCode::Busy) };
    assert!(scene.gathering.error(never, scene.now).is_err());
}

#[test]
fn giving_up_says_how_far_it_came() {
    let module = whole(&[7; 50], 10);
    let stall = |scene: &mut Scene| match scene.after(TIMEOUT).next() {
        Next::GiveUp(stall) => stall,
        next => panic!("{next:?}"),
    };
    assert_eq!(stall(&mut Scene::asked()), Stall::Unanswered);

    let mut gathering = Scene::asked();
    gathering.hears(module, [0, 1]);
    assert_eq!(stall(&mut gathering), Stall::Incomplete { chunks: 2, total: 5 });

    let mut refused = Scene::asked();
    refused.hears_error(ErrorCode::Busy);
    assert_eq!(stall(&mut refused), Stall::Refused(Box::new(notice(ErrorCode::Busy))));
}

/// One that is not connected yet.
fn unconnected() -> Scene {
    let mut scene = Scene::of("add");
    scene.gathering = Gathering::new(scene.gathering.wish.clone(), fastrand::Rng::with_seed(7), scene.now);
    scene
}

#[test]
fn the_time_that_the_first_connection_took_does_not_count() {
    let mut scene = unconnected();
    scene.after(TIMEOUT - Duration::from_secs(1)).waits();
    scene.gathering.connected(true, scene.now);
    assert_eq!(scene.after(Duration::from_secs(2)).asks(), None);
    // But only the first one's: a broker that comes and goes is no progress.
    scene.gathering.connected(true, scene.now);
    assert!(matches!(scene.after(TIMEOUT - Duration::from_secs(2)).next(), Next::GiveUp(_)));
}

#[test]
fn binary_is_asked_for_only_on_a_connection_that_carries_it() {
    for (binary, format) in [(true, Wanted::Raw), (false, Wanted::Json)] {
        let mut scene = unconnected();
        scene.gathering.wish.format = Wanted::Raw;
        scene.gathering.connected(binary, scene.now);
        let Next::Ask(request) = scene.next() else { panic!("asks for nothing") };
        assert_eq!(request.full.unwrap().format, Some(format));
    }
}
