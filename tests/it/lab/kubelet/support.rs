//! What the stand-in does not do. A Pod that asks for it does not run, and says why: whatever is not refused is done.

use k8s_openapi::api::core::v1::{Container, Pod};

/// Whether the stand-in can run this container as its Pod says.
///
/// # Errors
/// What it cannot do.
pub fn check(pod: &Pod, container: &Container) -> Result<(), String> {
    let spec = pod.spec.clone().unwrap_or_default();
    let inits = spec.init_containers.unwrap_or_default();
    let has_mount =
        |is: fn(&k8s_openapi::api::core::v1::VolumeMount) -> bool| container.volume_mounts.iter().flatten().any(is);
    let unknown = [
        ("init containers that end", inits.iter().any(|init| init.restart_policy.as_deref() != Some("Always"))),
        ("a restartPolicy but Always", spec.restart_policy.as_deref().is_some_and(|policy| policy != "Always")),
        ("readinessGates", spec.readiness_gates.is_some_and(|gates| !gates.is_empty())),
        ("hostPID", spec.host_pid == Some(true)),
        ("hostAliases", spec.host_aliases.is_some_and(|aliases| !aliases.is_empty())),
        ("activeDeadlineSeconds", spec.active_deadline_seconds.is_some()),
        ("subPath", has_mount(|mount| mount.sub_path.is_some() || mount.sub_path_expr.is_some())),
        ("mountPropagation", has_mount(|mount| mount.mount_propagation.is_some())),
        ("envFrom", container.env_from.as_ref().is_some_and(|from| !from.is_empty())),
        ("lifecycle hooks", container.lifecycle.is_some()),
        ("a startupProbe", container.startup_probe.is_some()),
        ("volumeDevices", container.volume_devices.as_ref().is_some_and(|devices| !devices.is_empty())),
    ];
    match unknown.iter().find(|(_, asked_for)| *asked_for) {
        Some((what, _)) => Err(format!("the stand-in for the kubelet does not know {what}")),
        None => Ok(()),
    }
}
