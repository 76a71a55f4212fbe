//! `wasmproxy controller`: reconciles `WasmProxy` resources until a signal comes.

mod election;
mod pods;

use std::{
    env,
    io::{self, Write as _},
    net::IpAddr,
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, ValueEnum};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::{
    election::ElectionArgs,
    pods::{NoImage, PodArgs},
};
use super::{
    CACHE_SIZE, LogArgs,
    cluster::{self, NoCluster},
    signals::Signals,
};
use crate::{
    api::quantity::parse_bytes,
    controller::{self, Health, InvalidTerms, LeaseLost, Metrics, Options, WorkerMode},
    registry::{Cache, CacheError},
    resource::{api_requests::ApiRequests, api_server::with_timeouts},
    telemetry::{
        logs,
        metrics::Exposition,
        probes::{self, Probes},
    },
};

/// What `wasmproxy controller --help` says at its end.
pub(super) const DETAILS: &str = "\
The cluster is found as kubectl finds it, by KUBECONFIG or ~/.kube/config; in a Pod by its service account. What that \
must be allowed is in the documentation of wasmproxy::controller. The definition of the resource must be there: \
wasmproxy crd | kubectl apply --server-side -f -

Of several replicas one leads and the others stand by, with the same knowledge. A leader that ends hands over at once; one \
that can no longer renew the Lease ends all work, and then itself, before another may lead.

Workers in Pods read their Secrets themselves, from files that the kubelet keeps up to date. Workers in this process use \
a Secret only with the label wasmproxy.io/credentials=true; it is read again when its resource changes, on request \
(annotation reconcile.wasmproxy.io/requestedAt), within a minute while it is missing or somebody refuses what it holds, and \
every five minutes.

SIGTERM and SIGINT end the controller within five seconds. The brokers keep the workers' sessions, and the next \
controller goes on without sending again what was published.";

