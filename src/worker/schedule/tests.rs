use futures::FutureExt as _;

use super::*;
use crate::{
    digest::Digest,
    protocol::Layout,
    registry::{Module, Origin, Reference},
    worker::{holds::HOLD, starving::STARVING},
};

/// The size of every chunk in bytes.
const CHUNK: u32 = 10;

fn wish(app_name: &str, source: Source, formats: &[Format]) -> Wish {
    let reference = Reference::parse(app_name, "registry.example").unwrap();
    let formats = formats.to_vec();
    let asked = if source == Source::Requested { formats.clone() } else { Vec::new() };
    Wish { app_name: app_name.to_owned(), reference, formats, source, asked }
}

fn requested(app_name: &str) -> Wish {
    wish(app_name, Source::Requested, &[Format::Full])
}

fn declared(app_name: &str) -> Wish {
    wish(app_name, Source::Declared, &[Format::Full])
}

fn plain(app_name: &str) -> Wish {
    wish(app_name, Source::Requested, &[Format::Plain])
}

fn ask(schedule: &mut Schedule, wish: Wish) -> Admission {
    schedule.ask(wish, 10, Instant::now())
}

/// What the registry says of any wish: a module of that size, and of that digest.
fn plan(wish: &Wish, size: u64, digest: Digest) -> Plan {
    let Wish { app_name, reference, .. } = wish.clone();
    let layout = Layout::new(size, CHUNK).unwrap();
    let media_type = "application/wasm".to_owned();
    let module = Module { reference, manifest_digest: digest, digest, size, media_type, origin: Origin::default() };
    Plan { module, head: Arc::new(ChunkHead { app_name, digest, layout }), looked_at: Instant::now() }
}

/// Has the registry asked about all that wait, which are `size` bytes each.
fn look_at(schedule: &mut Schedule, size: u64, module: &[u8]) {
    while let Some(ticket) = schedule.look(Instant::now()) {
        schedule.found(ticket.id, plan(&ticket.wish, size, Digest::of(module)), Instant::now());
    }
}

fn begin_found(schedule: &mut Schedule) -> Option<Active> {
    schedule.begin(Instant::now(), &CancellationToken::new(), |_| true)
}

fn begin(schedule: &mut Schedule) -> Option<Active> {
    look_at(schedule, 100, b"a");
    begin_found(schedule)
}

/// A wish for a module of that size, which is found at once.
fn ask_for(schedule: &mut Schedule, app_name: &str, size: u64) {
    ask(schedule, requested(app_name));
    look_at(schedule, size, b"a");
}

fn name(active: &Active) -> &str {
    &active.ticket.wish.app_name
}

fn end(schedule: &mut Schedule, pass: &Active, rest: Duration) {
    schedule.end(&pass.ticket, rest, Instant::now());
}

