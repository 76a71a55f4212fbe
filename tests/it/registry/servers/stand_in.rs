//! A server that answers as a test says, for what no real one can be made to do.

use std::sync::{Arc, Mutex};

use axum::{body::Body, extract::Request, response::Response};
use tokio::{net::TcpListener, task::JoinSet};

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The path and the query.
    pub path: String,
    /// The `Authorization` header.
    pub authorization: Option<String>,
}

/// A server over plain HTTP; it ends with the value.
pub struct StandIn {
    /// `127.0.0.1:port`.
    pub host: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    _server: JoinSet<()>,
}

impl StandIn {
    pub async fn start(answer: impl Fn(&Request) -> Response + Clone + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let to_see = seen.clone();
        let router = axum::Router::new().fallback(move |request: Request| {
            let authorization = header(&request, "authorization").map(str::to_owned);
            to_see.lock().unwrap().push(Seen { path: request.uri().to_string(), authorization });
            std::future::ready(answer(&request))
        });
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { host, seen, _server: server }
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// A header of a request, where it is there and text.
pub fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

/// A blob, from where the request wants it.
pub fn with_ranges(request: &Request, blob: &[u8]) -> Response {
    let start = header(request, "range").map(|range| range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap());
    let Some(start) = start.map(|start| start.parse::<usize>().unwrap()) else {
        return Response::new(Body::from(blob.to_vec()));
    };
    let range = format!("bytes {start}-{}/{}", blob.len() - 1, blob.len());
    let response = Response::builder().status(206).header("content-range", range);
    response.body(Body::from(blob[start..].to_vec())).unwrap()
}
