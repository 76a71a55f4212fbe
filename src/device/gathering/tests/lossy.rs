//! A worker, a device, and a way between them that loses whatever it likes.

use proptest::prelude::*;

use super::*;

/// Requests for a chunk: where half of them get lost, and half of the answers, every fourth one brings it.
const REQUESTS_PER_CHUNK: usize = 8;

/// Answers a request as a worker does: what arrives of it is up to `arrives`.
fn answer(scene: &mut Scene, module: Whole, request: &Request, mut arrives: impl FnMut() -> bool) {
    let missing = request.full.as_ref().unwrap().missing.as_ref();
    match missing {
        None => {
            for index in 0..module.layout.total() {
                if arrives() {
                    scene.hears(module, [index]);
                }
            }
            if arrives() {
                scene.hears_complete(module);
            }
        }
        Some(missing) if (missing.digest, missing.chunk_size) != (module.digest, module.layout.chunk_size()) => {
            if arrives() {
                scene.hears_notice(changed_to(module));
            }
        }
        Some(missing) => {
            for index in missing.chunks.iter() {
                if arrives() {
                    scene.gathering.chunk(&chunk(module, index), Audience::Us, scene.now).unwrap();
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn every_chunk_comes_in_the_end_whatever_gets_lost(
        seed in any::<u64>(),
        chunks in 1usize..400,
        lost in 0.0..0.5,
        own_topic: bool,
    ) {
        let mut random = fastrand::Rng::with_seed(seed);
        let module = whole(&vec![7; chunks], 1);
        let wish = Scene::of("add").gathering.wish;
        let listen = if own_topic { Listen::OwnTopic } else { Listen::Everything };
        // So much gets lost that chance alone could keep it from progress for minutes.
        let mut scene = Scene::wishing(Wish { listen, timeout: Duration::from_secs(86_400), ..wish });
        let mut requests = 0;
        while !scene.gathering.assembly().is_some_and(Assembly::is_complete) {
            match scene.next() {
                Next::Wait(until) => scene.now = until,
                Next::Ask(request) => {
                    requests += 1;
                    prop_assert!(requests < 100 + REQUESTS_PER_CHUNK * chunks, "{:?}", scene.gathering.stall());
                    scene.gathering.asked(scene.now);
                    if random.f64() >= lost {
                        answer(&mut scene, module, &request, || random.f64() >= lost);
                    }
                    if random.f64() < lost {
                        scene.gathering.connected(true, scene.now);
                    }
                }
                next => prop_assert!(false, "{next:?}"),
            }
        }
    }
}
