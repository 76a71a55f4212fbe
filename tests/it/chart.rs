//! The chart: what it renders for whom, that an API server takes it, and that what it installs works.
//!
//! Values of several kinds are in `charts/wasmproxy/ci/`; most promises hold for each of them.

mod accepted;
mod installed;
mod monitoring;
mod names;
mod releases;
mod rendered;
mod rights;
mod values;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::lab::{chart, try_template};

/// The files of values in `ci/`, beside none at all.
fn kinds_of_values() -> Vec<Option<PathBuf>> {
    let files = fs::read_dir(chart().join("ci")).unwrap().map(|entry| Some(entry.unwrap().path()));
    [None].into_iter().chain(files).collect()
}

/// One of the files of values in `ci/`.
fn values(name: &str) -> String {
    format!("--values={}", chart().join(format!("ci/{name}-values.yaml")).display())
}

/// What the chart renders with these arguments for release `wasmproxy` in `wasmproxy-system`, or why it does not.
async fn attempt(arguments: &[&str]) -> Result<Vec<Value>, String> {
    let rendered = try_template(&chart(), "wasmproxy", arguments).await?;
    Ok(serde_saphyr::from_multiple(&rendered).unwrap_or_else(|error| panic!("{error}\n{rendered}")))
}

/// What the chart renders.
async fn render(arguments: &[&str]) -> Vec<Value> {
    attempt(arguments).await.unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
}

/// The same with one of the [`kinds_of_values`].
async fn render_with(values: Option<&Path>) -> Vec<Value> {
    let option = values.map(|values| format!("--values={}", values.display()));
    render(&option.as_deref().into_iter().collect::<Vec<_>>()).await
}

/// A text in an object; empty where there is none.
fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// `Kind namespace/name` of an object.
fn identity(object: &Value) -> String {
    format!("{} {}/{}", text(object, "/kind"), text(object, "/metadata/namespace"), text(object, "/metadata/name"))
}

/// The objects of a kind.
pub fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| text(object, "/kind") == kind).collect()
}

/// The controller's container.
fn container(objects: &[Value]) -> &Value {
    let containers = of_kind(objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    containers.iter().find(|container| container["name"] == "controller").unwrap()
}

/// Its command line.
fn command_line(objects: &[Value]) -> Vec<&str> {
    container(objects)["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap()).collect()
}
