//! Probes: HTTP for kubelets, container engines and people who ask whether the program is alive and ready.
//!
//! | path | answers 200 |
//! |---|---|
//! | `/healthz` | while the program works; otherwise it should be started anew |
//! | `/readyz` | while it can do its job; otherwise it is waiting for somebody else |
//!
//! Where the answer is 503, the body says why in one line. Nothing here is secret, and nothing can be changed, so there is
//! neither TLS nor a password.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use axum::{
    Router,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;
use tokio::{net::TcpListener, task::JoinHandle};

/// Listens for probes, on `port` of `host` or, without one, of all addresses: those who probe are rarely on the same
/// host (a kubelet) and may say `localhost` for either address family. Port 0 takes a free one.
///
/// # Errors
/// Where the port is taken, or may not be.
pub async fn listen(host: Option<IpAddr>, port: u16) -> io::Result<TcpListener> {
    if let Some(host) = host {
        return TcpListener::bind((host, port)).await;
    }
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
        // In use is in use. Anything else means that there is no IPv6 here.
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await
        }
        bound => bound,
    }
}

/// `/healthz` and `/readyz`. Each check is asked anew for every request, and says in one line what is wrong.
pub fn router<A, R>(alive: A, ready: R) -> Router
where
    A: Fn() -> Result<(), String> + Clone + Send + Sync + 'static,
    R: Fn() -> Result<(), String> + Clone + Send + Sync + 'static,
{
    Router::new()
        .route("/healthz", get(move || std::future::ready(answer(alive()))))
        .route("/readyz", get(move || std::future::ready(answer(ready()))))
}

fn answer(check: Result<(), String>) -> Response {
    match check {
        Ok(()) => "ok\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

/// What `/health` answers: for tools that know Propeller's proxy, which has the first two fields.
#[derive(Debug, Clone, Serialize)]
pub struct Health {
    /// Always `ok`: a program that cannot say so says nothing.
    pub status: &'static str,
    /// Which of Propeller's services this stands in for.
    pub service: &'static str,
    /// Our version.
    pub version: &'static str,
    /// What the configuration calls this instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
}

impl Health {
    /// `/health`, to be merged into the [`router`].
    pub fn router(self) -> Router {
        // Strings always become JSON.
        let body = serde_json::to_string(&self).unwrap_or_default();
        let json = [(header::CONTENT_TYPE, "application/json")];
        Router::new().route("/health", get(move || std::future::ready((json, body))))
    }
}

/// A server of probes. Dropped, it ends at once: nobody waits for probes.
#[derive(Debug)]
pub struct Probes {
    address: SocketAddr,
    task: JoinHandle<io::Result<()>>,
}

impl Probes {
    /// Answers from now on.
    ///
    /// # Errors
    /// Where the listener does not know its address.
    pub fn serve(listener: TcpListener, router: Router) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let task = tokio::spawn(axum::serve(listener, router).into_future());
        Ok(Self { address, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
        sync::watch,
    };

    use super::*;

    async fn start(router: Router) -> Probes {
        let listener = listen(Some(Ipv4Addr::LOCALHOST.into()), 0).await.unwrap();
        Probes::serve(listener, router).unwrap()
    }

    async fn fetch(probes: &Probes, path: &str) -> String {
        let mut stream = TcpStream::connect(probes.address()).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn each_probe_asks_its_own_check_every_time() {
        let (ready, is_ready) = watch::channel(false);
        let check = move || if *is_ready.borrow() { Ok(()) } else { Err("no broker".to_owned()) };
        let probes = start(router(|| Ok(()), check)).await;

        assert!(fetch(&probes, "/healthz").await.starts_with("HTTP/1.1 200 OK"));
        let refusal = fetch(&probes, "/readyz").await;
        assert!(refusal.starts_with("HTTP/1.1 503 ") && refusal.ends_with("\r\n\r\nno broker\n"), "{refusal}");

        ready.send(true).unwrap();
        assert!(fetch(&probes, "/readyz").await.starts_with("HTTP/1.1 200 OK"));
        assert!(fetch(&probes, "/").await.starts_with("HTTP/1.1 404 "));
    }

    #[tokio::test]
    async fn health_begins_as_proxies_before_us_answered() {
        let health = Health { status: "ok", service: "proxy", version: "1.2.3", instance_id: None };
        let answer = fetch(&start(health.clone().router()).await, "/health").await;
        assert!(answer.to_lowercase().contains("content-type: application/json\r\n"), "{answer}");
        assert!(answer.ends_with(r#"{"status":"ok","service":"proxy","version":"1.2.3"}"#), "{answer}");

        let named = Health { instance_id: Some("line \"4\"".into()), ..health };
        let answer = fetch(&start(named.router()).await, "/health").await;
        assert!(answer.ends_with(r#","instance_id":"line \"4\""}"#), "{answer}");
    }

    #[tokio::test]
    async fn a_port_in_use_is_an_error() {
        let taken = listen(Some(Ipv4Addr::LOCALHOST.into()), 0).await.unwrap();
        let error = listen(None, taken.local_addr().unwrap().port()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn dropped_probes_answer_nobody() {
        let probes = start(Router::new()).await;
        let address = probes.address();
        drop(probes);
        // The port is free again as soon as the task has let go of it.
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }
}
