//! `charts/wasmproxy/files/argocd/health.lua`, run by the Lua that Argo CD's is compatible with, on resources as they were in a cluster.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::repository;

/// Runs the script as Argo CD does: as the body of a function, with the resource in `obj`, without libraries that reach out.
fn health(resource: &Value) -> (String, String) {
    let script = fs::read_to_string(repository("charts/wasmproxy/files/argocd/health.lua")).unwrap();
    let program = format!(
        "io, os, string, debug = nil\nlocal print = print\nobj = {}\nlocal function health()\n{script}\nend\n\
         local hs = health()\nprint(hs.status)\nprint(hs.message)\n",
        literal(resource)
    );
    let mut lua = Command::new("lua5.1").arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    lua.stdin.take().unwrap().write_all(program.as_bytes()).unwrap();
    let output = lua.wait_with_output().unwrap();
    assert!(output.status.success(), "{program}");
    let said = String::from_utf8(output.stdout).unwrap();
    let (status, message) = said.trim_end().split_once('\n').unwrap();
    (status.to_owned(), message.to_owned())
}

/// The value as Lua writes it.
fn literal(value: &Value) -> String {
    match value {
        Value::Null => "nil".to_owned(),
        Value::String(text) => {
            text.bytes().fold("\"".to_owned(), |mut literal, byte| {
                write!(literal, "\\{byte:03}").unwrap();
                literal
            }) + "\""
        }
        Value::Array(items) => format!("{{{}}}", items.iter().map(literal).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| format!("[{}] = {}", literal(&json!(name)), literal(value));
            format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        scalar => scalar.to_string(),
    }
}

/// A resource as the present release has written it.
fn recorded(name: &str) -> Value {
    let path = repository("tests/releases").join(env!("CARGO_PKG_VERSION")).join(format!("resources/{name}.yaml"));
    serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn every_state_is_told_as_argo_cd_knows_it() {
    for (name, expected) in [
        ("fresh", "Progressing"),
        ("progressing", "Progressing"),
        ("ready", "Healthy"),
        ("ready-without-artifacts", "Healthy"),
        ("suspended", "Suspended"),
        ("secret-not-found", "Degraded"),
        ("broker-unreachable", "Degraded"),
        ("artifact-not-found", "Degraded"),
        ("stalled", "Degraded"),
    ] {
        let resource = recorded(name);
        let (status, message) = health(&resource);
        assert_eq!(status, expected, "{name}: {message}");
        let conditions = resource["status"]["conditions"].as_array().cloned().unwrap_or_default();
        if let Some(ready) = conditions.iter().find(|condition| condition["type"] == "Ready") {
            assert_eq!(message, ready["message"], "{name}");
        }
    }
}

#[test]
fn what_was_said_of_an_earlier_generation_counts_no_longer() {
    let mut resource = recorded("ready");
    resource["metadata"]["generation"] = json!(2);
    assert_eq!(health(&resource).0, "Progressing");
}

#[test]
fn a_resource_without_a_status_is_progressing() {
    let mut resource = recorded("ready");
    resource.as_object_mut().unwrap().remove("status");
    assert_eq!(health(&resource).0, "Progressing");
}
