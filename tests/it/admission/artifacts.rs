//! `spec.artifacts`, and how they are sent.

use serde_json::{Value, json};
use wasmproxy::api::WasmProxySpec;

use super::{accepted, refused};

const DIGEST: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn artifact(artifact: Value) -> Value {
    json!({"spec": {"artifacts": [artifact]}})
}

fn spec(mut stored: Value) -> WasmProxySpec {
    serde_json::from_value(stored["spec"].take()).unwrap()
}

#[tokio::test]
async fn references_of_every_form_are_accepted() {
    for reference in [
        "add",
        "wasm/add",
        "wasm/add:1.2",
        "wasm/a__b-c.d/e:_Tag-1.2",
        "registry.example/wasm/add:1.2",
        "registry.example:5000/add",
        "registry:5000/add",
        "localhost/add",
        &format!("add@{DIGEST}"),
        &format!("registry.example/wasm/add:1.2@{DIGEST}"),
    ] {
        accepted(artifact(json!({"reference": reference}))).await;
    }
}

#[tokio::test]
async fn what_is_no_reference_is_refused() {
    let sentence =
        "reference must be an OCI reference without a scheme, as in wasm/add:1.2 or registry.example/add@sha256:…";
    for reference in [
        "",
        "oci://registry.example/wasm/add",
        "Wasm/add",
        "wasm/Add",
        "wasm//add",
        "/add",
        "add:",
        "add:-tag",
        "add@sha256:ba78",
        "add@md5:900150983cd24fb0d6963f7d28e17f72",
        "add 1",
        &format!("add:{}", "t".repeat(129)),
    ] {
        refused(artifact(json!({"reference": reference})), sentence).await;
    }
}

#[tokio::test]
async fn intervals_of_every_form_are_accepted() {
    for interval in ["10s", "5m", "90s", "1h30m", "24h", "99999h"] {
        let spec = spec(accepted(artifact(json!({"reference": "add", "interval": interval}))).await);
        assert!(matches!(spec.artifacts[0].interval(), Ok(Some(_))), "{interval} is admitted, and must read");
    }
}

#[tokio::test]
async fn an_interval_that_is_none_or_too_short_is_refused() {
    let sentence = "interval must be a duration of at least 10s, as in 5m, 90s or 1h30m";
    for interval in ["", "5", "often", "9s", "0s", "-5m", "1.5h", "10000ms", "30m1h", "999999999h"] {
        refused(artifact(json!({"reference": "add", "interval": interval})), sentence).await;
    }
}

#[tokio::test]
async fn an_interval_for_a_digest_is_refused() {
    refused(
        artifact(json!({"reference": format!("add@{DIGEST}"), "interval": "5m"})),
        "interval is for tags, and this reference names a digest, which never changes: remove interval or the digest",
    )
    .await;
}

#[tokio::test]
async fn sizes_and_paces_are_accepted_with_and_without_a_unit() {
    for quantity in [json!("1Ki"), json!("512Mi"), json!("1T"), json!("1048576"), json!(1_048_576)] {
        let spec = spec(accepted(json!({"spec": {"pace": quantity, "limits": {"moduleSize": quantity}}})).await);
        assert!(spec.pace_bytes().is_ok_and(|bytes| bytes >= 1_000), "{quantity} is admitted, and must read");
        assert_eq!(spec.pace_bytes(), spec.limits.module_size_bytes());
    }
}

#[tokio::test]
async fn a_size_that_is_none_or_out_of_bounds_is_refused() {
    let sentence = "limits.moduleSize must be a whole number of bytes between 1Ki and 1Ti, as in 512Mi or 1Gi";
    for size in
        [json!(""), json!("big"), json!("1.5Gi"), json!("-1Gi"), json!("1gb"), json!("1023"), json!(0), json!("2Ti")]
    {
        refused(json!({"spec": {"limits": {"moduleSize": size}}}), sentence).await;
    }
}

#[tokio::test]
async fn a_pace_that_is_none_or_out_of_bounds_is_refused() {
    let sentence = "pace must be a whole number of bytes a second between 1k and 1T, as in 500k or 50M";
    for pace in [json!(""), json!("fast"), json!("1.5M"), json!("50MB/s"), json!("999"), json!(0), json!("2T")] {
        refused(json!({"spec": {"pace": pace}}), sentence).await;
    }
}
