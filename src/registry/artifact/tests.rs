use proptest::{prelude::*, sample::select};
use serde_json::json;

use super::*;

const TAR: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const DOCKER_TAR: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

fn descriptor(media_type: &str) -> serde_json::Value {
    json!({ "mediaType": media_type, "digest": Digest::of(media_type.as_bytes()), "size": 100 })
}

fn manifest_of(config: &str, layers: &[&str]) -> serde_json::Value {
    let layers: Vec<_> = layers.iter().map(|layer| descriptor(layer)).collect();
    json!({ "schemaVersion": 2, "config": descriptor(config), "layers": layers })
}

fn selected(config: &str, layers: &[&str]) -> Result<Selected, Unsupported> {
    selected_in(&manifest_of(config, layers))
}

/// The layer that is the module.
fn layer_of(layers: &[&str]) -> Result<Layer, Unsupported> {
    match selected("application/vnd.oci.empty.v1+json", layers)? {
        Selected::Raw(layer) => Ok(layer),
        Selected::Packed(packed) => panic!("{packed:?}"),
    }
}

/// The layer that holds the module.
fn packed(config: &str, layers: &[&str]) -> Arc<Packed> {
    match selected(config, layers).unwrap() {
        Selected::Raw(layer) => panic!("{layer:?}"),
        Selected::Packed(packed) => packed,
    }
}

fn selected_in(manifest: &serde_json::Value) -> Result<Selected, Unsupported> {
    match Manifest::parse(manifest.to_string().as_bytes(), None)? {
        Manifest::Image(image) => select_layer(&image),
        Manifest::Index(_) => Err(Unsupported::NestedIndex),
    }
}

/// An index of `os/architecture` entries; the digest of each is that of its name.
fn entry_of(platforms: &[&str]) -> Result<Digest, Unsupported> {
    let manifests: Vec<_> = platforms
        .iter()
        .map(|platform| {
            let mut entry = descriptor(MANIFEST_TYPES[0]);
            entry["digest"] = json!(Digest::of(platform.as_bytes()));
            if let Some((os, architecture)) = platform.split_once('/') {
                entry["platform"] = json!({ "os": os, "architecture": architecture });
            }
            entry
        })
        .collect();
    let index = json!({ "schemaVersion": 2, "manifests": manifests }).to_string();
    match Manifest::parse(index.as_bytes(), Some(INDEX_TYPES[0]))? {
        Manifest::Index(index) => select_entry(&index),
        Manifest::Image(_) => Err(Unsupported::NotAManifest),
    }
}

#[test]
fn each_raw_layer_type_is_a_module() {
    for raw in RAW_LAYER_TYPES {
        let layer = layer_of(&[raw]).unwrap();
        assert_eq!(layer, Layer { digest: Digest::of(raw.as_bytes()), size: 100, media_type: raw.to_owned() });
    }
}

#[test]
fn one_raw_layer_is_chosen_whatever_lies_beside_it() {
    for others in [[TAR, "text/plain"], ["application/vnd.fermyon.spin.data", DOCKER_TAR]] {
        let layer = layer_of(&[others[0], "application/wasm", others[1]]).unwrap();
        assert_eq!(layer.media_type, "application/wasm");
    }
}

#[test]
fn a_media_type_may_carry_parameters() {
    assert!(layer_of(&["application/wasm; version=1", "text/plain"]).is_ok());
}

#[test]
fn of_a_media_type_no_more_is_kept_than_any_may_have() {
    let long = "x".repeat(1 << 20);
    assert_eq!(layer_of(&[&long]).unwrap().media_type.len(), MAX_MEDIA_TYPE);
    assert_eq!(layer_of(&[&format!("application/wasm; {long}")]).unwrap().media_type, "application/wasm");
}

#[test]
fn a_single_layer_of_any_other_type_is_left_to_its_bytes() {
    assert_eq!(layer_of(&["application/octet-stream"]).unwrap().media_type, "application/octet-stream");
}

