//! What a worker's Pod is to be: as the restricted Pod Security Standard wants it, with room for a cache, and with the Secrets
//! that its resource names.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource, HTTPGetAction,
        LocalObjectReference, ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
        ResourceRequirements, SeccompProfile, SecretVolumeSource, SecurityContext, Volume, VolumeMount,
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};

use super::memory::{mebibytes, memory};
use crate::{
    api::{WasmProxySpec, WorkerSpec},
    controller::workers::children::{Family, RESOURCE_LABEL},
    resource::{credentials::secret_names, translate::InvalidSpec},
};

/// What the worker's container is called.
pub(super) const CONTAINER: &str = "worker";
/// Where the cache is mounted.
const CACHE: &str = "/var/cache/wasmproxy";
/// Where Secrets are mounted, each in a folder of its name.
const SECRETS: &str = "/run/wasmproxy/secrets";
/// The port of the probes, and its name.
const HTTP: (i32, &str) = (9191, "http");
/// The user and group: nobody in particular, as in distroless images.
const NOBODY: i64 = 65532;
/// Longer than a worker takes to end, which is ten seconds.
const GRACE_SECONDS: i64 = 15;
/// Read by the group only, which is [`NOBODY`]'s.
const SECRET_MODE: i32 = 0o440;

/// The labels by which a Deployment finds its Pods.
pub(super) fn selector(family: &Family) -> BTreeMap<String, String> {
    let component = "app.kubernetes.io/component";
    [(RESOURCE_LABEL, family.resource.as_str()), (component, "worker")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// The Pod of the worker of a resource with this spec.
pub(super) fn template(spec: &WasmProxySpec, family: &Family, image: &str) -> Result<PodTemplateSpec, InvalidSpec> {
    let worker = spec.worker.clone().unwrap_or_default();
    // Ours win, whatever the resource says: it may have been admitted by other rules.
    let mut labels = worker.pod_labels.clone().unwrap_or_default();
    labels.extend(family.labels());
    labels.extend(selector(family));
    let cache = spec.limits.cache_size_bytes().map_err(InvalidSpec::CacheSize)?;
    let secrets: Vec<&str> = secret_names(spec).into_iter().collect();
    let metadata =
        ObjectMeta { labels: Some(labels), annotations: worker.pod_annotations.clone(), ..ObjectMeta::default() };
    let pod = PodSpec {
        service_account_name: Some(family.child()),
        automount_service_account_token: Some(true),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        security_context: Some(pod_security()),
        containers: vec![container(spec, &worker, family, image, cache, &secrets)],
        volumes: Some(volumes(cache, &secrets)),
        image_pull_secrets: worker
            .image_pull_secrets
            .map(|names| names.into_iter().map(|secret| LocalObjectReference { name: secret.name }).collect()),
        node_selector: worker.node_selector,
        tolerations: worker.tolerations,
        affinity: worker.affinity,
        ..PodSpec::default()
    };
    Ok(PodTemplateSpec { metadata: Some(metadata), spec: Some(pod) })
}

fn container(
    spec: &WasmProxySpec,
    worker: &WorkerSpec,
    family: &Family,
    image: &str,
    cache: u64,
    secrets: &[&str],
) -> Container {
    Container {
        name: CONTAINER.to_owned(),
        image: Some(image.to_owned()),
        // A worker that is started anew does not depend on the registry that its image is from.
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(["worker", "--resource", &family.resource].map(str::to_owned).to_vec()),
        env: Some(vec![
            variable("WASMPROXY_RESOURCE_UID", &family.uid),
            // In the environment, where a worker of an earlier release does not mind it.
            variable("WASMPROXY_MANAGED", "true"),
            EnvVar { value_from: Some(field("metadata.namespace")), ..variable("POD_NAMESPACE", "") },
            variable("WASMPROXY_CACHE_DIR", CACHE),
            variable("WASMPROXY_CACHE_SIZE", &cache.to_string()),
        ]),
        ports: Some(vec![ContainerPort {
            container_port: HTTP.0,
            name: Some(HTTP.1.to_owned()),
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        liveness_probe: Some(Probe { failure_threshold: Some(6), ..probe("/healthz", 10) }),
        readiness_probe: Some(probe("/readyz", 5)),
        resources: Some(resources(worker.resources.clone().unwrap_or_default(), spec.chunk_size)),
        security_context: Some(container_security()),
        // A worker that ends at once says why in its last lines.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(mounts(secrets)),
        ..Container::default()
    }
}

fn variable(name: &str, value: &str) -> EnvVar {
    let value = (!value.is_empty()).then(|| value.to_owned());
    EnvVar { name: name.to_owned(), value, ..EnvVar::default() }
}

fn field(path: &str) -> EnvVarSource {
    let field_ref = Some(ObjectFieldSelector { field_path: path.to_owned(), ..ObjectFieldSelector::default() });
    EnvVarSource { field_ref, ..EnvVarSource::default() }
}

fn probe(path: &str, period: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(HTTP.1.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(5),
        ..Probe::default()
    }
}

/// What the resource says, and ours for what it leaves out. No limit on CPU: it would only slow a worker down that has
/// nothing to share its node with. No request beyond the limit that the resource sets, nor a limit below its request.
fn resources(said: ResourceRequirements, chunk_size: u32) -> ResourceRequirements {
    let (request, limit) = memory(chunk_size);
    let (mut requests, mut limits) = (said.requests.unwrap_or_default(), said.limits.unwrap_or_default());
    let says_limit = |name: &str, limits: &BTreeMap<String, Quantity>| limits.contains_key(name);
    let says_memory = requests.contains_key("memory");
    // Kubernetes makes a limit the request where there is none.
    if !says_memory && !says_limit("memory", &limits) {
        requests.insert("memory".to_owned(), request);
        limits.insert("memory".to_owned(), limit);
    }
    if !requests.contains_key("cpu") && !says_limit("cpu", &limits) {
        requests.insert("cpu".to_owned(), Quantity("10m".to_owned()));
    }
    let some = |quantities: BTreeMap<_, _>| (!quantities.is_empty()).then_some(quantities);
    ResourceRequirements { requests: some(requests), limits: some(limits), claims: None }
}

fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(NOBODY),
        run_as_group: Some(NOBODY),
        fs_group: Some(NOBODY),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }),
        ..PodSecurityContext::default()
    }
}

fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        read_only_root_filesystem: Some(true),
        ..SecurityContext::default()
    }
}

