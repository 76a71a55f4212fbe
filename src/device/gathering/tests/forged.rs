//! What somebody else may say on the channel, and what a device makes of it.

use super::*;

/// Larger than what is accepted.
fn too_large(of: Whole) -> Whole {
    Whole { layout: Layout::new(1_000_001, 10).unwrap(), ..of }
}

#[test]
fn what_would_be_the_end_is_asked_about_before_it_is_believed() {
    let module = whole(&[7; 50], 10);
    let claim = too_large(module);
    let mut scene = Scene::asked();
    scene.hears(claim, [0, 1, 2]);
    scene.hears_complete(claim);
    assert_eq!(scene.gathered(), None);
    assert_eq!(scene.after(Duration::from_secs(1)).asks(), Some(vec![0]));
    // As often as it is said, it is asked about once.
    scene.hears(claim, [0, 1, 2]);
    scene.after(Duration::from_secs(1)).waits();
    let refused = scene.gathering.chunk(&chunk(claim, 0), Audience::Us, scene.now);
    assert!(matches!(refused, Err(FetchError::TooLarge { size: 1_000_001, max_size: 1_000_000 })));
}

#[test]
fn what_would_be_the_end_and_is_not_so_delays_nothing() {
    let module = whole(&[7; 50], 10);
    for told in [true, false] {
        let mut scene = Scene::asked();
        scene.hears(too_large(module), [0]);
        if told {
            assert_eq!(scene.after(Duration::from_secs(1)).asks(), Some(vec![0]));
            assert_eq!(scene.hears_notice(changed_to(module)), Meaning::Nothing);
        }
        scene.hears(module, 0..3);
        scene.hears(too_large(module), [0]);
        scene.hears(module, 3..5);
        assert!(scene.gathering.assembly().unwrap().is_complete());
    }
}

#[test]
fn a_reference_that_means_too_large_a_module_by_now_is_refused() {
    let module = whole(&[7; 50], 10);
    let mut scene = Scene::asked();
    scene.hears_complete(module);
    scene.after(Duration::from_secs(1)).asks();
    let refused = scene.gathering.error(changed_to(too_large(module)), scene.now);
    assert!(matches!(refused, Err(FetchError::TooLarge { .. })));
}

#[test]
fn a_module_that_is_not_what_its_digest_says_is_gathered_by_number_alone() {
    let module = whole(&[7; 30], 10);
    let mut scene = Scene::asked();
    scene.hears(module, 0..3);
    assert_eq!(scene.gathering.mismatch(scene.now).unwrap(), Cause::DigestMismatch);
    assert_eq!(scene.gathering.assembly().unwrap().chunks(), 0);
    assert_eq!(scene.after(Duration::from_secs(1)).asks(), Some(vec![0, 1, 2]));
    for index in 0..3 {
        let forged = scene.gathering.chunk(&chunk(module, index), Audience::Everyone, scene.now);
        assert!(!forged.unwrap(), "the channel has lied once");
    }
    scene.gets(module, 0..3);
    assert!(scene.gathering.assembly().unwrap().is_complete());
}

#[test]
fn a_module_that_is_never_what_its_digest_says_is_given_up() {
    let module = whole(&[7; 10], 10);
    let mut scene = Scene::asked();
    scene.hears(module, [0]);
    for _ in 1..MAX_MISMATCHES {
        scene.gathering.mismatch(scene.now).unwrap();
        assert_eq!(scene.after(Duration::from_secs(1)).asks(), Some(vec![0]));
        scene.gets(module, [0]);
    }
    assert!(matches!(scene.gathering.mismatch(scene.now), Err(FetchError::DigestMismatch(MAX_MISMATCHES))));
}

