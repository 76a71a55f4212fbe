//! What is read of what a registry says, once for each time that a tag has moved.

use std::hint::black_box;

use serde_json::{Value, json};
use wasmproxy::{digest::Digest, hot::manifest};

use crate::Case;

pub fn cases() -> Vec<Case> {
    let layer = |kind: &str, name: usize| {
        let digest = Digest::of(&name.to_le_bytes());
        json!({ "mediaType": kind, "digest": digest, "size": 1_000_000 + name })
    };
    let image = json!({
        "schemaVersion": 2, "mediaType": IMAGE, "config": layer("application/vnd.wasm.config.v0+json", 0),
        "layers": [layer("application/wasm", 1)],
    });
    let entry = |index: usize| {
        let architecture = if index == 99 { "wasm" } else { "amd64" };
        let os = if index == 99 { "wasip1" } else { "linux" };
        json!({
            "mediaType": IMAGE, "digest": Digest::of(&index.to_le_bytes()), "size": 500,
            "platform": { "architecture": architecture, "os": os },
        })
    };
    let entries: Vec<_> = (0..100).map(entry).collect();
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
    let layers: Vec<_> = (0..1000).map(|name| layer(&format!("application/x-{name}"), name)).collect();
    let hostile = json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": layer("x", 0), "layers": layers });
    vec![
        read("image", IMAGE, true, &image),
        read("index_of_100", INDEX, true, &index),
        read("hostile_1000_layers", IMAGE, false, &hostile),
    ]
}

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn read(name: &str, kind: &'static str, is_useful: bool, document: &Value) -> Case {
    let json = document.to_string();
    assert_eq!(manifest(json.as_bytes(), kind), is_useful, "{name}");
    Case::new(format!("manifest/{name}"), move || manifest(black_box(json.as_bytes()), kind))
}
