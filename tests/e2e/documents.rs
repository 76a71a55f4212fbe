//! Documents are followed word by word: each block that is fenced as `sh` is what somebody types. What cannot be typed on
//! any cluster is fenced as `console`.

use std::{fs, os::unix::fs::symlink, path::Path};

use data_encoding::{BASE64, HEXLOWER};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::{
    harness::{
        CHART, Cluster, PASSWORD, Playground, RELEASE, SYSTEM,
        shell::{apply, bash_in, helm, kubectl, objects, read, repository},
    },
    leftovers,
    modules::module,
};

/// Where a document says to type something, and what.
struct Block {
    place: String,
    text: String,
}

/// The blocks of a document that are fenced as `sh`, also those that are indented with the list that they are in.
fn blocks(document: &str) -> Vec<Block> {
    let text = read(document);
    let mut lines = text.lines().enumerate();
    let mut blocks = Vec::new();
    while let Some((number, line)) = lines.next() {
        let Some(indent) = line.strip_suffix("```sh").filter(|indent| indent.trim().is_empty()) else { continue };
        let block = lines.by_ref().map(|(_, line)| line.strip_prefix(indent).unwrap_or(line));
        let block: Vec<_> = block.take_while(|line| *line != "```").collect();
        blocks.push(Block { place: format!("{document}:{}", number + 1), text: block.join("\n") });
    }
    blocks
}

/// Types a block in a folder, and returns what is printed, which is something.
fn follow(block: &Block, folder: &Path) -> String {
    println!("# {}", block.place);
    let said = bash_in(folder, &block.text);
    assert!(!said.trim().is_empty(), "{}: nothing is said by\n{}", block.place, block.text);
    said
}

/// The digest of the module in `examples/playground.yaml`.
fn digest_of_the_example() -> String {
    let objects = objects(&read("examples/playground.yaml"));
    let modules: Vec<&Value> = objects.iter().filter(|object| object["kind"] == "ConfigMap").collect();
    let module = modules[0]["binaryData"]["demo.wasm"].as_str().unwrap();
    format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(BASE64.decode(module.as_bytes()).unwrap())))
}

#[test]
fn the_readme_followed_word_by_word_ends_with_a_module_on_a_device_and_then_with_nothing() {
    let _cluster = Cluster::alone();
    let said: Vec<_> = blocks("README.md").iter().map(|block| follow(block, repository())).collect();
    let verified = format!("{}, verified, in ", digest_of_the_example());
    assert!(said.iter().any(|said| said.contains(&verified)), "no device has {verified}");
    let readme = read("README.md");
    assert!(readme.contains(&verified), "README.md shows another module than that of the playground: {verified}");
    assert_eq!(leftovers::all(), [""; 0]);
}

/// The manifest that the reference begins with, where its broker and its registry are those of the playground.
fn factory_floor() -> String {
    let reference = read("docs/reference.md");
    let manifest = reference.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let ours = [
        ("mqtts://broker.example:8883", "mqtt://broker.edge"),
        ("registry.example", "registry.edge:5000\n    insecure: true"),
        ("change-me", PASSWORD),
    ];
    ours.iter().fold(manifest.to_owned(), |manifest, (theirs, ours)| {
        assert!(manifest.contains(theirs), "the reference begins with another example, without {theirs}");
        manifest.replace(theirs, ours)
    })
}

/// A folder in which all of the repository can be reached, and `factory-floor.yaml` besides.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    for name in ["charts", "deploy", "docs", "examples"] {
        symlink(repository().join(name), folder.path().join(name)).unwrap();
    }
    fs::write(folder.path().join("factory-floor.yaml"), factory_floor()).unwrap();
    folder
}

/// Every document but the README.
fn documents() -> Vec<String> {
    let entries = fs::read_dir(repository().join("docs")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut documents: Vec<_> = entries.map(|name| format!("docs/{}", name.to_str().unwrap())).collect();
    documents.retain(|document| document.ends_with(".md"));
    documents.push("charts/wasmproxy/README.md".to_owned());
    documents.sort();
    documents
}

#[test]
fn what_documents_say_to_type_does_something() {
    let cluster = Cluster::alone();
    cluster.install(&[]);
    // What they speak of: a resource that is ready, another namespace, one of Argo CD's.
    let edge = Playground::within(cluster.namespace_called("edge"));
    for version in ["1.2", "1.3"] {
        edge.push(&format!("wasm/add:{version}"), &module(1000));
    }
    for namespace in ["plant", "argocd"] {
        kubectl(&["create", "namespace", namespace]);
    }
    apply(&factory_floor());
    edge.namespace().wait("condition=Ready", "wp/factory-floor");

    let folder = folder();
    let mut followed = 0;
    for document in documents() {
        let blocks = blocks(&document);
        for block in &blocks {
            follow(block, folder.path());
        }
        // Each document begins with what the first one says to install.
        if blocks.iter().any(|block| block.text.contains("helm ")) {
            helm(&["upgrade", RELEASE, CHART, "-n", SYSTEM, "--reset-values", "--wait"]);
        }
        followed += blocks.len();
    }
    assert!(followed > 15, "{followed} blocks");
}
