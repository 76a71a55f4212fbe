//! What the documents name is there.

use std::{collections::BTreeSet, fs, path::Path};

use wasmproxy::controller::rights;

use crate::lab::repository;

/// Every `room::…::test` that a document names in backticks.
fn named_tests(document: &str) -> BTreeSet<String> {
    let quoted = document.split('`').skip(1).step_by(2);
    quoted.filter(|text| text.contains("::") && !text.contains(' ') && text.contains('_')).map(str::to_owned).collect()
}

/// Whether `room::module::test` is a function in `tests/it/room/module.rs`, or in `tests/it/room.rs`.
fn exists(test: &str) -> bool {
    let (modules, name) = test.rsplit_once("::").unwrap();
    let file = repository().join("tests/it").join(modules.replace("::", "/")).with_extension("rs");
    let mentions = |file: &Path| fs::read_to_string(file).is_ok_and(|code| code.contains(&format!("fn {name}(")));
    mentions(&file)
}

#[test]
fn every_test_that_proves_a_promise_is_there() {
    let tests = named_tests(&fs::read_to_string(repository().join("docs/reliability.md")).unwrap());
    let missing: Vec<_> = tests.iter().filter(|test| !exists(test)).collect();
    assert!(tests.len() > 50 && missing.is_empty(), "{} tests, missing: {missing:#?}", tests.len());
}

#[test]
fn the_rights_in_the_documents_are_those_that_the_code_declares() {
    let document = fs::read_to_string(repository().join("docs/operations.md")).unwrap();
    assert!(document.contains(&rights::document()), "copy src/controller/rights.md into docs/operations.md");
}

/// The files of a folder whose names end so, with what is in them.
fn files(folder: &str, ending: &str) -> Vec<(String, String)> {
    let entries = fs::read_dir(repository().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.to_str().unwrap().ends_with(ending));
    files
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap()))
        .collect()
}

/// Where it is done, `tests/e2e` says; here, that nobody has forgotten a file.
#[test]
fn every_example_is_tried_on_a_cluster() {
    let tests: String = files("tests/e2e", ".rs").into_iter().map(|(_, code)| code).collect();
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    // That one is for no cluster.
    let examples = files("examples", ".yaml").into_iter().filter(|(name, _)| name != "compose.yaml");
    let is_tried =
        |name: &str| tests.contains(&format!("{name}\"")) || readme.contains(&format!("-f examples/{name}\n"));
    let forgotten: Vec<_> = examples.map(|(name, _)| name).filter(|name| !is_tried(name)).collect();
    assert!(forgotten.is_empty(), "no test in tests/e2e applies {forgotten:?}");
}

/// Only `sh` is: so whatever may be typed anywhere is `sh`, and what may not is `console`, or says what else it is.
#[test]
fn no_command_in_a_document_hides_from_the_test_that_follows_it() {
    let documents = [files("docs", ".md"), files("charts/wasmproxy", ".md"), files(".", ".md")].concat();
    assert!(documents.len() > 8, "{} documents", documents.len());
    let hidden = ["```bash", "```shell", "```shell-session", "```zsh", "```Sh", "```sh "];
    for (name, text) in documents {
        let found: Vec<_> =
            text.lines().map(str::trim).filter(|line| hidden.iter().any(|fence| line.starts_with(fence))).collect();
        assert!(found.is_empty(), "{name}: {found:?}");
    }
}
