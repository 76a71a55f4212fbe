//! What keeps a worker's Pod from coming up, in one sentence that holds no counters.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodCondition};
use serde_json::Value;

use super::template::CONTAINER;
use crate::{api::conditions::Reason, controller::summary::Problem};

/// The most characters of a worker's last line that are repeated.
const LAST_LINE: usize = 256;

/// How a container ends that was made, and whose program was never run.
const NEVER_STARTED: [&str; 2] = ["StartError", "ContainerCannotRun"];

/// What keeps the latest of these Pods from coming up, as far as it shows; its image was to be `image`.
pub(super) fn trouble(pods: &[Arc<Pod>], image: &str) -> Option<Problem> {
    let staying = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let latest = staying.max_by_key(|pod| pod.metadata.creation_timestamp.clone().map(|time| time.0))?;
    unschedulable(latest).or_else(|| evicted(latest)).or_else(|| of_container(worker(latest)?, image))
}

/// Whether the worker's process may run, and so have something to say: a node has taken the Pod, and nothing is wrong yet. A
/// kubelet says a little later than the worker that it does run.
pub(super) fn may_run(pod: &Pod) -> bool {
    let state = worker(pod).and_then(|container| container.state.clone()).unwrap_or_default();
    match (&state.running, &state.waiting, &state.terminated) {
        (Some(_), ..) => true,
        (_, Some(waiting), _) => waiting.reason.as_deref() == Some("ContainerCreating"),
        (.., Some(_)) => false,
        (None, None, None) => scheduled(pod).is_some_and(|scheduled| scheduled.status == "True"),
    }
}

/// A hash of all that matters here.
pub fn matters(pod: &Pod) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&pod.metadata.uid, pod.metadata.deletion_timestamp.is_some(), may_run(pod)).hash(&mut hasher);
    let trouble = trouble(&[Arc::new(pod.clone())], "");
    trouble.map(|problem| (problem.reason, problem.message)).hash(&mut hasher);
    hasher.finish()
}

fn worker(pod: &Pod) -> Option<&ContainerStatus> {
    let containers = pod.status.as_ref()?.container_statuses.as_deref()?;
    containers.iter().find(|container| container.name == CONTAINER)
}

fn scheduled(pod: &Pod) -> Option<&PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_deref()?;
    conditions.iter().find(|condition| condition.type_ == "PodScheduled")
}

fn unschedulable(pod: &Pod) -> Option<Problem> {
    let scheduled = scheduled(pod)?;
    let is_refused = scheduled.status == "False" && scheduled.reason.as_deref() == Some("Unschedulable");
    let why = scheduled.message.as_deref().map_or_else(|| "no node fits".to_owned(), without_counts);
    is_refused.then(|| problem(Reason::Unschedulable, format!("no node takes the worker's Pod: {why}")))
}

/// What the scheduler says, without how many nodes each of its reasons keeps away: that is another number, and another
/// order, whenever a node of the cluster comes, goes or fills up.
fn without_counts(said: &str) -> String {
    let Some((_, reasons)) = said.split_once(" nodes are available: ") else { return said.to_owned() };
    // After their full stop it says what did not help.
    let reasons = reasons.split(". ").next().unwrap_or(reasons).trim_end_matches('.').split(", ");
    let reasons: BTreeSet<_> =
        reasons.map(|reason| reason.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start()).collect();
    reasons.into_iter().collect::<Vec<_>>().join(", ")
}

fn evicted(pod: &Pod) -> Option<Problem> {
    let status = pod.status.as_ref().filter(|status| status.phase.as_deref() == Some("Failed"))?;
    let why = status.message.as_deref().or(status.reason.as_deref()).unwrap_or("no reason is given");
    Some(problem(Reason::WorkerCrashing, format!("the worker's Pod was ended by its node: {why}")))
}

fn of_container(container: &ContainerStatus, image: &str) -> Option<Problem> {
    let state = container.state.clone().unwrap_or_default();
    if let Some(waiting) = &state.waiting {
        let said = waiting.message.as_deref().unwrap_or_default();
        match waiting.reason.as_deref().unwrap_or_default() {
            // The kubelet's messages change from one attempt to the next.
            "ErrImagePull"
            | "ImagePullBackOff"
            | "InvalidImageName"
            | "ErrImageNeverPull"
            | "ImageInspectError"
            | "RegistryUnavailable"
            | "SignatureValidationFailed" => {
                let message = format!(
                    "the worker's image {image} cannot be pulled: check its name, that the node reaches its registry, \
                     and spec.worker.imagePullSecrets"
                );
                return Some(problem(Reason::ImagePullFailed, message));
            }
            "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
                return Some(not_started(said));
            }
            _ => {}
        }
    }
    if container.ready {
        return None;
    }
    // Still said while it is tried again, so that the condition does not flap with each attempt.
    let last = |state: &ContainerState| state.terminated.clone();
    let ended = last(&state).or_else(|| container.last_state.as_ref().and_then(last))?;
    if ended.reason.as_deref().is_some_and(|reason| NEVER_STARTED.contains(&reason)) {
        // As while the kubelet tries it, so that the reason does not change with each attempt.
        return Some(not_started(ended.message.as_deref().unwrap_or_default()));
    }
    Some(problem(Reason::WorkerCrashing, ending(&ended)))
}

