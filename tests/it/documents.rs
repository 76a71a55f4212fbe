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
