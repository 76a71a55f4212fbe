//! `wasmproxy worker`: serves one channel until a signal comes.
//!
//! - `pod`: as a resource says that it watches, in its own Pod or as a sidecar;
//! - `standalone`: as the `environment` says, without Kubernetes.

mod environment;
mod pod;
mod standalone;

use std::{
    io,
    net::IpAddr,
    panic,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, builder::FalseyValueParser};
use tokio::runtime::Builder;

use super::{CACHE_SIZE, LogArgs, cluster};
use crate::api::quantity::parse_bytes;

/// What `wasmproxy worker --help` says at its end.
pub(super) const DETAILS: &str = "\
With a resource
---------------
The worker does what the resource says, and takes up what changes there without a restart. It
writes how that goes into the resource's status, in BrokerConnected, RegistryReady and
ArtifactsPublished among others. Where the resource is deleted or suspended it ends its session
with the broker and waits. The cluster is found as kubectl finds it, by KUBECONFIG or
~/.kube/config; in a Pod by its service account.

The controller starts such a worker in a Pod of its own. To run it yourself, as a sidecar say,
set spec.worker.management to External, and give it
  a service account    spec.worker.serviceAccountName: the controller lets it get, list and watch
                       this one resource, and patch its status. It needs no other rights
  its Secrets          each that the resource names in a directory of its own below
                       --secrets-dir, called like the Secret: a volume for each, of the whole
                       Secret (optional: true, no items, no subPath). Changes are in use within
                       seconds of the kubelet's bringing them. Files of plain directories will
                       do, too, with the Secret's keys as names
  its environment      WASMPROXY_RESOURCE, and POD_NAMESPACE where the resource is in another
                       namespace than the Pod; WASMPROXY_RESOURCE_UID where it is known
  a place for modules  WASMPROXY_CACHE_DIR on an emptyDir, with WASMPROXY_CACHE_SIZE below its
                       limit; without one each pass reads the registry
  probes               /healthz for liveness: the worker is stuck. /readyz for readiness: it has
                       read the resource; whether the broker is there is BrokerConnected
  time to end          terminationGracePeriodSeconds: 15
One worker a resource: two would take the session with the broker from each other. A sidecar stops
once the resource is Managed, and goes on where it is External again.

SIGTERM and SIGINT end the worker within 15 s. The broker keeps its session, unless the resource
is gone or suspended, or has lost its channel to an older one; a second signal ends it at once.

