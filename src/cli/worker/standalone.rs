//! `wasmproxy worker` without a resource: serves one channel as the environment says, in the place of Propeller's proxy.
//!
//! [`environment`](super::environment) makes [`Settings`] of the environment; this file runs a [`Worker`] by them until a signal comes, and
//! answers probes meanwhile. What the worker does, and how its connection fares, those say in the log themselves.

use std::{
    collections::BTreeMap,
    env,
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use tokio::{sync::watch, time::timeout};
use tracing::{info, warn};

use super::{
    environment::{HttpAddress, Settings, SettingsError, Surroundings},
    run_to_end,
};
use crate::{
    cli::{LogArgs, signals::Signals},
    mqtt::{ConnectionState, SessionEnd},
    telemetry::{
        logs,
        metrics::Exposition,
        probes::{self, Health, Probes},
    },
    worker::{
        Progress, Worker,
        metrics::{Name, Roster},
    },
};

/// How long the end may take: less than the 5 s that are promised, since the process has to go away, too.
const STOP_WITHIN: Duration = Duration::from_millis(4500);

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
    run_to_end(serve(settings))?
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
    let roster = Roster::default();
    let _presence = roster.enter(Name::default(), worker.vitals());
    let metrics = Exposition::default().with(roster);
    let _probes = match http {
        Some(address) => Some(answer_probes(address, progress.clone(), instance_id, metrics).await?),
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
        second = signals.next() => Ok(ExitCode::from(second.exit_code())),
    }
}

async fn answer_probes(
    HttpAddress { host, port }: HttpAddress,
    progress: watch::Receiver<Progress>,
    instance_id: Option<String>,
    metrics: Exposition,
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
    Probes::serve(listener, probes::router(alive, ready).merge(health.router()).merge(metrics.router()))
        .map_err(refused)
}
