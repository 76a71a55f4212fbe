//! A device that listens to nothing but what is sent to it alone.

use super::*;
use crate::protocol::{ChunkSize, Missing};

fn pulling() -> Scene {
    let wish = Scene::of("add").gathering.wish;
    Scene::wishing(Wish { listen: Listen::OwnTopic, ..wish })
}

/// One that has asked what the module is, and was told.
fn told(module: Whole) -> Scene {
    let mut scene = pulling();
    scene.asks();
    assert_eq!(scene.hears_notice(changed_to(module)), Meaning::Nothing);
    scene.after(Duration::from_secs(1));
    scene
}

impl Scene {
    fn asks_by_number(&mut self) -> Missing {
        let Next::Ask(request) = self.next() else { panic!("asks for nothing") };
        self.gathering.asked(self.now);
        request.full.unwrap().missing.unwrap()
    }
}

#[test]
fn what_the_module_is_is_learned_from_the_answer_to_a_request_that_cannot_be_right() {
    let module = whole(&[7; 1000], 10);
    let mut scene = pulling();
    let Missing { digest, chunk_size, chunks, .. } = scene.asks_by_number();
    assert_eq!((digest, chunk_size, chunks.iter().count()), (Digest::UNKNOWN, ChunkSize::DEFAULT.get(), 1));
    // It is no change: nothing was known before.
    assert_eq!(scene.hears_notice(changed_to(module)), Meaning::Nothing);
    assert_eq!(scene.after(Duration::from_secs(1)).asks(), Some((0..64).collect()));
    scene.gets(module, 0..64);
    assert_eq!(scene.asks(), Some((64..100).collect()));
    scene.gets(module, 64..100);
    assert!(scene.gathering.assembly().unwrap().is_complete());
}

#[test]
fn a_digest_that_is_known_beforehand_may_be_answered_at_once() {
    let module = whole(&[7; 600_000], ChunkSize::DEFAULT.get());
    let mut scene = pulling();
    scene.gathering.wish.digest = Some(module.digest);
    assert_eq!(scene.asks_by_number().digest, module.digest);
    scene.gets(module, [0]);
    assert_eq!(scene.asks(), Some(vec![1]));
}

#[test]
fn what_is_sent_to_everyone_is_not_taken_even_where_it_arrives() {
    let module = whole(&[7; 50], 10);
    let mut scene = told(module);
    for index in 0..5 {
        assert!(!scene.gathering.chunk(&chunk(module, index), Audience::Everyone, scene.now).unwrap());
    }
    assert_eq!(scene.asks(), Some(vec![0, 1, 2, 3, 4]));
}

#[test]
fn a_worker_that_does_not_say_what_a_reference_means_is_asked_for_the_whole() {
    let module = whole(&[7; 50], 10);
    let mut scene = pulling();
    scene.asks();
    scene.hears_error(ErrorCode::Changed);
    assert_eq!(scene.after(Duration::from_secs(1)).asks(), None);
    scene.hears_complete(module);
    assert_eq!(scene.after(Duration::from_secs(1)).asks(), Some(vec![0, 1, 2, 3, 4]));
}

#[test]
fn what_another_device_is_told_saves_a_request() {
    let module = whole(&[7; 50], 10);
    let mut scene = pulling();
    scene.asks();
    let overheard = ErrorNotice { device: Some("e".parse().unwrap()), ..changed_to(module) };
    assert_eq!(scene.hears_notice(overheard), Meaning::Nothing);
    assert_eq!(scene.after(Duration::from_secs(1)).asks(), Some(vec![0, 1, 2, 3, 4]));
    // The answer to its own first request comes late, and is nothing new.
    assert_eq!(scene.hears_notice(changed_to(module)), Meaning::Nothing);
    scene.gets(module, 0..5);
}

#[test]
fn a_tag_that_moves_begins_anew_without_a_pass() {
    let (old, new) = (whole(&[7; 1000], 10), whole(&[8; 50], 10));
    let mut scene = told(old);
    scene.asks();
    scene.gets(old, 0..64);
    scene.asks();
    assert_eq!(scene.hears_notice(changed_to(new)), Meaning::BeginAnew(Cause::Changed));
    assert_eq!(scene.after(Duration::from_secs(1)).asks(), Some(vec![0, 1, 2, 3, 4]));
}

#[test]
fn the_only_module_that_is_accepted_is_waited_for() {
    let (module, other) = (whole(&[7; 50], 10), whole(&[8; 50], 10));
    let mut scene = pulling();
    scene.gathering.wish.digest = Some(module.digest);
    scene.asks();
    let Meaning::AskLater(wait) = scene.hears_notice(changed_to(other)) else { panic!("not later") };
    assert_eq!(scene.after(wait).asks(), Some(vec![0]));
    let Next::GiveUp(stall) = scene.after(TIMEOUT).next() else { panic!("does not give up") };
    assert_eq!(stall, Stall::OtherModule(other.digest));
}

#[test]
fn as_much_is_asked_for_as_came_the_last_time() {
    let module = whole(&[7; 1000], 10);
    let mut scene = told(module);
    assert_eq!(scene.asks().unwrap().len(), 64);
    scene.gets(module, 0..15);
    scene.after(SILENCE - Duration::from_millis(1)).waits();
    assert_eq!(scene.after(LONG).asks(), Some((15..30).collect()));
    scene.gets(module, 15..30);
    assert_eq!(scene.asks(), Some((30..60).collect()));
    scene.gets(module, 30..45);
    assert_eq!(scene.after(LONG).asks(), Some((45..60).collect()));
    scene.gets(module, 45..60);
    assert_eq!(scene.asks(), Some((60..75).collect()));
}

#[test]
fn what_went_down_with_a_connection_is_asked_for_at_once_on_the_next() {
    let module = whole(&[7; 1000], 10);
    let mut scene = told(module);
    scene.asks();
    scene.gets(module, 0..3);
    scene.gathering.connected(true, scene.now);
    assert_eq!(scene.after(Duration::from_secs(1)).asks(), Some((3..35).collect()));
}
