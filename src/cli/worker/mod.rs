//! `wasmproxy worker`: serves one channel without Kubernetes, in the place of Propeller's proxy.
//!
//! [`environment`] makes [`Settings`] of the environment; this file runs a [`Worker`] by them until a signal comes, and
//! answers probes meanwhile. What the worker does, and how its connection fares, those say in the log themselves.

mod environment;

use std::{
    collections::BTreeMap,
    env,
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::timeout,
};
use tracing::{info, warn};

use self::environment::{HttpAddress, Settings, SettingsError, Surroundings};
use super::LogArgs;
use crate::{
    mqtt::{ConnectionState, SessionEnd},
    telemetry::{
        logs,
        probes::{self, Health, Probes},
    },
    worker::{Progress, Worker},
};

/// How long the end may take: less than the 5 s that are promised, since the process has to go away, too.
const STOP_WITHIN: Duration = Duration::from_millis(4500);

/// What `wasmproxy worker --help` says of the environment.
pub(super) const ENVIRONMENT: &str = "\
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
  PROXY_HTTP_PORT          of /health, /healthz and /readyz; 0 for none (9191)
  PROXY_HTTP_HOST          its address (all of this machine)
  PROXY_LOG_LEVEL          error, warn, info, debug or trace (info)
  PROXY_INSTANCE_ID        a name for the log and /health
  PROXY_OTEL_URL, PROXY_TRACE_RATIO
                           not supported yet

The first two must be there. Identity, channel, tenant and domain may stand in config.toml
in the working directory, section [proxy]: entity_id, api_key, channel_id, tenant_id, domain_id.

SIGTERM and SIGINT end the worker within 5 s, and the broker keeps its session; a second one
ends it at once.";

/// Why the worker did not start, or did not end as it should.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("PROXY_HTTP_PORT: port {port} cannot be listened on: {source}; say another one, or 0 for no probes")]
    Probes { port: u16, source: io::Error },
    #[error("the operating system refuses what every program needs: {0}")]
    System(#[from] io::Error),
    #[error("the worker has broken down: this is a defect, please report it with the lines before")]
    BrokenDown,
}

/// Runs it until a signal comes.
pub(super) fn run(logs: &LogArgs) -> ExitCode {
    match settings().map_err(Failure::from).and_then(|settings| start(settings, logs)) {
        Ok(code) => code,
        Err(failure) => {
            // Where nobody listens on standard error, the exit code must do.
            let _ = writeln!(io::stderr(), "wasmproxy: {failure}");
            ExitCode::from(if matches!(failure, Failure::Settings(_)) { 2 } else { 1 })
        }
    }
}

/// The settings that this process finds.
fn settings() -> Result<Settings, SettingsError> {
    let ours = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        let name = name.into_string().ok().filter(|name| name.starts_with("PROXY_"))?;
        Some(value.into_string().map_err(|_| SettingsError::NotUtf8(name.clone())).map(|value| (name, value)))
    };
    let variables = env::vars_os().filter_map(ours).collect::<Result<BTreeMap<_, _>, _>>()?;
    let hostname = hostname::get().unwrap_or_default();
    let surroundings = Surroundings {
        variables: &variables,
        hostname: &hostname.to_string_lossy(),
        read: &|path| std::fs::read(path),
    };
    let mut settings = Settings::read(&surroundings)?;
    settings.check_tls()?;
    settings.open_cache()?;
    Ok(settings)
}

fn start(settings: Settings, logs: &LogArgs) -> Result<ExitCode, Failure> {
    let level = logs.log_level.or(settings.log_level).unwrap_or_default();
    // Nothing before this sets up logs.
    let _ = logs::init(logs.log_format, level);
    let runtime = runtime()?;
    let ended = runtime.block_on(serve(settings));
    // A name that is being resolved cannot be interrupted, and nobody wants to know it any more.
    runtime.shutdown_background();
    ended
}

/// One thread for the worker, beside this one: a channel keeps no more than that busy. With each further one the memory
/// allocator keeps an arena of its own, and the peak grew by some megabytes, in no order, without a gain in speed.
fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).enable_all().build()
}

async fn serve(settings: Settings) -> Result<ExitCode, Failure> {
    let mut signals = Signals::listen()?;
    let Settings { worker: config, http, instance_id, warnings, .. } = settings;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        instance = instance_id,
        broker = %config.broker.url,
        client = config.broker.client_id,
        topics = %config.prefix,
        registry = config.registry.host,
        "starting"
    );
    for warning in warnings {
        warn!("{warning}");
    }
    let worker = Worker::start(config, Progress::default());
    let mut progress = worker.progress();
    let _probes = match http {
        Some(address) => Some(answer_probes(address, progress.clone(), instance_id).await?),
        None => None,
    };

    let first = tokio::select! {
        signal = signals.next() => signal,
        // The progress goes on for as long as the worker does.
        _ = progress.wait_for(|_| false) => return Err(Failure::BrokenDown),
    };
    info!(signal = first.name, "ending: what is in flight is finished");
    tokio::select! {
        ended = timeout(STOP_WITHIN, worker.stop(SessionEnd::Keep)) => {
            match ended {
                Ok(()) => info!("ended"),
                Err(_) => warn!("ended without the broker's last acknowledgements"),
            }
            Ok(ExitCode::SUCCESS)
        }
        // As shells say it of programs that a signal has ended.
        second = signals.next() => Ok(ExitCode::from(128 + second.number)),
    }
}

async fn answer_probes(
    HttpAddress { host, port }: HttpAddress,
    progress: watch::Receiver<Progress>,
    instance_id: Option<String>,
) -> Result<Probes, Failure> {
    let refused = |source| Failure::Probes { port, source };
    let listener = probes::listen(host, port).await.map_err(refused)?;
    let health = Health { status: "ok", service: "proxy", version: env!("CARGO_PKG_VERSION"), instance_id };
    let watched = progress.clone();
    let alive = move || watched.has_changed().map(drop).map_err(|_| "the worker has broken down".to_owned());
    let ready = move || match &progress.borrow().broker {
        Some(ConnectionState::Connected { .. }) => Ok(()),
        _ => Err("not connected to the broker".to_owned()),
    };
    Probes::serve(listener, probes::router(alive, ready).merge(health.router())).map_err(refused)
}

/// The signals that end a program politely.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// A signal that came.
struct Received {
    name: &'static str,
    number: u8,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> Received {
        tokio::select! {
            _ = self.terminate.recv() => Received { name: "SIGTERM", number: 15 },
            _ = self.interrupt.recv() => Received { name: "SIGINT", number: 2 },
        }
    }
}
