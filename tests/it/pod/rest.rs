//! A worker at rest, over hours of paused time, with an API server that counts what is written.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{RawQuery, State},
    response::{IntoResponse as _, Response},
    routing::{get, patch},
};
use futures::stream;
use kube::Client;
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use wasmproxy::{
    pod::{self, Health, Options},
    worker::metrics::Roster,
};

use super::floor::NAME;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// A resource as the API server has it, and how often its status was written.
#[derive(Clone)]
struct Server(Arc<Mutex<(Value, usize)>>);

impl Server {
    fn new(spec: &Value) -> Self {
        let metadata =
            json!({"name": NAME, "namespace": "edge", "uid": "11f0", "generation": 1, "resourceVersion": "1"});
        let resource =
            json!({"apiVersion": "wasmproxy.io/v1alpha1", "kind": "WasmProxy", "metadata": metadata, "spec": spec});
        Self(Arc::new(Mutex::new((resource, 0))))
    }

    fn client(&self) -> Client {
        let resources = "/apis/wasmproxy.io/v1alpha1/namespaces/edge/wasmproxies";
        let router = Router::new()
            .route(resources, get(list))
            .route(&format!("{resources}/{NAME}/status"), patch(write))
            .with_state(self.clone());
        Client::new(router, "edge")
    }

    fn writes(&self) -> usize {
        self.0.lock().unwrap().1
    }

    /// The reason of `BrokerConnected`.
    fn reason(&self) -> Value {
        let resource = self.0.lock().unwrap().0.clone();
        let conditions = resource["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.into_iter().find(|condition| condition["type"] == "BrokerConnected").unwrap()["reason"].take()
    }
}

async fn list(State(server): State<Server>, RawQuery(query): RawQuery) -> Response {
    if query.is_some_and(|query| query.contains("watch=true")) {
        // Nobody changes anything.
        return Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>()).into_response();
    }
    let resource = server.0.lock().unwrap().0.clone();
    let version = resource["metadata"]["resourceVersion"].clone();
    json!({
        "apiVersion": "wasmproxy.io/v1alpha1", "kind": "WasmProxyList",
        "metadata": {"resourceVersion": version}, "items": [resource],
    })
    .to_string()
    .into_response()
}

async fn write(State(server): State<Server>, body: Bytes) -> String {
    let patch: Value = serde_json::from_slice(&body).unwrap();
    let (resource, writes) = &mut *server.0.lock().unwrap();
    *writes += 1;
    resource["status"] = patch["status"].clone();
    resource["metadata"]["resourceVersion"] = json!((*writes + 1).to_string());
    resource.to_string()
}

fn options(secrets: &Path) -> Options {
    Options {
        namespace: "edge".to_owned(),
        name: NAME.to_owned(),
        uid: None,
        secrets: secrets.to_owned(),
        cache: None,
        is_managed: true,
        watch: Duration::from_secs(60),
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_looks_at_its_secrets_for_hours_writes_only_what_has_changed() {
    let server = Server::new(&json!({
        "channel": {"id": NAME}, "registry": {"host": "registry.example"},
        "broker": {"url": "mqtts://broker.example", "secretRef": {"name": "broker"}},
    }));
    let secrets = tempfile::tempdir().unwrap();
    let (health, stop) = (Arc::<Health>::default(), CancellationToken::new());
    let worker = tokio::spawn(pod::run(
        server.client(),
        options(secrets.path()),
        health.clone(),
        Roster::default(),
        stop.clone(),
    ));
    sleep(HOUR).await;
    assert_eq!((server.writes(), server.reason()), (1, json!("Starting")));
    fs::create_dir(secrets.path().join("broker")).unwrap();
    sleep(HOUR).await;
    assert_eq!((server.writes(), server.reason()), (2, json!("SecretNotFound")));
    fs::write(secrets.path().join("broker/username"), "worker").unwrap();
    sleep(HOUR).await;
    assert_eq!((server.writes(), server.reason()), (3, json!("SecretInvalid")));
    // A directory where a file should be.
    fs::create_dir(secrets.path().join("broker/password")).unwrap();
    sleep(HOUR).await;
    assert_eq!((server.writes(), server.reason()), (4, json!("SecretInvalid")));
    assert_eq!((health.alive(), health.ready()), (Ok(()), Ok(())));
    stop.cancel();
    worker.await.unwrap().unwrap();
    assert_eq!(server.writes(), 4, "it is replaced, and has nothing more to say");
}
