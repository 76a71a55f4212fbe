//! Asks containers over HTTP how they are.

use std::{future, net::Ipv4Addr, time::Duration};

use k8s_openapi::{
    api::core::v1::{Container, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};
use tokio::time::{Instant, interval, sleep, timeout};
use wasmproxy::tls::install_provider;

/// Periods are this many times shorter than a Pod says: tests need not wait for what is only slow on purpose.
const FASTER: u32 = 50;
/// An answer may take that long at least, since the machine is busy with other tests.
const PATIENT: Duration = Duration::from_secs(5);

/// A probe of one container.
pub struct HttpProbe {
    url: String,
    client: reqwest::Client,
    delay: Duration,
    period: Duration,
    timeout: Duration,
    failures: u32,
    successes: u32,
}

impl HttpProbe {
    /// The probe that a Pod asks for.
    ///
    /// # Errors
    /// Where it is of a kind that the stand-in does not know.
    pub fn new(probe: &Probe, container: &Container, address: Ipv4Addr) -> Result<Self, String> {
        let unknown =
            || format!("container {}: the stand-in for the kubelet knows only httpGet probes", container.name);
        let get = probe.http_get.as_ref().ok_or_else(unknown)?;
        let port = match &get.port {
            IntOrString::Int(port) => *port,
            IntOrString::String(name) => named_port(container, name).ok_or_else(unknown)?,
        };
        let scheme = get.scheme.as_deref().unwrap_or("HTTP").to_lowercase();
        let path = get.path.as_deref().unwrap_or("/");
        let count =
            |value: Option<i32>, default: u32| value.and_then(|count| u32::try_from(count).ok()).unwrap_or(default);
        let seconds = |value, default| Duration::from_secs(count(value, default).into());
        install_provider();
        Ok(Self {
            url: format!("{scheme}://{address}:{port}{path}"),
            client: reqwest::Client::builder().no_proxy().build().map_err(|error| error.to_string())?,
            delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10),
            timeout: seconds(probe.timeout_seconds, 1).max(PATIENT),
            failures: count(probe.failure_threshold, 3),
            successes: count(probe.success_threshold, 1),
        })
    }

    /// Says whenever it begins or ceases to succeed. Never ends.
    pub async fn watch(&self, say: impl Fn(bool)) {
        let (mut good, mut bad, mut is_good) = (0, 0, false);
        sleep(self.delay / FASTER).await;
        let mut ticks = interval(self.period / FASTER);
        loop {
            ticks.tick().await;
            (good, bad) = if self.succeeds().await { (good + 1, 0) } else { (0, bad + 1) };
            let now = if is_good { bad < self.failures } else { good >= self.successes };
            if now != is_good {
                is_good = now;
                say(is_good);
            }
        }
    }

    /// Ends once it has failed too often. A program that has never answered yet has all the time that its Pod gives it.
    pub async fn fails(&self) {
        let begin = Instant::now();
        let mut ticks = interval(self.period / FASTER);
        while !self.succeeds().await {
            if begin.elapsed() > self.delay + self.period * self.failures {
                return;
            }
            ticks.tick().await;
        }
        let mut failures = 0;
        while failures < self.failures {
            ticks.tick().await;
            failures = if self.succeeds().await { 0 } else { failures + 1 };
        }
    }

    async fn succeeds(&self) -> bool {
        let answer = timeout(self.timeout, self.client.get(&self.url).send()).await;
        matches!(answer, Ok(Ok(response)) if response.status().as_u16() < 400)
    }
}

fn named_port(container: &Container, name: &str) -> Option<i32> {
    let port = container.ports.iter().flatten().find(|port| port.name.as_deref() == Some(name))?;
    Some(port.container_port)
}

/// The probes of a container. Says when it gets ready and when it no longer is; ends once it is to be ended.
pub async fn probe(liveness: Option<&HttpProbe>, readiness: Option<&HttpProbe>, ready: impl Fn(bool)) {
    let alive = async {
        match liveness {
            Some(probe) => probe.fails().await,
            None => future::pending().await,
        }
    };
    let ready = async {
        match readiness {
            Some(probe) => probe.watch(ready).await,
            None => ready(true),
        }
        future::pending::<()>().await;
    };
    tokio::select! {
        () = alive => {}
        () = ready => {}
    }
}
