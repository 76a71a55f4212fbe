//! What is promised of the image, held against the archive that `make image` has written: `make image-test`. How it
//! behaves in a cluster is for `tests/e2e`.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a helper that cannot go on fails its test, and says where")]

mod archive;
mod elf;

use std::collections::BTreeSet;

use archive::Archive;
use serde_json::json;

const BINARY: &str = "wasmproxy";
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";

#[test]
fn it_holds_the_binary_and_the_authorities_and_nothing_else() {
    let files = Archive::open().files;
    let names: BTreeSet<_> = files.keys().map(String::as_str).collect();
    assert_eq!(names, BTreeSet::from(["etc", "etc/ssl", "etc/ssl/certs", AUTHORITIES, BINARY]));
    // The user that it runs as owns none of it.
    let modes: Vec<_> = files.values().map(|file| (file.owner, file.mode & 0o7777)).collect();
    assert!(modes.iter().all(|(owner, mode)| *owner == 0 && mode & 0o022 == 0), "somebody else may write: {modes:?}");
    assert_eq!((files[BINARY].mode & 0o7777, files[AUTHORITIES].mode & 0o7777), (0o755, 0o644));
}

#[test]
fn it_is_smaller_than_25_megabytes() {
    let size = Archive::open().size;
    assert!(size < 25_000_000, "{size} bytes");
}

#[test]
fn the_binary_needs_no_other_file_to_start() {
    let archive = Archive::open();
    let header = elf::read(&archive.files[BINARY].content);
    assert!(!header.interpreted, "it asks for a dynamic linker, which is not there");
    assert_eq!(header.architecture, archive.config["architecture"]);
}

#[test]
fn what_a_worker_runs_lies_together() {
    let archive = Archive::open();
    let size =
        elf::section(&archive.files[BINARY].content, ".text.worker").expect("it is linked by tests/lab/order.ld");
    assert!(size > 4_000_000, "{size} bytes: tests/lab/order.ld has become old, `make order` writes it anew");
}

#[test]
fn it_runs_as_nobody_in_particular_and_is_the_program() {
    let config = &Archive::open().config["config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["Entrypoint"], json!(["/wasmproxy"]));
    assert!(config["Cmd"].is_null(), "{config}");
}

#[test]
fn it_says_what_it_is_and_where_it_comes_from() {
    let archive = Archive::open();
    let label = |name: &str| archive.config["config"]["Labels"][format!("org.opencontainers.image.{name}")].clone();
    assert_eq!(label("title"), env!("CARGO_PKG_NAME"));
    assert_eq!(label("description"), env!("CARGO_PKG_DESCRIPTION"));
    assert_eq!(label("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(label("licenses"), env!("CARGO_PKG_LICENSE"));
    assert_eq!(label("source"), env!("CARGO_PKG_REPOSITORY"));
    for name in ["url", "documentation", "revision"] {
        assert!(label(name).as_str().is_some_and(|value| !value.is_empty()), "no label {name}: {}", archive.config);
    }
    let revision = label("revision");
    let revision = revision.as_str().unwrap().as_bytes();
    let binary = &archive.files[BINARY].content;
    assert!(binary.windows(revision.len()).any(|bytes| bytes == revision), "the binary says another revision");
    assert_eq!(archive.names, [concat!("ghcr.io/wasmproxy/wasmproxy:", env!("CARGO_PKG_VERSION"))]);
}

#[test]
fn it_trusts_whom_the_web_trusts() {
    let archive = Archive::open();
    let bundle = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&bundle, &archive.files[AUTHORITIES].content).unwrap();
    let found = rustls_native_certs::load_certs_from_paths(Some(bundle.path()), None);
    assert!(found.errors.is_empty(), "{:?}", found.errors);
    assert!(found.certs.len() > 100, "only {} authorities", found.certs.len());
}