/// The arguments of `wasmproxy controller`.
#[derive(Args)]
pub(super) struct ControllerArgs {
    /// Where workers run [default: pods, in a cluster]
    #[arg(long, env = "WASMPROXY_WORKERS", value_enum)]
    workers: Option<Workers>,
    #[command(flatten)]
    pods: PodArgs,
    /// A namespace to watch; several are said one by one, or with commas between them [default: all of them]
    #[arg(long, short, env = "WASMPROXY_NAMESPACES", value_delimiter = ',', value_parser = cluster::namespace)]
    namespace: Vec<String>,
    /// Directory in which the workers of this process keep modules [default: they do not]
    #[arg(long, env = "WASMPROXY_CACHE_DIR")]
    cache_dir: Option<PathBuf>,
    /// Bytes that modules may take up there, such as 512Mi
    #[arg(long, env = "WASMPROXY_CACHE_SIZE", default_value = CACHE_SIZE, value_parser = parse_bytes)]
    cache_size: u64,
    /// Port of /healthz, /readyz and /metrics; 0 for none
    #[arg(long, env = "WASMPROXY_HTTP_PORT", default_value_t = 9191)]
    http_port: u16,
    /// Address of that port [default: all of this machine]
    #[arg(long, env = "WASMPROXY_HTTP_HOST")]
    http_host: Option<IpAddr>,
    #[command(flatten)]
    election: ElectionArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Workers {
    /// In a Pod each
    Pods,
    /// In this process: for small clusters, for development, and where there are no nodes
    InProcess,
}

/// Why the controller did not start.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("--workers: outside of a cluster nothing says where workers are to run: say pods, or in-process")]
    Workers,
    #[error(transparent)]
    Image(#[from] NoImage),
    #[error(transparent)]
    NoCluster(#[from] NoCluster),
    #[error("the configuration of the cluster cannot be used: {0}")]
    Client(#[from] kube::Error),
    #[error("--cache-dir: {0}")]
    Cache(#[from] CacheError),
    #[error("--leader-election: {0}")]
    Terms(#[from] InvalidTerms),
    #[error(transparent)]
    LeaseLost(#[from] LeaseLost),
    #[error("--http-port: port {port} cannot be listened on: {source}; say another one, or 0 for no probes")]
    Probes { port: u16, source: io::Error },
    #[error("the operating system refuses what every program needs: {0}")]
    System(#[from] io::Error),
}

impl Failure {
    /// Whether the command line or the environment is wrong.
    fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Workers | Self::Image(_) | Self::NoCluster(_) | Self::Client(_) | Self::Cache(_) | Self::Terms(_)
        )
    }
}

/// Runs it until a signal comes.
pub(super) fn run(args: &ControllerArgs, logs: &LogArgs) -> ExitCode {
    match start(args, logs) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Where nobody listens on standard error, the exit code must do.
            let _ = writeln!(io::stderr(), "wasmproxy: {failure}");
            ExitCode::from(if failure.is_usage() { 2 } else { 1 })
        }
    }
}

fn start(args: &ControllerArgs, logs: &LogArgs) -> Result<(), Failure> {
    let is_in_cluster = env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    let workers = args.workers.or(is_in_cluster.then_some(Workers::Pods)).ok_or(Failure::Workers)?;
    // Nothing before this sets up logs.
    let _ = logs::init(logs.log_format, logs.log_level.unwrap_or_default());
    let leader = args.election.election()?;
    let dir = args.cache_dir.as_ref().filter(|dir| !dir.as_os_str().is_empty());
    let cache = dir.map(|dir| Cache::open(dir, args.cache_size)).transpose()?;
    let options = Options { namespaces: args.namespaces(), cache, leader, ..Options::new(WorkerMode::InProcess) };
    let runtime = Runtime::new()?;
    let ended = runtime.block_on(serve(args, workers, options));
    // A name that is being resolved cannot be interrupted, and nobody wants to know it any more.
    runtime.shutdown_background();
    ended
}

async fn serve(args: &ControllerArgs, workers: Workers, mut options: Options) -> Result<(), Failure> {
    let stop = stop_on_signal()?;
    let config = with_timeouts(cluster::config().await?);
    info!(version = env!("CARGO_PKG_VERSION"), cluster = %config.cluster_url, "starting");
    let requests = ApiRequests::default();
    let client = requests.client(config)?;
    let health = Health::default();
    let metrics = Metrics::of(&health);
    let exposition = Exposition::default().with(metrics.clone()).with(requests);
    // Before the API server is asked for anything: one that is away is no reason to start this container anew.
    let _probes = probes(args, health.clone(), exposition).await?;
    if workers == Workers::Pods {
        let Some(pods) = stop.run_until_cancelled(args.pods.options(&client)).await else { return Ok(()) };
        options.workers = WorkerMode::Pods(pods?);
    }
    Ok(controller::run(client, options, health, metrics, stop).await?)
}

/// Cancelled by the first SIGTERM or SIGINT.
fn stop_on_signal() -> Result<CancellationToken, Failure> {
    let mut signals = Signals::listen()?;
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    tokio::spawn(async move {
        info!("{}: stopping", signals.next().await.name);
        stopping.cancel();
    });
    Ok(stop)
}

/// What [`Health`] and metrics say, at `--http-port`.
async fn probes(args: &ControllerArgs, health: Health, metrics: Exposition) -> Result<Option<Probes>, Failure> {
    let port = args.http_port;
    if port == 0 {
        return Ok(None);
    }
    let (alive, ready) = (health.clone(), health);
    let listen = async {
        let listener = probes::listen(args.http_host, port).await?;
        Probes::serve(listener, probes::router(move || alive.alive(), move || ready.ready()).merge(metrics.router()))
    };
    listen.await.map(Some).map_err(|source| Failure::Probes { port, source })
}

impl ControllerArgs {
    /// Each namespace once; an empty variable is as good as none.
    fn namespaces(&self) -> Vec<String> {
        let mut namespaces: Vec<_> = self.namespace.iter().filter(|name| !name.is_empty()).cloned().collect();
        namespaces.sort();
        namespaces.dedup();
        namespaces
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: ControllerArgs,
    }

    fn parse(arguments: &[&str]) -> Result<ControllerArgs, clap::Error> {
        let fixed = ["wasmproxy", "--workers=in-process"];
        Cli::try_parse_from(fixed.iter().chain(arguments)).map(|cli| cli.args)
    }

    #[test]
    fn namespaces_are_said_one_by_one_or_with_commas_and_count_once() {
        let namespaces = |arguments| parse(arguments).unwrap().namespaces();
        assert_eq!(namespaces(&["--namespace=b,a", "--namespace", "b"]), ["a", "b"]);
        assert_eq!(namespaces(&["--namespace="]), [""; 0]);
        assert_eq!(namespaces(&[]), [""; 0]);
    }

    #[test]
    fn leader_election_is_on_unless_it_is_said_otherwise() {
        let election = |arguments| parse(arguments).unwrap().election.election();
        assert_eq!(election(&[]).unwrap().unwrap().name, "wasmproxy");
        assert!(election(&["--leader-election"]).unwrap().is_some());
        assert_eq!(election(&["--leader-election=false"]), Ok(None));
        let short = ["--leader-election-lease-duration=5s"];
        assert_eq!(election(&short), Err(InvalidTerms::Deadline));
    }
}
