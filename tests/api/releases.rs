//! What a release has admitted, its successors admit; what its controllers and workers have written, they read.
//!
//! `tests/releases/` has a folder for each release: its definition, its examples, and resources as they were in a cluster
//! that it ran in. The examples and resources are also given to a real API server, by `tests/it/examples.rs`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use wasmproxy::api::WasmProxy;

use crate::{
    narrowing::{Finding, narrowed},
    repository,
    schema::root,
};

/// The folder of each release.
fn releases() -> Vec<PathBuf> {
    let entries = fs::read_dir(repository("tests/releases")).unwrap().map(|entry| entry.unwrap().path());
    let folders: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    assert!(!folders.is_empty());
    folders
}

fn yaml(path: &Path) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(path).unwrap())
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What today's definition refuses and an earlier release's did not.
fn findings() -> Vec<Finding> {
    let stored = |release: PathBuf| {
        let definition = yaml(&release.join("crd.yaml"));
        assert_eq!(definition["spec"]["versions"][0]["name"], "v1alpha1");
        definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
    };
    releases().into_iter().flat_map(|release| narrowed(&stored(release), &root(), "")).collect()
}

/// The sentences of rules that were looked at, each with the field that it is about.
fn allowed_rules() -> Vec<(String, String)> {
    let text = |rule: &Value, name: &str| rule[name].as_str().filter(|text| !text.is_empty()).unwrap().to_owned();
    let allowed = yaml(&repository("tests/releases/new-rules.yaml"));
    let entry = |rule: &Value| {
        text(rule, "why");
        (text(rule, "field"), text(rule, "message"))
    };
    allowed.as_array().unwrap().iter().map(entry).collect()
}

#[test]
fn nothing_that_a_release_admitted_is_refused() {
    let allowed = allowed_rules();
    let refused: Vec<_> = findings()
        .into_iter()
        .filter(|finding| match finding {
            Finding::Narrowed(_) => true,
            Finding::Rule { field, message } => !allowed.contains(&(field.clone(), message.clone())),
        })
        .collect();
    assert_eq!(refused, [], "mend it; where a rule refuses nothing that was in use, say why in new-rules.yaml");
}

#[test]
fn every_rule_that_is_excused_is_there_and_new() {
    let findings = findings();
    for (field, message) in allowed_rules() {
        let rule = Finding::Rule { field, message };
        assert!(findings.contains(&rule), "new-rules.yaml excuses what is no new rule: {rule:?}");
    }
}

#[test]
fn the_names_of_the_resource_are_those_that_they_were() {
    let today = serde_json::to_value(wasmproxy::api::crd()).unwrap();
    for release in releases() {
        let then = yaml(&release.join("crd.yaml"));
        for name in ["group", "names", "scope"] {
            assert_eq!(then["spec"][name], today["spec"][name], "{}", release.display());
        }
    }
}

#[test]
fn what_a_release_has_written_is_read_and_nothing_of_it_lost() {
    for release in releases() {
        let recorded = fs::read_dir(release.join("resources")).unwrap().map(|entry| entry.unwrap().path());
        let recorded: Vec<_> = recorded.collect();
        assert!(!recorded.is_empty(), "{}", release.display());
        for path in recorded {
            let stored = yaml(&path);
            let resource: WasmProxy = serde_json::from_value(stored.clone()).unwrap();
            let read = serde_json::to_value(&resource).unwrap();
            assert_eq!(read["status"], stored["status"], "{}", path.display());
            holds(&read["spec"], &stored["spec"], &path.display().to_string());
        }
    }
}

/// Whether `whole` has all of `part`: defaults of later fields come to it.
fn holds(whole: &Value, part: &Value, path: &str) {
    let Some(fields) = part.as_object() else {
        assert_eq!(whole, part, "{path}");
        return;
    };
    for (name, field) in fields {
        holds(&whole[name], field, &format!("{path}: {name}"));
    }
}
