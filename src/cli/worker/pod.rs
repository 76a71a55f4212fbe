//! `wasmproxy worker --resource`: serves one channel as a resource says.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{WorkerArgs, run_to_end};
use crate::{
    cli::{
        LogArgs,
        cluster::{self, NoCluster},
        signals::Signals,
    },
    pod::{self, BrokenDown, Health, Options},
    registry::{Cache, CacheError},
    resource::{
        api_requests::ApiRequests,
        api_server::{WATCH_SECONDS, with_timeouts},
    },
    telemetry::{
        logs,
        metrics::Exposition,
        probes::{self, Probes},
    },
    worker::metrics::Roster,
};

/// Why the worker did not start, or did not end as it should.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    NoCluster(#[from] NoCluster),
    #[error("the configuration of the cluster cannot be used: {0}")]
    Client(#[from] kube::Error),
    #[error("--cache-dir: {0}")]
    Cache(#[from] CacheError),
    #[error("--http-port: port {port} cannot be listened on: {source}; say another one, or 0 for no probes")]
    Probes { port: u16, source: io::Error },
    #[error("the operating system refuses what every program needs: {0}")]
    System(#[from] io::Error),
    #[error(transparent)]
    BrokenDown(#[from] BrokenDown),
}

/// Runs it until a signal comes.
pub(super) fn run(resource: &str, args: &WorkerArgs, logs: &LogArgs) -> ExitCode {
    match start(resource, args, logs) {
        Ok(code) => code,
        Err(failure) => {
            // Where nobody listens on standard error, the exit code must do.
            let _ = writeln!(io::stderr(), "wasmproxy: {failure}");
            let is_usage = matches!(failure, Failure::NoCluster(_) | Failure::Client(_) | Failure::Cache(_));
            ExitCode::from(if is_usage { 2 } else { 1 })
        }
    }
}

fn start(resource: &str, args: &WorkerArgs, logs: &LogArgs) -> Result<ExitCode, Failure> {
    // Nothing before this sets up logs.
    let _ = logs::init(logs.log_format, logs.log_level.unwrap_or_default());
    let cache = args.cache_dir().map(|dir| Cache::open(dir, args.cache_size)).transpose()?;
    run_to_end(serve(resource.to_owned(), args.clone(), cache))?
}

async fn serve(resource: String, args: WorkerArgs, cache: Option<Cache>) -> Result<ExitCode, Failure> {
    let mut signals = Signals::listen()?;
    let config = with_timeouts(cluster::config().await?);
    let options = Options {
        namespace: args.namespace().unwrap_or(&config.default_namespace).to_owned(),
        name: resource,
        uid: args.uid().map(str::to_owned),
        secrets: args.secrets_dir.clone(),
        cache,
        is_managed: args.managed,
        watch: Duration::from_secs(u64::from(WATCH_SECONDS)),
    };
    let requests = ApiRequests::default();
    let client = requests.client(config)?;
    let (health, roster) = (Arc::new(Health::default()), Roster::default());
    let metrics = Exposition::default().with(roster.clone()).with(requests);
    let _probes = answer_probes(&args, health.clone(), metrics).await?;
    let stop = CancellationToken::new();
    let mut worker = std::pin::pin!(pod::run(client, options, health, roster, stop.clone()));

    let first = tokio::select! {
        signal = signals.next() => signal,
        ended = &mut worker => return Ok(ended.map(|()| ExitCode::SUCCESS)?),
    };
    info!(signal = first.name, "ending: what is in flight is finished");
    stop.cancel();
    tokio::select! {
        ended = worker => {
            ended?;
            info!("ended");
            Ok(ExitCode::SUCCESS)
        }
        // As shells say it of programs that a signal has ended.
        second = signals.next() => Ok(ExitCode::from(second.exit_code())),
    }
}

async fn answer_probes(args: &WorkerArgs, health: Arc<Health>, metrics: Exposition) -> Result<Option<Probes>, Failure> {
    let port = args.http_port;
    if port == 0 {
        return Ok(None);
    }
    let watched = health.clone();
    let (alive, ready) = (move || watched.alive(), move || health.ready());
    let listen = async {
        let listener = probes::listen(args.http_host, port).await?;
        Probes::serve(listener, probes::router(alive, ready).merge(metrics.router()))
    };
    listen.await.map(Some).map_err(|source| Failure::Probes { port, source })
}