#[test]
fn the_last_layer_may_be_an_archive() {
    for (tar, compression) in [
        (TAR, Compression::Gzip),
        (DOCKER_TAR, Compression::Gzip),
        ("application/vnd.oci.image.layer.v1.tar", Compression::None),
        ("application/vnd.docker.image.rootfs.diff.tar", Compression::None),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", Compression::Gzip),
        ("application/x-tar", Compression::None),
        ("application/x-tar+gz; version=1", Compression::Gzip),
    ] {
        let packed = packed("application/vnd.oci.empty.v1+json", &["text/plain", tar]);
        let media_type = packed.layer.media_type.as_str();
        assert_eq!((media_type, packed.compression), (without_parameters(tar), compression));
        assert_eq!(packed.seen.to_string(), format!("text/plain, {}", tar.replace(' ', "")));
    }
    assert!(matches!(layer_of(&[TAR, "text/plain"]), Err(Unsupported::NotOneModule(_))));
}

#[test]
fn an_archive_that_is_compressed_otherwise_is_refused_with_its_media_type() {
    for tar in ["application/vnd.oci.image.layer.v1.tar+zstd", "a/x.tar.xz", "a/tar+gzip+encrypted"] {
        let error = layer_of(&[tar]).unwrap_err();
        assert!(matches!(&error, Unsupported::Compression(_)) && error.to_string().contains(tar), "{error}");
    }
}

#[test]
fn what_an_image_runs_is_in_its_configuration_if_it_is_an_image() {
    for image in IMAGE_CONFIG_TYPES {
        assert_eq!(packed(image, &[TAR]).config.as_ref().unwrap().media_type, image);
    }
    assert_eq!(packed("application/vnd.oci.empty.v1+json", &[TAR]).config, None);
}

#[test]
fn an_archive_by_name_may_be_a_module_if_it_is_alone() {
    assert!(packed(IMAGE_CONFIG_TYPES[0], &[TAR]).is_only);
    assert!(!packed(IMAGE_CONFIG_TYPES[0], &[TAR, TAR]).is_only);
}

#[test]
fn what_is_ambiguous_is_refused_with_what_was_seen() {
    for layers in [&["application/wasm", "application/vnd.wasm.content.layer.v1+wasm"][..], &["a/b", "c/d"]] {
        let error = layer_of(layers).unwrap_err();
        assert!(matches!(error, Unsupported::NotOneModule(_)));
        assert!(layers.iter().all(|layer| error.to_string().contains(layer)), "{error}");
    }
    assert_eq!(layer_of(&[]).unwrap_err(), Unsupported::NotOneModule(Seen("none".to_owned())));
}

#[test]
fn a_hostile_manifest_does_not_fill_the_message() {
    let names: Vec<_> = (0..1000).map(|i| format!("{i}\u{1b}[2J/{}", "x".repeat(1000))).collect();
    let error = layer_of(&names.iter().map(String::as_str).collect::<Vec<_>>()).unwrap_err().to_string();
    assert!(error.len() < 1000 && !error.contains('\u{1b}'), "{error}");
}

#[test]
fn a_layer_too_small_for_a_preamble_is_no_module() {
    let mut layer = descriptor("application/wasm");
    layer["size"] = json!(7);
    let config = descriptor("application/vnd.wasm.config.v0+json");
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [layer] });
    assert_eq!(selected_in(&manifest), Err(Unsupported::NotWasm("application/wasm".into())));
}

#[test]
fn a_digest_of_another_algorithm_is_refused() {
    let mut layer = descriptor("application/wasm");
    layer["digest"] = json!(format!("sha512:{}", "0".repeat(128)));
    let config = descriptor("application/vnd.wasm.config.v0+json");
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [layer] });
    assert_eq!(selected_in(&manifest), Err(Unsupported::Digest));
}

#[test]
fn an_index_leads_to_its_wasm_entry_best_system_first() {
    let chosen = |platforms: &[&str]| entry_of(platforms).unwrap();
    assert_eq!(chosen(&["wasi/wasm", "wasip1/wasm", "wasip2/wasm", "linux/amd64"]), Digest::of(b"wasip2/wasm"));
    assert_eq!(chosen(&["linux/amd64", "wasi/wasm", "wasip1/wasm32"]), Digest::of(b"wasip1/wasm32"));
    assert_eq!(chosen(&["unknown/unknown", "wasi/wasm"]), Digest::of(b"wasi/wasm"));
}

