use std::{
    sync::{Mutex, MutexGuard},
    time::SystemTime,
};

use kube::core::Status;
use serde_json::json;
use tokio::task::JoinHandle;

use super::*;
use crate::{
    api::{
        self,
        conditions::{Finding, Reason, find},
    },
    mqtt::{ConnectionState, Version},
    resource::{
        fixtures::{artifact, resource},
        report::WORKER_CONDITIONS,
    },
    worker::{ArtifactProgress, Phase, RegistryState},
};

const HOUR: Duration = Duration::from_secs(3600);

/// An API server of one object.
#[derive(Clone)]
struct Fake(Arc<Mutex<State>>);

struct State {
    resource: WasmProxy,
    writes: usize,
    version: usize,
    obstacles: Obstacles,
    /// The HTTP statuses of the next answers.
    failures: Vec<u16>,
    /// Takes every write, and keeps none.
    forgetful: bool,
}

impl Fake {
    fn new(status: Option<WasmProxyStatus>) -> Self {
        let mut resource = resource(&json!({}));
        resource.status = status;
        resource.metadata.resource_version = Some("1".to_owned());
        Self(Arc::new(Mutex::new(State {
            resource,
            writes: 0,
            version: 1,
            obstacles: Obstacles::default(),
            failures: Vec::new(),
            forgetful: false,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn writes(&self) -> usize {
        self.state().writes
    }

    fn status(&self) -> WasmProxyStatus {
        self.state().resource.status.clone().unwrap_or_default()
    }

    fn chunks(&self) -> Option<String> {
        self.status().progress
    }
}

impl Board for Fake {
    fn watched(&self) -> Option<Arc<WasmProxy>> {
        Some(Arc::new(self.state().resource.clone()))
    }

    fn obstacles(&self) -> Obstacles {
        self.state().obstacles.clone()
    }

    async fn write(&self, part: &WasmProxyStatus) -> Result<WasmProxy, ApiError> {
        let mut state = self.state();
        state.writes += 1;
        if let Some(code) = state.failures.pop() {
            let status = Status { code, ..Status::default() };
            return Err(ApiError::Failed(kube::Error::Api(Box::new(status))));
        }
        if !state.forgetful {
            state.resource.status = Some(part.clone());
        }
        state.version += 1;
        state.resource.metadata.resource_version = Some(state.version.to_string());
        Ok(state.resource.clone())
    }
}

/// A reporter, and the worker's side of it.
struct Scene {
    fake: Fake,
    worker: watch::Sender<Progress>,
    look: Arc<Notify>,
    ending: CancellationToken,
    reporter: JoinHandle<Reporter<Fake>>,
}

impl Scene {
    fn new(fake: Fake, progress: Progress) -> Self {
        let (worker, receiver) = watch::channel(progress);
        let (look, ending) = (Arc::new(Notify::new()), CancellationToken::new());
        let reporter = Reporter::new(fake.clone(), receiver, fake.watched().unwrap());
        let run = {
            let (look, ending) = (look.clone(), ending.clone());
            async move { reporter.run(&look, &ending).await }
        };
        Self { fake, worker, look, ending, reporter: tokio::spawn(run) }
    }

    async fn end(self, ending: Ending) -> WasmProxyStatus {
        self.ending.cancel();
        self.reporter.await.unwrap().conclude(ending).await;
        self.fake.status()
    }
}

fn connected() -> Option<ConnectionState> {
    let since = SystemTime::UNIX_EPOCH;
    Some(ConnectionState::Connected { version: Version::V5, since, max_packet_size: None })
}

/// A connected worker with one artifact.
fn progress(phase: Phase, published: u32) -> Progress {
    let artifact = ArtifactProgress { published, total: 1000, ..artifact(phase) };
    Progress {
        generation: 3,
        broker: connected(),
        registry: RegistryState::Ready,
        artifacts: [("registry.example/wasm/add:1.2".to_owned(), artifact)].into(),
        ..Progress::default()
    }
}

fn reported(progress: &Progress) -> WasmProxyStatus {
    report(progress, &WasmProxyStatus::default(), &now())
}

#[tokio::test(start_paused = true)]
async fn chunks_that_move_are_written_every_two_seconds() {
    let scene = Scene::new(Fake::new(None), progress(Phase::Streaming, 0));
    for chunk in 1..=100 {
        sleep(Duration::from_millis(100)).await;
        scene.worker.send(progress(Phase::Streaming, chunk)).unwrap();
    }
    sleep(INTERVAL).await;
    assert_eq!(scene.fake.chunks().as_deref(), Some("100/1000"));
    assert_eq!(scene.fake.writes(), 1 + 5, "the first sight of it, and then one write every two seconds");
}

#[tokio::test(start_paused = true)]
async fn a_change_of_phase_is_written_at_once() {
    let scene = Scene::new(Fake::new(None), progress(Phase::Streaming, 0));
    sleep(HOUR).await;
    for (n, phase) in [Phase::Published, Phase::Pending, Phase::Failed].into_iter().enumerate() {
        scene.worker.send(progress(phase, 1)).unwrap();
        sleep(MOMENT + GLANCE).await;
        assert_eq!(scene.fake.writes(), 2 + n);
    }
}

#[tokio::test(start_paused = true)]
async fn what_happens_in_one_moment_is_one_write() {
    let scene = Scene::new(Fake::new(None), progress(Phase::Pending, 0));
    for phase in [Phase::Resolving, Phase::Streaming, Phase::Published] {
        tokio::task::yield_now().await;
        scene.worker.send(progress(phase, 1)).unwrap();
    }
    sleep(HOUR).await;
    assert_eq!(scene.fake.writes(), 1);
    assert_eq!(scene.fake.chunks().as_deref(), Some("1/1000"));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_at_rest_nor_again_after_a_restart() {
    let scene = Scene::new(Fake::new(None), progress(Phase::Published, 1000));
    sleep(HOUR).await;
    assert_eq!(scene.fake.writes(), 1);

    let restarted = Scene::new(Fake::new(Some(scene.fake.status())), progress(Phase::Published, 1000));
    sleep(HOUR).await;
    assert_eq!(restarted.fake.writes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_connects_in_a_moment_does_not_unsettle_what_was_said() {
    let settled = progress(Phase::Published, 1000);
    let starting = Progress { broker: None, registry: RegistryState::Unknown, ..settled.clone() };
    let scene = Scene::new(Fake::new(Some(reported(&settled))), starting);
    sleep(INTERVAL / 2).await;
    scene.worker.send(settled).unwrap();
    sleep(HOUR).await;
    assert_eq!(scene.fake.writes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_does_not_connect_says_so() {
    let settled = progress(Phase::Published, 1000);
    let scene = Scene::new(Fake::new(Some(reported(&settled))), Progress { broker: None, ..settled });
    sleep(HOUR).await;
    let status = scene.fake.status();
    assert_eq!(find(&status.conditions, WORKER_CONDITIONS[0]).unwrap().status, "Unknown");
}

#[tokio::test(start_paused = true)]
async fn the_last_state_arrives_whatever_the_api_server_does_meanwhile() {
    let fake = Fake::new(None);
    fake.state().failures = vec![500, 429, 503];
    let scene = Scene::new(fake, progress(Phase::Streaming, 0));
    sleep(MOMENT).await;
    scene.worker.send(progress(Phase::Published, 1000)).unwrap();
    sleep(HOUR).await;
    assert_eq!(scene.fake.chunks().as_deref(), Some("1000/1000"));
    assert_eq!(scene.fake.writes(), 4, "three attempts in vain, and one with what was true by then");
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_is_gone_is_left_alone() {
    let fake = Fake::new(None);
    fake.state().failures = vec![404; 9];
    let scene = Scene::new(fake, progress(Phase::Published, 1000));
    sleep(HOUR).await;
    assert_eq!(scene.fake.writes(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_has_changed_is_put_right_once_it_is_looked_at() {
    let scene = Scene::new(Fake::new(None), progress(Phase::Published, 1000));
    sleep(HOUR).await;
    {
        let mut state = scene.fake.state();
        state.resource.status = None;
        state.version = 99;
        state.resource.metadata.resource_version = Some("99".to_owned());
    }
    scene.look.notify_one();
    sleep(HOUR).await;
    assert_eq!(scene.fake.chunks().as_deref(), Some("1000/1000"));
    assert_eq!(scene.fake.writes(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_keeps_something_else_is_not_fought_with() {
    let fake = Fake::new(None);
    fake.state().forgetful = true;
    let scene = Scene::new(fake, progress(Phase::Published, 1000));
    for _ in 0..3 {
        sleep(HOUR).await;
        scene.look.notify_one();
    }
    sleep(HOUR).await;
    assert_eq!(scene.fake.writes(), 1);
}

/// What the controller writes where it finds no worker.
fn taken(fake: &Fake) {
    let mut state = fake.state();
    let generation = state.resource.metadata.generation.unwrap();
    state.version += 1;
    state.resource.metadata.resource_version = Some(state.version.to_string());
    let status = state.resource.status.as_mut().unwrap();
    status.conditions =
        without_worker(NO_WORKER).map(|finding| finding.into_condition(generation, &[], &now())).to_vec();
}

#[tokio::test(start_paused = true)]
async fn conditions_that_somebody_else_has_taken_are_taken_back_at_once() {
    let scene = Scene::new(Fake::new(None), progress(Phase::Published, 1000));
    sleep(HOUR).await;
    let before = scene.fake.status();
    taken(&scene.fake);
    scene.look.notify_one();
    sleep(MOMENT).await;
    assert_eq!(timeless(&scene.fake.status()), timeless(&before));
    sleep(HOUR).await;
    assert_eq!(scene.fake.writes(), 2);
}

#[tokio::test(start_paused = true)]
async fn whoever_takes_them_again_and_again_is_answered_ever_more_seldom() {
    let scene = Scene::new(Fake::new(None), progress(Phase::Published, 1000));
    sleep(HOUR).await;
    let (minutes, step) = (10, Duration::from_millis(50));
    for _ in 0..minutes * 60 * 20 {
        taken(&scene.fake);
        scene.look.notify_one();
        sleep(step).await;
    }
    // At once, then after 2, 4, 8 and 16 s, and then every 32 s.
    assert!((19..=24).contains(&scene.fake.writes()), "{}", scene.fake.writes());
}

#[tokio::test(start_paused = true)]
async fn an_obstacle_takes_the_place_of_what_the_progress_means() {
    let fake = Fake::new(None);
    let scene = Scene::new(fake.clone(), progress(Phase::Published, 1000));
    sleep(HOUR).await;
    let (about, status, reason) = (WORKER_CONDITIONS[0], ConditionStatus::False, Reason::SecretInvalid);
    let finding = Finding { about, status, reason, message: "Secret broker lacks a key".to_owned() };
    fake.state().obstacles = Obstacles { generation: 4, findings: vec![finding] };
    scene.look.notify_one();
    sleep(MOMENT).await;
    let after = scene.fake.status().conditions;
    let says = |about| find(&after, about).map(|c| (c.reason.as_str(), c.observed_generation)).unwrap();
    assert_eq!(says(WORKER_CONDITIONS[0]), ("SecretInvalid", Some(4)));
    assert_eq!(says(WORKER_CONDITIONS[1]), ("Succeeded", Some(3)));

    fake.state().obstacles = Obstacles::default();
    scene.look.notify_one();
    sleep(MOMENT + GLANCE).await;
    assert_eq!(find(&scene.fake.status().conditions, about).unwrap().reason, "Connected");
}

#[tokio::test(start_paused = true)]
async fn what_the_api_server_has_not_taken_is_left_to_the_next() {
    let scene = Scene::new(Fake::new(None), progress(Phase::Streaming, 0));
    sleep(HOUR).await;
    for (failures, unsaid) in [(vec![500; 9], true), (vec![], false)] {
        let scene = Scene::new(scene.fake.clone(), progress(Phase::Published, 1000));
        scene.fake.state().failures = failures;
        scene.ending.cancel();
        let mut reporter = scene.reporter.await.unwrap();
        reporter.conclude(Ending::Stopped).await;
        let left = reporter.leave();
        assert_eq!(left.unsaid.map(|part| part.artifacts[0].phase), unsaid.then_some(api::Phase::Published));
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_hands_over_has_nothing_more_to_say_at_rest() {
    let scene = Scene::new(Fake::new(None), progress(Phase::Published, 1000));
    sleep(HOUR).await;
    let (fake, before) = (scene.fake.clone(), scene.fake.status());
    assert_eq!(scene.end(Ending::Replaced).await, before);
    assert_eq!(fake.writes(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_hands_over_says_how_far_it_came() {
    let scene = Scene::new(Fake::new(None), progress(Phase::Streaming, 0));
    sleep(HOUR).await;
    scene.worker.send(progress(Phase::Streaming, 9)).unwrap();
    assert_eq!(scene.end(Ending::Replaced).await.progress.as_deref(), Some("9/1000"));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_was_stopped_has_no_connection_and_keeps_its_artifacts() {
    let scene = Scene::new(Fake::new(None), progress(Phase::Published, 1000));
    sleep(HOUR).await;
    let before = scene.fake.status();
    let after = scene.end(Ending::Stopped).await;
    assert_eq!((after.broker, after.artifacts), (None, before.artifacts));
    assert!(after.conditions.iter().all(|condition| condition.reason == "WorkerUnavailable"));
}

#[tokio::test(start_paused = true)]
async fn nobody_knows_what_a_lost_worker_knew() {
    let scene = Scene::new(Fake::new(None), progress(Phase::Published, 1000));
    sleep(HOUR).await;
    drop(scene.worker);
    let mut reporter = scene.reporter.await.unwrap();
    reporter.conclude(Ending::Lost).await;
    for condition in scene.fake.status().conditions {
        assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("Unknown", "WorkerUnavailable"));
    }
}