fn not_started(said: &str) -> Problem {
    problem(Reason::ContainerFailed, format!("the worker cannot be started: {said}"))
}

fn ending(ended: &ContainerStateTerminated) -> String {
    if ended.reason.as_deref() == Some("OOMKilled") {
        return "the worker needs more memory than its limit: raise spec.worker.resources.limits.memory".to_owned();
    }
    let code = ended.exit_code;
    match ended.message.as_deref().and_then(last_line) {
        Some(line) => format!("the worker ends with code {code}: {line}"),
        None => format!("the worker ends with code {code}, and its log says why"),
    }
}

/// The last line that says something; of a log line in JSON only its message, so that the time is not part of it.
fn last_line(text: &str) -> Option<String> {
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    let json: Option<Value> = serde_json::from_str(line).ok();
    let message = json.as_ref().and_then(|json| json["message"].as_str()).unwrap_or(line);
    Some(message.chars().take(LAST_LINE).collect())
}

fn problem(reason: Reason, message: String) -> Problem {
    Problem { reason, message }
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value, reason = "`json!` reads better without a reference in front")]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(status: Value) -> Pod {
        let metadata = json!({"name": "a", "uid": "a", "creationTimestamp": "2026-11-01T10:00:00Z"});
        serde_json::from_value(json!({"metadata": metadata, "status": status})).unwrap()
    }

    fn container(fields: Value) -> Pod {
        let mut container = json!({"name": "worker", "ready": false, "image": "", "imageID": "", "restartCount": 3});
        container.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        pod(json!({"phase": "Running", "containerStatuses": [container]}))
    }

    fn said(pod: Pod) -> Option<(Reason, String)> {
        trouble(&[Arc::new(pod)], "registry.example/wasmproxy:1").map(|problem| (problem.reason, problem.message))
    }

    fn waiting(reason: &str, message: &str) -> Pod {
        container(json!({"state": {"waiting": {"reason": reason, "message": message}}}))
    }

    #[test]
    fn a_pod_that_is_being_made_is_in_no_trouble() {
        assert_eq!(said(pod(json!({"phase": "Pending"}))), None);
        assert_eq!(said(waiting("ContainerCreating", "")), None);
        assert_eq!(said(container(json!({"state": {"running": {}}}))), None);
        assert_eq!(trouble(&[], ""), None);
    }

    #[test]
    fn an_image_that_cannot_be_pulled_is_named_in_the_same_words_each_time() {
        let said = ["ErrImagePull", "ImagePullBackOff", "InvalidImageName"].map(|reason| said(waiting(reason, reason)));
        let (reason, message) = said[0].clone().unwrap();
        assert_eq!(reason, Reason::ImagePullFailed);
        assert!(message.contains("registry.example/wasmproxy:1 cannot be pulled"), "{message}");
        assert!(said.iter().all(|said| *said == Some((reason, message.clone()))));
    }

    #[test]
    fn a_pod_that_no_node_takes_says_what_the_scheduler_says() {
        let scheduled =
            json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"});
        let (reason, message) = said(pod(json!({"phase": "Pending", "conditions": [scheduled]}))).unwrap();
        assert_eq!((reason, message.as_str()), (Reason::Unschedulable, "no node takes the worker's Pod: 0/1 nodes"));
    }

    #[test]
    fn what_the_scheduler_says_stays_the_same_while_nodes_come_and_go() {
        let said = |message: &str| {
            let scheduled =
                json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message});
            said(pod(json!({"conditions": [scheduled]}))).unwrap().1
        };
        let message = said(
            "0/3 nodes are available: 1 Insufficient memory, 2 node(s) had untolerated taint {edge: }. preemption: \
             0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
        );
        let expected = "no node takes the worker's Pod: Insufficient memory, node(s) had untolerated taint {edge: }";
        assert_eq!(message, expected);
        let newer = said(
            "0/1 nodes are available: 1 Insufficient memory, 1 node(s) had untolerated taint {edge: }. no new claims to \
             deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
        );
        assert_eq!(newer, expected);
        let other = "0/12 nodes are available: 10 node(s) had untolerated taint {edge: }, 2 Insufficient memory.";
        assert_eq!(said(other), expected);
    }

    #[test]
    fn a_program_that_cannot_be_run_is_said_in_the_same_words_between_attempts() {
        let why = "exec: \"wasmproxy\": executable file not found in $PATH";
        let ended = json!({"terminated": {"exitCode": 128, "reason": "StartError", "message": why}});
        let waiting = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}});
        let between = said(container(json!({"state": waiting, "lastState": ended})));
        assert_eq!(between, said(super::tests::waiting("RunContainerError", why)));
        assert_eq!(between.unwrap().0, Reason::ContainerFailed);
    }

    #[test]
    fn a_container_that_cannot_be_made_says_why() {
        let (reason, message) = said(waiting("CreateContainerConfigError", "no such ConfigMap")).unwrap();
        assert_eq!(
            (reason, message.as_str()),
            (Reason::ContainerFailed, "the worker cannot be started: no such ConfigMap")
        );
    }

    #[test]
    fn a_worker_that_crashes_says_its_code_and_its_last_line_while_it_is_tried_again_too() {
        let terminated = |message: &str| json!({"terminated": {"exitCode": 2, "reason": "Error", "message": message}});
        let last = terminated("first\nwasmproxy: no such option\n\n");
        let waiting = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}});
        let expected =
            Some((Reason::WorkerCrashing, "the worker ends with code 2: wasmproxy: no such option".to_owned()));
        for state in [waiting, json!({"running": {}}), last.clone()] {
            assert_eq!(said(container(json!({"state": state, "lastState": last}))), expected);
        }
        let json = terminated(r#"{"timestamp":"2026-11-01T10:00:00Z","level":"ERROR","message":"no such thing"}"#);
        let (_, message) = said(container(json!({"state": json}))).unwrap();
        assert_eq!(message, "the worker ends with code 2: no such thing");
    }

    #[test]
    fn a_worker_that_has_recovered_is_in_no_trouble() {
        let last = json!({"terminated": {"exitCode": 2}});
        assert_eq!(said(container(json!({"ready": true, "state": {"running": {}}, "lastState": last}))), None);
    }

    #[test]
    fn a_worker_that_needs_more_memory_says_which_field_to_change() {
        let killed = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        let (reason, message) = said(container(json!({"lastState": killed}))).unwrap();
        assert_eq!(reason, Reason::WorkerCrashing);
        assert!(message.ends_with("raise spec.worker.resources.limits.memory"), "{message}");
    }

    #[test]
    fn only_the_latest_pod_that_stays_counts() {
        let evicted = pod(json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory"}));
        let (reason, message) = said(evicted.clone()).unwrap();
        assert_eq!(reason, Reason::WorkerCrashing);
        assert!(message.ends_with("The node was low on memory"), "{message}");
        let mut later = pod(json!({"phase": "Pending"}));
        later.metadata.creation_timestamp = serde_json::from_value(json!("2026-11-01T11:00:00Z")).unwrap();
        assert_eq!(trouble(&[Arc::new(evicted.clone()), Arc::new(later)], ""), None);
        let mut going = evicted;
        going.metadata.deletion_timestamp = going.metadata.creation_timestamp.clone();
        assert_eq!(said(going), None);
    }

    #[test]
    fn a_process_may_run_from_the_moment_that_a_node_has_taken_the_pod() {
        let scheduled = |status: &str| json!({"type": "PodScheduled", "status": status});
        assert!(!may_run(&pod(json!({}))));
        assert!(!may_run(&pod(json!({"conditions": [scheduled("False")]}))));
        assert!(may_run(&pod(json!({"conditions": [scheduled("True")]}))));
        assert!(may_run(&waiting("ContainerCreating", "")));
        assert!(may_run(&container(json!({"state": {"running": {}}}))));
        assert!(!may_run(&waiting("CrashLoopBackOff", "")));
        assert!(!may_run(&container(json!({"state": {"terminated": {"exitCode": 0}}}))));
    }

    #[test]
    fn a_pod_that_counts_its_restarts_wakes_nobody() {
        let crashing = |restarts: u8, wait: &str| {
            matters(&container(json!({
                "restartCount": restarts,
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": wait}},
                "lastState": {"terminated": {"exitCode": 2}},
            })))
        };
        assert_eq!(crashing(1, "back-off 10s"), crashing(2, "back-off 20s"));
        assert_ne!(crashing(1, ""), matters(&container(json!({"state": {"running": {}}}))));
    }
}