#[test]
fn an_index_leads_to_its_only_entry() {
    for only in ["linux/amd64", "no platform"] {
        assert_eq!(entry_of(&[only]), Ok(Digest::of(only.as_bytes())));
    }
}

#[test]
fn an_index_without_a_wasm_entry_is_refused_with_its_platforms() {
    let error = entry_of(&["linux/amd64", "linux/wasm", "wasip2/arm64", "none"]).unwrap_err();
    assert!(error.to_string().contains("linux/amd64, linux/wasm, wasip2/arm64, unknown"), "{error}");
    assert_eq!(entry_of(&[]).unwrap_err(), Unsupported::NoWasmPlatform(Seen("none".to_owned())));
}

#[test]
fn both_families_of_media_types_are_understood() {
    let config = descriptor("application/vnd.docker.container.image.v1+json");
    for (index, image) in INDEX_TYPES.into_iter().zip(MANIFEST_TYPES) {
        let json = json!({ "schemaVersion": 2, "mediaType": index, "manifests": [] }).to_string();
        assert!(matches!(Manifest::parse(json.as_bytes(), Some(index)), Ok(Manifest::Index(_))));
        let json = json!({ "schemaVersion": 2, "mediaType": image, "config": config, "layers": [] }).to_string();
        assert!(matches!(Manifest::parse(json.as_bytes(), Some(image)), Ok(Manifest::Image(_))));
        assert!(ACCEPT.contains(index) && ACCEPT.contains(image));
    }
}

#[test]
fn a_document_that_can_be_read_two_ways_is_refused() {
    let config = descriptor("application/vnd.oci.empty.v1+json");
    let both = json!({ "schemaVersion": 2, "config": config, "layers": [], "manifests": [] }).to_string();
    let image = json!({ "schemaVersion": 2, "config": config, "layers": [] }).to_string();
    let lying = json!({ "schemaVersion": 2, "mediaType": INDEX_TYPES[0], "config": config, "layers": [] }).to_string();
    let lying_type = Some("application/vnd.oci.image.index.v1+json; charset=utf-8");
    for (json, content_type) in [(&both, None), (&lying, None), (&image, lying_type)] {
        let refused = Manifest::parse(json.as_bytes(), content_type);
        assert_eq!(refused.err(), Some(Unsupported::NotAManifest), "{json}");
    }
    for json in ["", "[]", "{}", r#"{"schemaVersion": 1, "fsLayers": []}"#] {
        assert_eq!(Manifest::parse(json.as_bytes(), None).err(), Some(Unsupported::NotAManifest), "{json}");
    }
}

#[test]
fn modules_and_components_begin_as_they_should() {
    assert!(may_be_wasm(b"\0asm\x01\0\0\0 and more"));
    assert!(may_be_wasm(b"\0asm\x0d\0\x01\0"));
    assert!(may_be_wasm(b"\0as") && may_be_wasm(b""));
    for other in [&b"\x7fELF"[..], b"\0asm\x01\0\x01\0", b"\0asm\x0d\0\0\0", b"\0asm\x02", b"{"] {
        assert!(!may_be_wasm(other), "{other:?}");
    }
}

proptest! {
    #[test]
    fn which_layer_is_chosen_does_not_depend_on_their_order(
        layers in prop::collection::vec(
            // Of archives the last layer counts.
            select(vec![RAW_LAYER_TYPES[0], RAW_LAYER_TYPES[3], "text/plain", "a/b"]), 0..5,
        ),
        turn in 0usize..5,
    ) {
        let mut turned = layers.clone();
        turned.rotate_left(turn.min(layers.len()));
        let chosen = |layers: &[&str]| match selected("application/vnd.oci.empty.v1+json", layers) {
            Ok(Selected::Raw(layer)) => Ok(layer.digest),
            Ok(Selected::Packed(packed)) => Ok(packed.layer.digest),
            Err(why) => Err(std::mem::discriminant(&why)),
        };
        prop_assert_eq!(chosen(&layers), chosen(&turned));
    }
}
