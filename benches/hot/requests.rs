//! What every request goes through.

use std::{hint::black_box, net::TcpListener, time::Duration};

use serde_json::json;
use wasmproxy::{
    digest::Digest,
    hot::Dispatch,
    mqtt::{Message, Properties, Qos, VersionPreference},
    protocol::{ChunkSize, Request, TopicPrefix, Topics, request::MAX_REQUEST},
    registry::{Credentials, RegistryOptions},
    tls::TlsOptions,
    worker::{AllowList, BrokerConfig, WorkerConfig},
};

use crate::Case;

/// Modules that wait for their turn, where many do.
const WAITING: usize = 256;

pub fn cases() -> Vec<Case> {
    let plain = json!({ "app_name": "wasm/add:1" }).to_string();
    let full = json!({ "app_name": "wasm/add:1", "device": "press-4", "format": "json" }).to_string();
    // As many as fit: each range is one chunk.
    let chunks: Vec<_> = (0..64).map(|index| [index * 2, index * 2]).collect();
    let digest = Digest::of(b"module");
    let missing = json!({
        "app_name": "wasm/add:1", "device": "press-4", "digest": digest, "chunk_size": 512_000, "chunks": chunks,
    });
    let deep =
        ["{\"app_name\":\"a\",\"x\":", &"[".repeat(MAX_REQUEST / 2 - 20), &"]".repeat(MAX_REQUEST / 2 - 20), "}"];
    let refused = json!({ "app_name": "registry.example/other:1" }).to_string();
    let waiting = |index| json!({ "app_name": format!("wasm/module-{index}:1") }).to_string();
    let others: Vec<_> = (0..WAITING).map(waiting).collect();
    vec![
        parse("plain", &plain),
        parse("full", &full),
        parse("missing_64_chunks", &missing.to_string()),
        parse("hostile_deep", &deep.concat()),
        parse("hostile_long_name", &json!({ "app_name": "a".repeat(MAX_REQUEST - 20) }).to_string()),
        dispatch("joins", std::slice::from_ref(&full), &full),
        dispatch("joins_the_last_of_256", &others, &others[WAITING - 1]),
        dispatch("missing_64_chunks", &[], &missing.to_string()),
        dispatch("not_allowed", &[], &refused),
        dispatch("no_request", &[], "what is this?"),
    ]
}

fn parse(name: &str, request: &str) -> Case {
    let request = request.to_owned();
    Case::new(format!("parse/{name}"), move || Request::parse(black_box(request.as_bytes())))
}

/// From a request's bytes to the decision, after others were heard.
fn dispatch(name: &str, before: &[String], request: &str) -> Case {
    let (before, request) = (before.to_vec(), message(request));
    // Made at its first call: it counts for no other case.
    let mut dispatch = None;
    Case::new(format!("dispatch/{name}"), move || {
        let dispatch = dispatch.get_or_insert_with(|| {
            let mut dispatch = Dispatch::open(config()).unwrap();
            before.iter().for_each(|request| dispatch.hear(&message(request)));
            dispatch
        });
        dispatch.hear(black_box(&request));
    })
}

fn message(request: &str) -> Message {
    let Topics { requests: topic, .. } = Topics::new(&prefix());
    Message { topic, payload: request.to_owned().into(), retain: false, properties: Properties::default() }
}

fn prefix() -> TopicPrefix {
    TopicPrefix::of_channel("test").unwrap()
}

fn config() -> WorkerConfig {
    // A broker that never says a word, for as long as the process lives.
    let listener = Box::leak(Box::new(TcpListener::bind("127.0.0.1:0").unwrap()));
    WorkerConfig {
        generation: 1,
        broker: BrokerConfig {
            url: format!("mqtt://{}", listener.local_addr().unwrap()).parse().unwrap(),
            client_id: "worker".to_owned(),
            credentials: None,
            tls: TlsOptions::default(),
            version: VersionPreference::Auto,
            qos: Qos::AtLeastOnce,
            timeout: Duration::from_secs(600),
        },
        registry: RegistryOptions {
            host: "registry.example".to_owned(),
            plain_http: true,
            credentials: Credentials::Anonymous,
            tls: TlsOptions::default(),
            max_module_size: 1 << 30,
            timeout: RegistryOptions::DEFAULT_TIMEOUT,
            cache: None,
        },
        prefix: prefix(),
        artifacts: Vec::new(),
        requested: None,
        requests: Some(AllowList::new(["registry.example/wasm/**"]).unwrap()),
        chunk_size: ChunkSize::DEFAULT,
        pace: None,
        queue: WAITING,
        notes: None,
    }
}
