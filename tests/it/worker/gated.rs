//! A registry that hands out a module as far as a test lets it: so a pass stands where the test wants it to.

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::stream;
use serde_json::json;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use wasmproxy::digest::Digest;

/// The byte that is another one where the registry deceives: after what every module begins with.
const CORRUPT: usize = 8;

/// A registry with one module, whatever is asked for. It is no real one: those cannot be stopped in the middle.
pub struct Gated {
    /// `127.0.0.1:port`.
    pub host: String,
    gate: watch::Sender<Gate>,
    asked: watch::Receiver<usize>,
    _server: JoinSet<()>,
}

/// How a module is handed out.
#[derive(Debug, Clone, Copy, Default)]
struct Gate {
    /// So many bytes of it.
    released: usize,
    /// The connection breaks after these.
    breaks: bool,
    /// The first byte that a device could not tell is another one.
    corrupt: bool,
}

impl Gated {
    /// Nothing of the module is released yet.
    pub async fn start(module: Vec<u8>) -> Self {
        Self::start_with(module, true).await
    }

    /// One that answers with the whole module, whatever part of it is asked for, and at once.
    pub async fn without_ranges(module: Vec<u8>) -> Self {
        let size = module.len();
        let registry = Self::start_with(module, false).await;
        registry.release(size);
        registry
    }

    async fn start_with(module: Vec<u8>, ranges: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let digest = Digest::of(&module);
        let layer = json!({"mediaType": "application/wasm", "digest": digest, "size": module.len()});
        let config = json!({"mediaType": "application/vnd.oci.empty.v1+json", "digest": Digest::of(b"{}"), "size": 2});
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest =
            json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [layer]}).to_string();
        let (sender, gate) = watch::channel(Gate::default());
        let (counting, asked) = watch::channel(0);
        let counting = std::sync::Arc::new(counting);
        let module = Bytes::from(module);
        let router = Router::new().fallback(async move |request: Request| {
            if request.uri().path().contains("/manifests/") {
                return ([(header::CONTENT_TYPE, media_type)], manifest.clone()).into_response();
            }
            counting.send_modify(|asked| *asked += 1);
            blob(&request, module.clone(), gate.clone(), ranges)
        });
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { host, gate: sender, asked, _server: server }
    }

    /// How often it was asked for the module, or a part of it.
    pub fn asked(&self) -> usize {
        *self.asked.borrow()
    }

    /// Hands out the module up to this byte.
    pub fn release(&self, bytes: usize) {
        self.gate.send_replace(Gate { released: bytes, ..Gate::default() });
    }

    /// Hands out another module than it says, up to this byte.
    pub fn deceive(&self, bytes: usize) {
        self.gate.send_replace(Gate { released: bytes, breaks: false, corrupt: true });
    }

    /// Breaks all connections, and whatever comes after them.
    pub fn break_off(&self) {
        self.gate.send_modify(|gate| gate.breaks = true);
    }
}

fn blob(request: &Request, module: Bytes, gate: watch::Receiver<Gate>, ranges: bool) -> Response {
    let range = request
        .headers()
        .get(header::RANGE)
        .filter(|_| ranges)
        .and_then(|range| range.to_str().ok())
        .map(|range| range.trim_start_matches("bytes=").trim_end_matches('-').parse::<usize>().unwrap());
    let (from, size) = (range.unwrap_or(0), module.len());
    let length = (header::CONTENT_LENGTH, (size - from).to_string());
    let body = Body::from_stream(stream::unfold((from, gate), move |(position, mut gate)| {
        let module = module.clone();
        async move {
            let goes_on = |gate: &Gate| gate.breaks || gate.released > position || position == size;
            let Gate { released, breaks, corrupt } = *gate.wait_for(goes_on).await.ok()?;
            let end = released.min(size);
            if breaks && position >= end {
                return Some((Err(std::io::Error::other("broken")), (position, gate)));
            }
            let mut bytes = module.slice(position..end).to_vec();
            if corrupt && position <= CORRUPT {
                bytes[CORRUPT - position] ^= 1;
            }
            (position < size).then_some((Ok(Bytes::from(bytes)), (end, gate)))
        }
    }));
    match range {
        None => ([length], body).into_response(),
        Some(from) => {
            let range = (header::CONTENT_RANGE, format!("bytes {from}-{}/{size}", size - 1));
            (StatusCode::PARTIAL_CONTENT, [length, range], body).into_response()
        }
    }
}