#[tokio::test(start_paused = true)]
async fn the_same_wish_twice_is_one_pass() {
    let mut schedule = Schedule::default();
    assert_eq!(ask(&mut schedule, requested("a")), Admission::Queued);
    assert_eq!(ask(&mut schedule, requested("a")), Admission::Joined);
    let active = begin(&mut schedule).unwrap();
    assert_eq!(ask(&mut schedule, requested("a")), Admission::Joined);
    assert!(begin(&mut schedule).is_none());
    active.seats.close();
    assert_eq!(ask(&mut schedule, requested("a")), Admission::Queued);
    assert!(begin(&mut schedule).is_none(), "not beside the first one");
    end(&mut schedule, &active, Duration::ZERO);
    assert!(begin(&mut schedule).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_plain_wish_is_not_served_by_a_full_pass() {
    let mut schedule = Schedule::default();
    ask(&mut schedule, requested("a"));
    begin(&mut schedule).unwrap();
    ask(&mut schedule, plain("a"));
    assert_eq!(begin(&mut schedule).unwrap().ticket.wish.formats, [Format::Plain]);
}

#[tokio::test(start_paused = true)]
async fn four_passes_are_under_way_at_most() {
    let mut schedule = Schedule::default();
    for i in 0..6 {
        ask(&mut schedule, requested(&format!("a{i}")));
    }
    let mut active: Vec<_> = std::iter::from_fn(|| begin(&mut schedule)).collect();
    assert_eq!(active.len(), MAX_ACTIVE);
    end(&mut schedule, &active.remove(2), Duration::ZERO);
    assert_eq!(name(&begin(&mut schedule).unwrap()), "a4");
}

#[tokio::test(start_paused = true)]
async fn the_shortest_goes_first() {
    let mut schedule = Schedule::default();
    for (app_name, size) in [("large", 300), ("small", 100), ("medium", 200)] {
        ask_for(&mut schedule, app_name, size);
    }
    let order: Vec<_> = std::iter::from_fn(|| begin_found(&mut schedule)).map(|pass| name(&pass).to_owned()).collect();
    assert_eq!(order, ["small", "medium", "large"]);
}

#[tokio::test(start_paused = true)]
async fn what_has_waited_long_goes_before_what_is_shorter() {
    let mut schedule = Schedule::default();
    ask_for(&mut schedule, "large", 300);
    tokio::time::advance(AGED).await;
    ask_for(&mut schedule, "small", 100);
    // It has waited so long that its tag is asked for anew.
    assert!(begin_found(&mut schedule).is_none());
    look_at(&mut schedule, 300, b"a");
    assert_eq!(name(&begin_found(&mut schedule).unwrap()), "large");
}

#[tokio::test(start_paused = true)]
async fn a_small_module_does_not_wait_behind_four_large_ones() {
    let mut schedule = Schedule::default();
    let large: Vec<_> = (0..4)
        .map(|i| {
            ask_for(&mut schedule, &format!("large{i}"), 1000);
            begin_found(&mut schedule).unwrap()
        })
        .collect();
    ask_for(&mut schedule, "larger", 2000);
    assert!(begin_found(&mut schedule).is_none());
    for i in 0..4 {
        ask_for(&mut schedule, &format!("small{i}"), 100);
        assert!(begin_found(&mut schedule).is_some(), "before the large ones");
    }
    ask_for(&mut schedule, "small4", 100);
    assert!(begin_found(&mut schedule).is_none(), "behind its equals");
    assert_eq!(large[0].left(), 1000);
    (0..95).for_each(|_| large[0].seats.send());
    assert_eq!(large[0].left(), 50);
}

#[tokio::test(start_paused = true)]
async fn the_registry_is_asked_about_a_bounded_number_at_once() {
    let mut schedule = Schedule::default();
    for i in 0..20 {
        schedule.ask(requested(&format!("a{i}")), 100, Instant::now());
    }
    let looks: Vec<_> = std::iter::from_fn(|| schedule.look(Instant::now())).collect();
    assert_eq!(looks.len(), MAX_LOOKS);
    assert!(schedule.take(looks[0].id).is_some(), "it came to nothing");
    assert!(schedule.look(Instant::now()).is_some());
    schedule.ask(requested("elsewhere.example/a"), 100, Instant::now());
    assert!(schedule.look(Instant::now()).is_some(), "another registry is asked all the same");
}

#[tokio::test(start_paused = true)]
async fn passes_that_wait_for_the_registry_do_not_hold_up_others() {
    let mut schedule = Schedule::default();
    let stalled: Vec<_> = (0..4)
        .map(|i| {
            ask_for(&mut schedule, &format!("stalled{i}"), 10);
            begin_found(&mut schedule).unwrap()
        })
        .collect();
    ask_for(&mut schedule, "other", 100);
    assert!(begin_found(&mut schedule).is_none());
    let mut waiting = Box::pin(stalled[0].starving.during(std::future::pending::<()>()));
    assert!((&mut waiting).now_or_never().is_none());
    assert!(begin_found(&mut schedule).is_none(), "every pass waits now and then");
    assert_eq!(schedule.wake_at(Instant::now()), Some(Instant::now() + STARVING));
    tokio::time::advance(STARVING).await;
    assert!(begin_found(&mut schedule).is_some());
}

#[tokio::test(start_paused = true)]
async fn devices_find_a_full_queue_busy_and_declared_artifacts_do_not() {
    let mut schedule = Schedule::default();
    let now = Instant::now();
    schedule.ask(requested("a"), 1, now);
    assert_eq!(schedule.ask(requested("b"), 1, now), Admission::Busy);
    assert_eq!(schedule.ask(declared("c"), 1, now), Admission::Queued);
}

#[tokio::test(start_paused = true)]
async fn declared_artifacts_take_no_place_of_devices() {
    let mut schedule = Schedule::default();
    for name in ["a", "b"] {
        schedule.ask(declared(name), 1, Instant::now());
    }
    assert_eq!(schedule.ask(requested("c"), 1, Instant::now()), Admission::Queued);
}

#[tokio::test(start_paused = true)]
async fn what_was_just_sent_rests_as_long_as_it_took_and_at_most_twenty_seconds() {
    for (took, rest) in [(3, 3), (60, 20)] {
        let mut schedule = Schedule::default();
        ask(&mut schedule, requested("a"));
        let active = begin(&mut schedule).unwrap();
        active.seats.close();
        end(&mut schedule, &active, Duration::from_secs(took));
        ask(&mut schedule, requested("a"));
        assert_eq!(ask(&mut schedule, requested("a")), Admission::Joined);
        assert!(begin(&mut schedule).is_none());
        assert_eq!(schedule.wake_at(Instant::now()), Some(Instant::now() + Duration::from_secs(rest)));
        tokio::time::advance(Duration::from_secs(rest)).await;
        assert!(begin(&mut schedule).is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_declared_artifact_that_moved_does_not_wait_for_the_rest() {
    let mut schedule = Schedule::default();
    ask(&mut schedule, declared("a"));
    let active = begin(&mut schedule).unwrap();
    end(&mut schedule, &active, Duration::from_secs(5));
    ask(&mut schedule, declared("a"));
    assert!(begin(&mut schedule).is_some());
}

#[tokio::test(start_paused = true)]
async fn what_is_declared_no_more_is_called_off_unless_a_device_joined() {
    let mut schedule = Schedule::default();
    for name in ["a", "b", "c"] {
        ask(&mut schedule, declared(name));
    }
    let (a, b) = (begin(&mut schedule).unwrap(), begin(&mut schedule).unwrap());
    ask(&mut schedule, requested("b"));
    schedule.withdraw(|_| Vec::new());
    assert!(a.stop.is_cancelled());
    assert!(!b.stop.is_cancelled());
    assert!(begin(&mut schedule).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_device_that_joins_a_declared_artifact_in_the_queue_has_a_seat() {
    let mut schedule = Schedule::default();
    ask(&mut schedule, declared("a"));
    assert_eq!(ask(&mut schedule, requested("a")), Admission::Joined);
    assert!(begin(&mut schedule).unwrap().seats.is_taken());
}

#[tokio::test(start_paused = true)]
async fn a_device_waits_on_where_what_it_joined_is_withdrawn() {
    let mut schedule = Schedule::default();
    ask(&mut schedule, declared("a"));
    ask(&mut schedule, requested("a"));
    schedule.withdraw(|_| Vec::new());
    assert_eq!(begin(&mut schedule).unwrap().ticket.wish.source, Source::Requested);
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_was_called_off_is_joined_by_nobody() {
    let mut schedule = Schedule::default();
    ask(&mut schedule, declared("a"));
    let active = begin(&mut schedule).unwrap();
    schedule.withdraw(|_| Vec::new());
    assert_eq!(ask(&mut schedule, declared("a")), Admission::Queued);
    assert_eq!(ask(&mut schedule, requested("a")), Admission::Joined, "the one that waits");
    assert!(begin(&mut schedule).is_none(), "not beside the one that ends");
    end(&mut schedule, &active, Duration::ZERO);
    assert!(begin(&mut schedule).is_some());
}

/// A plain pass of `module`, broken off after `sent` chunks of ten.
fn broken_off(schedule: &mut Schedule, module: &[u8], sent: u32) {
    ask(schedule, plain("a"));
    look_at(schedule, 100, module);
    let pass = begin_found(schedule).unwrap();
    (0..sent).for_each(|_| pass.seats.send());
    pass.seats.close();
    schedule.note_parts(&pass, Parts::Sound(None), Instant::now());
    end(schedule, &pass, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn after_a_plain_pass_that_was_broken_off_another_module_waits_and_is_served_then() {
    let mut schedule = Schedule::default();
    broken_off(&mut schedule, b"old", 3);
    ask(&mut schedule, plain("a"));
    let ticket = schedule.look(Instant::now()).unwrap();
    assert!(schedule.found(ticket.id, plan(&ticket.wish, 100, Digest::of(b"new")), Instant::now()));
    assert!(begin_found(&mut schedule).is_none());
    assert_eq!(ask(&mut schedule, plain("a")), Admission::Held);
    assert_eq!(schedule.wake_at(Instant::now()), Some(Instant::now() + HOLD));
    tokio::time::advance(HOLD).await;
    look_at(&mut schedule, 100, b"new");
    assert!(begin_found(&mut schedule).is_none(), "its tag is looked at anew");
    look_at(&mut schedule, 100, b"new");
    assert!(begin_found(&mut schedule).is_some());
}

#[tokio::test(start_paused = true)]
async fn the_same_module_does_not_wait() {
    let mut schedule = Schedule::default();
    broken_off(&mut schedule, b"old", 3);
    ask(&mut schedule, plain("a"));
    look_at(&mut schedule, 100, b"old");
    assert!(begin_found(&mut schedule).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_moves_back_is_held_no_more_once_somebody_asks() {
    let mut schedule = Schedule::default();
    broken_off(&mut schedule, b"old", 3);
    ask(&mut schedule, plain("a"));
    look_at(&mut schedule, 100, b"new");
    assert_eq!(ask(&mut schedule, plain("a")), Admission::Held);
    assert!(schedule.look(Instant::now()).is_none(), "that was just found out");
    tokio::time::advance(FRESH).await;
    assert_eq!(ask(&mut schedule, plain("a")), Admission::Held);
    look_at(&mut schedule, 100, b"old");
    assert!(begin_found(&mut schedule).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_sent_nothing_leaves_nothing_behind() {
    let mut schedule = Schedule::default();
    broken_off(&mut schedule, b"old", 0);
    ask(&mut schedule, plain("a"));
    look_at(&mut schedule, 100, b"new");
    assert!(begin_found(&mut schedule).is_some());
}

#[tokio::test(start_paused = true)]
async fn devices_that_speak_the_full_dialect_do_not_wait_for_the_others() {
    let mut schedule = Schedule::default();
    broken_off(&mut schedule, b"old", 3);
    ask(&mut schedule, wish("a", Source::Declared, &[Format::Full, Format::Plain]));
    look_at(&mut schedule, 100, b"new");
    assert!(begin_found(&mut schedule).is_none());
    assert_eq!(ask(&mut schedule, requested("a")), Admission::Queued);
    look_at(&mut schedule, 100, b"new");
    assert_eq!(begin_found(&mut schedule).unwrap().ticket.wish.formats, [Format::Full]);
}

#[tokio::test(start_paused = true)]
async fn whatever_is_said_in_plain_holds_its_name_however_smoothly_it_went() {
    let mut schedule = Schedule::default();
    ask(&mut schedule, plain("a"));
    look_at(&mut schedule, 100, b"old");
    let pass = begin_found(&mut schedule).unwrap();
    (0..10).for_each(|_| pass.seats.send());
    pass.seats.close();
    // Who asks in the second round, and finds another module, is told to wait once it is known.
    assert_eq!(ask(&mut schedule, plain("a")), Admission::Queued);
    schedule.active.clear();
    look_at(&mut schedule, 100, b"new");
    assert!(schedule.note_parts(&pass, Parts::Sound(None), Instant::now()));
    end(&mut schedule, &pass, Duration::ZERO);
    assert!(begin_found(&mut schedule).is_none());
}

#[tokio::test(start_paused = true)]
async fn what_is_declared_plain_no_more_is_not_said_in_plain() {
    let both = [Format::Full, Format::Plain];
    let mut schedule = Schedule::default();
    ask(&mut schedule, wish("a", Source::Declared, &both));
    ask(&mut schedule, wish("b", Source::Declared, &both));
    ask(&mut schedule, requested("b"));
    schedule.withdraw(|_| vec![Format::Full]);
    assert_eq!(ask(&mut schedule, declared("a")), Admission::Queued);
    let formats: Vec<_> = std::iter::from_fn(|| begin(&mut schedule)).map(|pass| pass.ticket.wish.formats).collect();
    assert_eq!(formats, [[Format::Full], [Format::Full]]);
}

#[tokio::test(start_paused = true)]
async fn what_would_be_cut_otherwise_by_now_is_looked_at_anew() {
    let mut schedule = Schedule::default();
    ask(&mut schedule, requested("a"));
    look_at(&mut schedule, 100, b"a");
    assert!(schedule.begin(Instant::now(), &CancellationToken::new(), |_| false).is_none());
    assert!(begin_found(&mut schedule).is_none());
    assert!(begin(&mut schedule).is_some());
}

#[tokio::test(start_paused = true)]
async fn one_registry_that_stalls_does_not_take_all_places() {
    let mut schedule = Schedule::default();
    let mut stalls = Vec::new();
    for i in 0..MAX_BEGUN / 2 {
        ask_for(&mut schedule, &format!("stalled{i}"), 10);
        let pass = begin_found(&mut schedule).unwrap();
        let mut stall = Box::pin(async move { pass.starving.during(std::future::pending::<()>()).await });
        assert!((&mut stall).now_or_never().is_none());
        stalls.push(stall);
        tokio::time::advance(STARVING).await;
    }
    ask_for(&mut schedule, "stalled", 10);
    assert!(begin_found(&mut schedule).is_none());
    ask_for(&mut schedule, "elsewhere.example/other", 10);
    assert!(begin_found(&mut schedule).is_some());
}
