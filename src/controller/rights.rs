//! What the controller must be allowed to do, and what it is for.
//!
//! There are two sets: [`of_resources`], in each namespace whose resources it serves, and [`of_itself`], in its own. Whatever
//! makes Roles for it takes them from here; the table in the documentation of [`controller`](super) says the same.

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::WorkerMode;

/// A right and its purpose.
struct Right {
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
    /// Where workers run in Pods; where they run in the controller's process.
    modes: (bool, bool),
    purpose: &'static str,
}

const BOTH: (bool, bool) = (true, true);
const PODS: (bool, bool) = (true, false);
const IN_PROCESS: (bool, bool) = (false, true);

const fn right(
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
    modes: (bool, bool),
    purpose: &'static str,
) -> Right {
    Right { group, resource, verbs, modes, purpose }
}

/// Nobody may grant what they may not do themselves: so the first two are a worker's as well.
const OF_RESOURCES: [Right; 12] = [
    right("wasmproxy.io", "wasmproxies", &["get", "list", "watch"], BOTH, "the resources"),
    right("wasmproxy.io", "wasmproxies/status", &["patch"], BOTH, "what it says of them"),
    right(
        "wasmproxy.io",
        "wasmproxies/finalizers",
        &["update"],
        BOTH,
        "being the owner of objects, where a cluster asks for it",
    ),
    right("", "secrets", &["get"], IN_PROCESS, "credentials, of labelled Secrets that a resource names"),
    right(
        "",
        "serviceaccounts",
        &["get", "list", "watch", "create", "patch", "delete"],
        PODS,
        "who a worker in a Pod is",
    ),
    right("", "serviceaccounts", &["list", "watch", "delete"], IN_PROCESS, "those that workers in Pods have left"),
    right(
        "rbac.authorization.k8s.io",
        "roles",
        &["get", "list", "watch", "create", "patch", "delete"],
        BOTH,
        "what a worker in a Pod, or an External one, may do",
    ),
    right(
        "rbac.authorization.k8s.io",
        "rolebindings",
        &["get", "list", "watch", "create", "patch", "delete"],
        BOTH,
        "the same",
    ),
    right("apps", "deployments", &["get", "list", "watch", "create", "patch", "delete"], PODS, "workers in Pods"),
    right("apps", "deployments", &["list", "watch", "delete"], IN_PROCESS, "ending workers in Pods"),
    right("", "pods", &["list", "watch"], PODS, "why a worker does not come up"),
    right("events.k8s.io", "events", &["create", "patch"], BOTH, "what has happened to a resource"),
];

const OF_ITSELF: [Right; 2] = [
    right(
        "coordination.k8s.io",
        "leases",
        &["get", "watch", "create", "update", "patch"],
        BOTH,
        "that one controller leads",
    ),
    right("", "pods", &["get"], PODS, "its own image, where --worker-image does not say"),
];

/// What it needs in each namespace whose resources it serves.
pub fn of_resources(mode: &WorkerMode) -> Vec<PolicyRule> {
    rules(&OF_RESOURCES, mode)
}

/// What it needs in its own namespace.
pub fn of_itself(mode: &WorkerMode) -> Vec<PolicyRule> {
    rules(&OF_ITSELF, mode)
}

/// All of it, as tables in Markdown.
pub fn document() -> String {
    format!(
        "In each namespace whose resources it serves, for which in one namespace a `Role` will do, and in all of them it \
         takes a `ClusterRole`:\n\n{}\nIn its own namespace:\n\n{}",
        table(&OF_RESOURCES),
        table(&OF_ITSELF)
    )
}

fn rules(rights: &[Right], mode: &WorkerMode) -> Vec<PolicyRule> {
    let applies = |right: &&Right| match mode {
        WorkerMode::Pods(_) => right.modes.0,
        WorkerMode::InProcess => right.modes.1,
    };
    rights.iter().filter(applies).map(rule).collect()
}

fn rule(right: &Right) -> PolicyRule {
    PolicyRule {
        api_groups: Some(vec![right.group.to_owned()]),
        resources: Some(vec![right.resource.to_owned()]),
        verbs: right.verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        ..PolicyRule::default()
    }
}

fn table(rights: &[Right]) -> String {
    let rows: String = rights.iter().map(row).collect();
    format!("| resource | verbs | `--workers` | for |\n|---|---|---|---|\n{rows}")
}

fn row(right: &Right) -> String {
    let (name, part) = right.resource.split_at(right.resource.find('/').unwrap_or(right.resource.len()));
    let dot = if right.group.is_empty() { "" } else { "." };
    let verbs: Vec<_> = right.verbs.iter().map(|verb| format!("`{verb}`")).collect();
    let mode = match right.modes {
        (true, true) => "both",
        (true, false) => "`pods`",
        (false, _) => "`in-process`",
    };
    format!("| `{name}{dot}{}{part}` | {} | {mode} | {} |\n", right.group, verbs.join(", "), right.purpose)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::PodOptions;

    #[test]
    fn the_documentation_says_the_same() {
        assert_eq!(include_str!("rights.md"), document());
    }

    #[test]
    fn workers_in_pods_take_no_right_to_any_secret() {
        let may_read_secrets = |mode: &WorkerMode| {
            let rules = [of_resources(mode), of_itself(mode)].concat();
            rules.iter().any(|rule| rule.resources.iter().flatten().any(|name| name == "secrets" || name == "*"))
        };
        let pods = WorkerMode::Pods(PodOptions { image: "image".into(), rollout: PodOptions::ROLLOUT });
        assert!(!may_read_secrets(&pods));
        assert!(may_read_secrets(&WorkerMode::InProcess));
    }
}