Without a resource
------------------
Environment (an empty value means unset; older names for the same are in brackets):
  PROXY_REGISTRY_URL       where modules are found: host[:port], or http://host:port
  PROXY_CHANNEL_ID         the devices' channel
  PROXY_TENANT_ID          its tenant: topics are m/{tenant}/c/{channel}/...
  PROXY_DOMAIN_ID          its domain: topics are m/{domain}/c/{channel}/messages/...
  PROXY_ENTITY_ID          user name and client id [PROXY_CLIENT_ID, PROXY_PROPLET_ID]
  PROXY_API_KEY            password [PROXY_CLIENT_KEY, PROXY_PROPLET_KEY]
  PROXY_MQTT_ADDRESS       tcp://host:1883 or ssl://host:8883 (tcp://localhost:1883)
  PROXY_MQTT_QOS           quality of service of chunks: 0, 1 or 2 (1)
  PROXY_MQTT_TIMEOUT       for a connection, or one packet (30s)
  PROXY_MQTT_TLS_CA_CERT   file with the broker's authority (the system's authorities)
  PROXY_MQTT_TLS_CLIENT_CERT, PROXY_MQTT_TLS_CLIENT_KEY
                           files with our certificate and its key
  PROXY_MQTT_TLS_INSECURE_SKIP_VERIFY
                           trust whoever answers (false)
  PROXY_AUTHENTICATE       show credentials to the registry (false)
  PROXY_REGISTRY_USERNAME, PROXY_REGISTRY_PASSWORD, PROXY_REGISTRY_TOKEN
                           those credentials
  PROXY_REQUESTS_ALLOW     what devices may ask for, separated by commas
                           (registry.example/**, where that is the registry)
  PROXY_CHUNK_SIZE         bytes of a module in a chunk (512000)
  PROXY_CACHE_DIR          directory in which modules are kept (none: they are not)
  PROXY_CACHE_SIZE         bytes that they may take up there, such as 512Mi (1Gi)
  PROXY_HTTP_PORT          of /health, /healthz, /readyz and /metrics; 0 for none (9191)
  PROXY_HTTP_HOST          its address (all of this machine)
  PROXY_LOG_LEVEL          error, warn, info, debug or trace (info)
  PROXY_INSTANCE_ID        a name for the log and /health
  PROXY_OTEL_URL, PROXY_TRACE_RATIO
                           not supported yet

The first two must be there. Identity, channel, tenant and domain may stand in config.toml
in the working directory, section [proxy]: entity_id, api_key, channel_id, tenant_id, domain_id.

SIGTERM and SIGINT end the worker within 5 s, and the broker keeps its session; a second one
ends it at once.";

/// The arguments of `wasmproxy worker`.
#[derive(Args, Clone)]
#[command(next_help_heading = "With a resource")]
pub(super) struct WorkerArgs {
    /// The `WasmProxy` that says what to do [default: none, the environment does]
    #[arg(long, value_name = "NAME", env = "WASMPROXY_RESOURCE", value_parser = cluster::resource)]
    resource: Option<String>,
    /// Its namespace [default: the Pod's, or that of kubectl]
    #[arg(long, short, env = "POD_NAMESPACE", value_parser = cluster::namespace)]
    namespace: Option<String>,
    /// Its UID: another object of that name is left alone [default: any]
    #[arg(long, env = "WASMPROXY_RESOURCE_UID")]
    uid: Option<String>,
    /// The controller runs this worker: it stands down once spec.worker.management is External
    #[arg(long, env = "WASMPROXY_MANAGED", value_parser = FalseyValueParser::new(), hide = true)]
    managed: bool,
    /// Directory with a directory for each Secret that it names
    #[arg(long, value_name = "DIR", env = "WASMPROXY_SECRETS_DIR", default_value = "/run/wasmproxy/secrets")]
    secrets_dir: PathBuf,
    /// Directory in which modules are kept [default: they are not]
    #[arg(long, value_name = "DIR", env = "WASMPROXY_CACHE_DIR")]
    cache_dir: Option<PathBuf>,
    /// Bytes that modules may take up there, such as 512Mi
    #[arg(long, value_name = "BYTES", env = "WASMPROXY_CACHE_SIZE", default_value = CACHE_SIZE, value_parser = parse_bytes)]
    cache_size: u64,
    /// Port of /healthz, /readyz and /metrics; 0 for none
    #[arg(long, value_name = "PORT", env = "WASMPROXY_HTTP_PORT", default_value_t = 9191)]
    http_port: u16,
    /// Address of that port [default: all of this machine]
    #[arg(long, value_name = "ADDRESS", env = "WASMPROXY_HTTP_HOST")]
    http_host: Option<IpAddr>,
}

impl WorkerArgs {
    /// An empty variable is as good as none.
    fn resource(&self) -> Option<&str> {
        self.resource.as_deref().filter(|name| !name.is_empty())
    }

    fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref().filter(|namespace| !namespace.is_empty())
    }

    fn uid(&self) -> Option<&str> {
        self.uid.as_deref().filter(|uid| !uid.is_empty())
    }

    fn cache_dir(&self) -> Option<&Path> {
        self.cache_dir.as_deref().filter(|dir| !dir.as_os_str().is_empty())
    }
}

/// Runs it until a signal comes.
pub(super) fn run(args: &WorkerArgs, logs: &LogArgs) -> ExitCode {
    match args.resource() {
        Some(resource) => pod::run(resource, args, logs),
        None => standalone::run(logs),
    }
}

/// Tasks that the runtime's thread goes on with before it looks what has come in on its connections. A task that decrypts what a
/// registry sends takes half a millisecond: after the usual 61 of them a broker would have waited long for the rest of a chunk.
const TASKS_IN_A_ROW: u32 = 4;

/// Runs `main` to its end on a runtime of its own.
///
/// One thread for the worker, beside this one: a channel keeps no more than that busy. With each further one the memory
/// allocator keeps an arena of its own, and the peak grew by some megabytes, in no order, without a gain in speed. That
/// thread runs `main`, too: whatever that waits for, it would have to wake this one.
fn run_to_end<T: Send + 'static>(main: impl Future<Output = T> + Send + 'static) -> io::Result<T> {
    let runtime = Builder::new_multi_thread().worker_threads(1).event_interval(TASKS_IN_A_ROW).enable_all().build()?;
    let ended = runtime.block_on(async { tokio::spawn(main).await });
    // A name that is being resolved cannot be interrupted, and nobody wants to know it any more.
    runtime.shutdown_background();
    // Nobody cancels it.
    ended.or_else(|error| panic::resume_unwind(error.into_panic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_variables_in_one_column() {
        assert!(DETAILS.contains("\n  PROXY_REGISTRY_URL "));
        assert!(DETAILS.lines().all(|line| !line.starts_with("PROXY_")));
    }
}
