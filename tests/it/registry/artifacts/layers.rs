//! Artifacts whose module is a layer as it is.

use super::{Workshop, module};

const WASM: &str = "application/wasm";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

#[tokio::test]
async fn each_layout_with_a_layer_of_its_own_type_is_read() {
    let workshop = Workshop::start().await;
    for (name, config, layer) in [
        ("cncf:1", "application/vnd.wasm.config.v0+json", WASM),
        ("wasm-to-oci:1", "application/vnd.wasm.config.v1+json", "application/vnd.wasm.content.layer.v1+wasm"),
        ("solo:1", "application/vnd.module.wasm.config.v1+json", "application/vnd.module.wasm.content.layer.v1+wasm"),
        ("runwasi:1", OCI_CONFIG, "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm"),
        ("unheard-of:1", "application/vnd.example.config.v7+json", WASM),
    ] {
        workshop.push(name, Some(config), &[&format!("add.wasm:{layer}")]).await;
        assert_eq!(workshop.pull(name).await, (layer.to_owned(), module(1000)), "{name}");
    }
}

#[tokio::test]
async fn a_spin_application_is_read_if_it_is_one_module() {
    let workshop = Workshop::start().await;
    workshop.write("index.html", b"<p>");
    workshop.write("sub.wasm", &module(2000));
    let spin = "application/vnd.fermyon.spin.application.v1+config";
    let wasm = "application/vnd.wasm.content.layer.v1+wasm";
    let (add, sub) = (format!("add.wasm:{wasm}"), format!("sub.wasm:{wasm}"));
    let page = "index.html:application/vnd.wasm.content.layer.v1+data";
    workshop.push("one:1", Some(spin), &[page, &add]).await;
    assert_eq!(workshop.pull("one:1").await, (wasm.to_owned(), module(1000)));
    workshop.push("two:1", Some(spin), &[&add, &sub, page]).await;
    let why = workshop.why("two:1").await.to_string();
    assert!(why.contains(wasm) && why.contains("+data"), "{why}");
}

#[tokio::test]
async fn what_oras_pushes_without_being_told_more_is_read() {
    let workshop = Workshop::start().await;
    workshop.push("typed:1", None, &["add.wasm:application/wasm"]).await;
    workshop.push("bytes:1", None, &["add.wasm:application/octet-stream"]).await;
    // oras then calls it a tar archive.
    workshop.push("untyped:1", None, &["add.wasm"]).await;
    for (name, media_type) in [
        ("typed:1", WASM),
        ("bytes:1", "application/octet-stream"),
        ("untyped:1", "application/vnd.oci.image.layer.v1.tar"),
    ] {
        assert_eq!(workshop.pull(name).await, (media_type.to_owned(), module(1000)), "{name}");
    }
}

#[tokio::test]
async fn an_index_leads_to_its_entry_for_wasm_or_to_its_only_one() {
    let workshop = Workshop::start().await;
    let host = workshop.server.host();
    for (size, tag, platform) in [
        (1000, "linux", "linux/amd64"),
        (2000, "wasi", "wasi/wasm"),
        (3000, "p1", "wasip1/wasm"),
        (4000, "p2", "wasip2/wasm"),
    ] {
        workshop.write("add.wasm", &module(size));
        let (platform, name) = (format!("--artifact-platform={platform}"), format!("{host}/add:{tag}"));
        let kind = "--artifact-type=application/vnd.example";
        workshop.oras(&["push", "--plain-http", &platform, kind, &name, "add.wasm:application/wasm"]).await;
    }
    for (size, entries) in [
        (4000, &["linux", "p1", "p2", "wasi"][..]),
        (3000, &["wasi", "linux", "p1"]),
        (2000, &["linux", "wasi"]),
        (1000, &["linux"]),
    ] {
        let name = format!("{host}/add:index");
        workshop.oras(&[&["manifest", "index", "create", "--plain-http", &name], entries].concat()).await;
        assert_eq!(workshop.pull("add:index").await.1, module(size), "{entries:?}");
    }
    workshop
        .oras(&[
            "push",
            "--plain-http",
            "--artifact-platform=linux/arm64",
            "--artifact-type=application/vnd.example",
            &format!("{host}/add:arm"),
            "add.wasm:application/wasm",
        ])
        .await;
    workshop.oras(&["manifest", "index", "create", "--plain-http", &format!("{host}/add:none"), "linux", "arm"]).await;
    let why = workshop.why("add:none").await.to_string();
    assert!(why.contains("linux/amd64, linux/arm64"), "{why}");
}
