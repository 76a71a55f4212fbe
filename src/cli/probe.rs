//! `wasmproxy probe`: asks a running controller or worker how it is, where there is no other program to ask with.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use reqwest::{Client, redirect};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::{Instant, sleep, timeout_at};
use url::Url;

use crate::resource::api_server::innermost;

/// The longest that one answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Between two questions, where somebody waits for a good answer.
const PAUSE: Duration = Duration::from_millis(500);
/// The most that is read of an answer, in bytes: a line or two are expected.
const LONGEST: usize = 64 << 10;

/// The arguments of `wasmproxy probe`.
#[derive(Args)]
pub(super) struct ProbeArgs {
    /// What to ask
    #[arg(default_value = "http://127.0.0.1:9191/readyz", value_parser = url)]
    url: Url,
    /// How long to ask again and again until all is well
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    wait: Duration,
}

/// Why all is not well.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// It says so itself.
    #[error("{0}")]
    Unwell(String),
    #[error("{url} does not answer: {reason}")]
    Silent { url: Url, reason: String },
    #[error("the operating system refuses what every program needs: {0}")]
    System(#[from] io::Error),
}

/// Probes have no TLS: whoever needs that does not need them.
fn url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).ok().filter(|url| url.scheme() == "http" && url.has_host());
    url.ok_or("say it as in http://127.0.0.1:9191/readyz")
}

/// Asks, prints the answer, and says by the exit code whether it was a good one.
pub(super) fn run(args: &ProbeArgs) -> ExitCode {
    match ask(args) {
        // Where nobody reads it, the exit code still says it.
        Ok(answer) => {
            let _ = io::stdout().write_all(answer.as_bytes());
            ExitCode::SUCCESS
        }
        Err(failure) => {
            let _ = writeln!(io::stderr(), "wasmproxy: {}", failure.to_string().trim_end());
            ExitCode::FAILURE
        }
    }
}

fn ask(args: &ProbeArgs) -> Result<String, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(until_well(&args.url, args.wait));
    // A name that is being resolved cannot be interrupted, and nobody wants to know it any more.
    runtime.shutdown_background();
    answer
}

/// The first good answer within `wait`, or the last failure; asks once at least.
async fn until_well(url: &Url, wait: Duration) -> Result<String, Failure> {
    // None where that is later than any clock shows.
    let end = Instant::now().checked_add(wait);
    loop {
        match get(url).await {
            Err(_) if end.is_none_or(|end| Instant::now() + PAUSE < end) => sleep(PAUSE).await,
            answer => return answer,
        }
    }
}

async fn get(url: &Url) -> Result<String, Failure> {
    let silent = |reason: String| Failure::Silent { url: url.clone(), reason };
    let answer = async {
        let response = client()?.get(url.clone()).send().await?;
        let status = response.status();
        Ok::<_, reqwest::Error>((status, text(response).await?))
    };
    match timeout_at(Instant::now() + TIMEOUT, answer).await {
        Ok(Ok((status, text))) if status.is_success() => Ok(text),
        Ok(Ok((status, text))) => Err(Failure::Unwell(if text.trim().is_empty() { status.to_string() } else { text })),
        Ok(Err(error)) => Err(silent(innermost(&error).to_string())),
        Err(_) => Err(silent(format!("not within {} s", TIMEOUT.as_secs()))),
    }
}

/// Of the network that is asked about, with neither a proxy nor certificates on the way.
fn client() -> reqwest::Result<Client> {
    let tls = ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    Client::builder().no_proxy().redirect(redirect::Policy::none()).tls_backend_preconfigured(tls).build()
}

async fn text(mut response: reqwest::Response) -> reqwest::Result<String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend(chunk.iter().take(LONGEST - body.len()));
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}

#[cfg(test)]
mod tests {
    use std::{
        net::Ipv4Addr,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
    };

    use super::*;
    use crate::{
        telemetry::probes::{self, Probes},
        tls::install_provider,
    };

    #[test]
    fn only_what_probes_are_can_be_asked() {
        assert!(url("http://[::1]:9191/healthz").is_ok());
        for odd in ["https://127.0.0.1:9191/readyz", "127.0.0.1:9191/readyz", "file:///readyz", "http://", ""] {
            assert!(url(odd).is_err(), "{odd}");
        }
    }

    /// Probes that are unwell once, when they are asked for `/readyz`.
    async fn unwell_once() -> (Probes, Url) {
        install_provider();
        let listener = probes::listen(Some(Ipv4Addr::LOCALHOST.into()), 0).await.unwrap();
        let asked = Arc::new(AtomicBool::new(false));
        let ready = move || asked.swap(true, Ordering::Relaxed).then_some(()).ok_or("not yet".to_owned());
        let probes = Probes::serve(listener, probes::router(|| Ok(()), ready)).unwrap();
        let url = url(&format!("http://{}/readyz", probes.address())).unwrap();
        (probes, url)
    }

    #[tokio::test]
    async fn it_tells_the_answer_or_that_there_is_none() {
        let (probes, url) = unwell_once().await;
        assert_eq!(until_well(&url, Duration::ZERO).await.unwrap_err().to_string(), "not yet\n");
        assert_eq!(until_well(&url, Duration::ZERO).await.unwrap(), "ok\n");
        let nowhere = url.join("/nowhere").unwrap();
        assert_eq!(until_well(&nowhere, Duration::ZERO).await.unwrap_err().to_string(), "404 Not Found");
        drop(probes);
        let silent = until_well(&url, Duration::ZERO).await.unwrap_err().to_string();
        assert!(silent.starts_with(&format!("{url} does not answer: ")), "{silent}");
    }

    #[tokio::test]
    async fn it_waits_for_a_good_answer_if_it_is_told_to() {
        for wait in [Duration::from_secs(60), Duration::MAX] {
            let (_probes, url) = unwell_once().await;
            assert_eq!(until_well(&url, wait).await.unwrap(), "ok\n");
        }
    }
}