/// Whole and optional: a Secret that is missing is the worker's to report, not the Pod's to wait for, and one that changes is
/// seen by the worker without another Pod.
fn volumes(cache: u64, secrets: &[&str]) -> Vec<Volume> {
    let cache = Volume {
        name: "cache".to_owned(),
        empty_dir: Some(EmptyDirVolumeSource { size_limit: Some(room(cache)), medium: None }),
        ..Volume::default()
    };
    let secrets = secrets.iter().enumerate().map(|(index, name)| Volume {
        name: secret_volume(index),
        secret: Some(SecretVolumeSource {
            secret_name: Some((*name).to_owned()),
            optional: Some(true),
            default_mode: Some(SECRET_MODE),
            items: None,
        }),
        ..Volume::default()
    });
    [cache].into_iter().chain(secrets).collect()
}

/// More than the cache may take up, an eighth and 64 MiB: a Pod that exceeds it is evicted.
fn room(cache: u64) -> Quantity {
    mebibytes((cache + cache / 8).div_ceil(1 << 20) + 64)
}

fn mounts(secrets: &[&str]) -> Vec<VolumeMount> {
    let cache = VolumeMount { name: "cache".to_owned(), mount_path: CACHE.to_owned(), ..VolumeMount::default() };
    let secrets = secrets.iter().enumerate().map(|(index, name)| VolumeMount {
        name: secret_volume(index),
        mount_path: format!("{SECRETS}/{name}"),
        read_only: Some(true),
        ..VolumeMount::default()
    });
    [cache].into_iter().chain(secrets).collect()
}

/// The name of a Secret may be longer than that of a volume.
fn secret_volume(index: usize) -> String {
    format!("secret-{index}")
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value, reason = "`json!` reads better without a reference in front")]
#[path = "template_tests.rs"]
mod tests;
