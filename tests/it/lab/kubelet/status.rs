//! What is said of a Pod in its status.

use std::{collections::BTreeMap, net::Ipv4Addr};

use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};
use serde_json::{Map, Value, json};

/// What is known of a container.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerState {
    pub name: String,
    pub image: String,
    /// Whether it is a sidecar: an init container that goes on.
    pub sidecar: bool,
    pub state: State,
    /// How it ended the last time.
    pub last: Option<Ended>,
    /// How often it was started again.
    pub restarts: i32,
    pub ready: bool,
}

/// What a container does.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// It is not there, for this reason.
    Waiting { reason: &'static str, message: Option<String> },
    /// It runs since then.
    Running { since: Timestamp },
    /// It has ended, and is not started again.
    Terminated(Ended),
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// As a shell says it: 128 and the number of the signal that ended it.
    pub exit_code: i32,
    /// What it said last, where it failed.
    pub message: Option<String>,
    pub started: Timestamp,
    pub finished: Timestamp,
}

impl ContainerState {
    /// A container that is to be started.
    pub fn new(name: &str, image: &str, sidecar: bool) -> Self {
        let state = State::Waiting { reason: "ContainerCreating", message: None };
        let (name, image) = (name.to_owned(), image.to_owned());
        Self { name, image, sidecar, state, last: None, restarts: 0, ready: false }
    }

    fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.name, "image": self.image, "imageID": "", "ready": self.ready, "started": self.is_running(),
            "restartCount": self.restarts, "state": self.state.to_json(),
            "lastState": self.last.as_ref().map(|last| State::Terminated(last.clone()).to_json()).unwrap_or(json!({})),
        })
    }
}

impl State {
    fn to_json(&self) -> Value {
        match self {
            Self::Waiting { reason, message } => json!({"waiting": {"reason": reason, "message": message}}),
            Self::Running { since } => json!({"running": {"startedAt": seconds(*since)}}),
            Self::Terminated(ended) => {
                let reason = if ended.exit_code == 0 { "Completed" } else { "Error" };
                let signal = (ended.exit_code > 128).then_some(ended.exit_code - 128);
                json!({"terminated": {
                    "exitCode": ended.exit_code, "signal": signal, "reason": reason, "message": ended.message,
                    "startedAt": seconds(ended.started), "finishedAt": seconds(ended.finished),
                }})
            }
        }
    }
}

/// A time as Kubernetes writes it.
pub fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The status of a Pod with these containers. A condition's time is that of its last change, as `pod` has it.
pub fn of(pod: &Pod, address: Ipv4Addr, containers: &[ContainerState], now: Timestamp) -> Value {
    let initialized = containers.iter().all(|container| !container.sidecar || container.is_running());
    let ready = containers.iter().all(|container| container.ready);
    let created =
        |container: &ContainerState| container.last.is_some() || !matches!(container.state, State::Waiting { .. });
    let phase = if containers.iter().all(created) { "Running" } else { "Pending" };
    let why_not = |reason| (!ready).then_some(reason);
    let conditions = [
        ("PodScheduled", true, None),
        ("Initialized", initialized, (!initialized).then_some("ContainersNotInitialized")),
        ("ContainersReady", ready, why_not("ContainersNotReady")),
        ("Ready", ready, why_not("ContainersNotReady")),
    ];
    let old = transitions(pod);
    let conditions = conditions.map(|(name, is_true, reason)| {
        let status = if is_true { "True" } else { "False" };
        let since = old.get(&(name, status)).cloned().unwrap_or_else(|| seconds(now));
        json!({"type": name, "status": status, "reason": reason, "lastTransitionTime": since})
    });
    let started = pod.status.as_ref().and_then(|status| Some(seconds(status.start_time.as_ref()?.0)));
    let mut status = Map::from_iter([
        ("phase".to_owned(), phase.into()),
        ("conditions".to_owned(), conditions.to_vec().into()),
        ("hostIP".to_owned(), Ipv4Addr::LOCALHOST.to_string().into()),
        ("hostIPs".to_owned(), json!([{"ip": Ipv4Addr::LOCALHOST}])),
        ("podIP".to_owned(), address.to_string().into()),
        ("podIPs".to_owned(), json!([{"ip": address}])),
        ("startTime".to_owned(), started.unwrap_or_else(|| seconds(now)).into()),
    ]);
    for (field, sidecars) in [("containerStatuses", false), ("initContainerStatuses", true)] {
        let those = containers.iter().filter(|container| container.sidecar == sidecars);
        let list: Vec<_> = those.map(ContainerState::to_json).collect();
        status.insert(field.to_owned(), list.into());
    }
    status.into()
}