#[test]
fn a_size_that_is_not_the_modules_is_found_out() {
    let module = whole(&[7; 50], 10);
    let claim = Whole { layout: Layout::new(80, 10).unwrap(), ..module };
    let mut scene = Scene::asked();
    scene.hears(claim, [6]);
    assert_eq!(scene.after(LONG).asks(), Some(vec![0, 1, 2, 3, 4, 5, 7]));
    assert_eq!(scene.hears_error(ErrorCode::BadRequest), Meaning::BeginAnew(Cause::Refuted));
    scene.hears(claim, [6]);
    assert_eq!(scene.after(Duration::from_secs(1)).asks(), Some(vec![0]), "asks what the module is");
    scene.hears_notice(changed_to(module));
    assert_eq!(scene.after(Duration::from_secs(1)).asks(), Some(vec![0, 1, 2, 3, 4]));
    // What the worker itself has said is right; whoever asked for more did so under our name.
    assert!(matches!(scene.hears_error(ErrorCode::BadRequest), Meaning::AskLater(_)));
    assert!(scene.gathering.assembly().is_some());
}

#[test]
fn how_a_module_is_cut_is_believed_of_what_comes_to_us_alone() {
    let module = whole(&[7; 50], 10);
    let claim = Whole { layout: Layout::new(49, 10).unwrap(), ..module };
    let mut scene = Scene::asked();
    scene.hears(claim, [0]);
    assert_eq!(scene.after(LONG).asks(), Some(vec![1, 2, 3, 4]));
    scene.gets(module, [1]);
    scene.hears(claim, [0]);
    scene.gets(module, 2..5);
    assert_eq!(scene.after(LONG).asks(), Some(vec![0]));
    scene.gets(module, [0]);
    assert!(scene.gathering.assembly().unwrap().is_complete());
}

#[test]
fn what_only_the_channel_speaks_of_is_not_taken_for_what_was_told_us() {
    let module = whole(&[7; 50], 10);
    let rival = Whole { layout: Layout::new(80, 10).unwrap(), ..module };
    let mut scene = Scene::asked();
    scene.hears(module, [0]);
    scene.hears(rival, [0]);
    scene.after(LONG);
    assert!(matches!(scene.gathering.next(scene.now), Ok(Next::BeginAnew(Cause::Overtaken))));
    scene.after(LONG).asks();
    assert_eq!(scene.hears_error(ErrorCode::BadRequest), Meaning::BeginAnew(Cause::Refuted));
}

#[test]
fn a_channel_that_says_one_thing_after_the_other_is_not_listened_to() {
    let module = whole(&[7; 1000], 10);
    let forged = |seed: u32| whole(&seed.to_le_bytes(), 10);
    let mut scene = Scene::asked();
    scene.hears(module, [0]);
    let mut begun_anew = 0;
    for seed in 0.. {
        scene.hears(forged(seed), [0]);
        scene.hears_complete(forged(seed));
        match scene.after(LONG).next() {
            Next::BeginAnew(Cause::Overtaken) => begun_anew += 1,
            Next::Ask(request) => {
                scene.gathering.asked(scene.now);
                let missing = request.full.unwrap().missing.unwrap();
                if missing.digest == module.digest {
                    scene.gets(module, missing.chunks.iter());
                } else {
                    scene.hears_notice(changed_to(module));
                }
            }
            next => panic!("{next:?}"),
        }
        if scene.gathering.assembly().is_some_and(Assembly::is_complete) {
            break;
        }
    }
    assert_eq!(scene.gathered(), Some(module));
    assert!(begun_anew <= 3, "{begun_anew}");
}

#[test]
fn who_repeats_what_is_here_already_keeps_nobody_from_the_rest() {
    let module = whole(&[7; 50], 10);
    let mut scene = Scene::asked();
    scene.hears(module, [0]);
    for _ in 0..60 {
        scene.after(Duration::from_secs(1));
        scene.hears(module, [0]);
        if let Next::Ask(request) = scene.next() {
            let missing = request.full.unwrap().missing.unwrap();
            assert_eq!(missing.chunks.iter().collect::<Vec<_>>(), [1, 2, 3, 4]);
            return;
        }
    }
    panic!("never asks");
}