/// Since when each condition of the Pod is as it is.
fn transitions(pod: &Pod) -> BTreeMap<(&str, &str), String> {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let since = |time: Timestamp| seconds(time);
    conditions
        .filter_map(|c| Some(((c.type_.as_str(), c.status.as_str()), since(c.last_transition_time.as_ref()?.0))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 1, 2, 3);

    fn running(name: &str, sidecar: bool, ready: bool) -> ContainerState {
        let state = State::Running { since: Timestamp::UNIX_EPOCH };
        ContainerState { state, ready, ..ContainerState::new(name, "wasmproxy", sidecar) }
    }

    fn condition<'a>(status: &'a Value, name: &str) -> &'a Value {
        status["conditions"].as_array().unwrap().iter().find(|condition| condition["type"] == name).unwrap()
    }

    #[test]
    fn a_pod_is_pending_until_its_containers_are_made_and_ready_when_they_all_are() {
        let worker = ContainerState::new("worker", "wasmproxy", false);
        let made = of(&Pod::default(), ADDRESS, &[worker, running("side", true, true)], Timestamp::UNIX_EPOCH);
        assert_eq!((&made["phase"], &condition(&made, "Ready")["status"]), (&json!("Pending"), &json!("False")));
        assert_eq!(made["containerStatuses"][0]["state"]["waiting"]["reason"], "ContainerCreating");
        assert_eq!(made["initContainerStatuses"][0]["started"], true);

        let worker = running("worker", false, false);
        let up = of(&Pod::default(), ADDRESS, &[worker, running("side", true, true)], Timestamp::UNIX_EPOCH);
        assert_eq!(
            (&up["phase"], &condition(&up, "Ready")["reason"]),
            (&json!("Running"), &json!("ContainersNotReady"))
        );

        let ready = of(&Pod::default(), ADDRESS, &[running("worker", false, true)], Timestamp::UNIX_EPOCH);
        assert_eq!(condition(&ready, "Ready")["status"], "True");
        serde_json::from_value::<k8s_openapi::api::core::v1::PodStatus>(ready).unwrap();
    }

    #[test]
    fn a_condition_that_stays_as_it_is_keeps_its_time() {
        let first = of(&Pod::default(), ADDRESS, &[running("worker", false, false)], Timestamp::UNIX_EPOCH);
        let pod: Pod = serde_json::from_value(json!({"status": first})).unwrap();
        let later = Timestamp::from_second(60).unwrap();
        let second = of(&pod, ADDRESS, &[running("worker", false, true)], later);
        assert_eq!(condition(&second, "Initialized"), condition(&first, "Initialized"));
        assert_eq!(condition(&second, "Ready")["lastTransitionTime"], "1970-01-01T00:01:00Z");
        assert_eq!(second["startTime"], first["startTime"]);
    }

    #[test]
    fn a_container_that_keeps_failing_says_how_it_ended() {
        let message = Some("no broker".to_owned());
        let now = Timestamp::UNIX_EPOCH;
        let last = Some(Ended { exit_code: 137, message, started: now, finished: now });
        let state = State::Waiting { reason: "CrashLoopBackOff", message: None };
        let worker = ContainerState { state, last, restarts: 3, ..ContainerState::new("worker", "wasmproxy", false) };
        let status = of(&Pod::default(), ADDRESS, &[worker], now);
        let container = &status["containerStatuses"][0];
        assert_eq!((&status["phase"], &container["restartCount"]), (&json!("Running"), &json!(3)));
        let terminated = &container["lastState"]["terminated"];
        assert_eq!((&terminated["exitCode"], &terminated["signal"]), (&json!(137), &json!(9)));
        assert_eq!(terminated["message"], "no broker");
    }
}
