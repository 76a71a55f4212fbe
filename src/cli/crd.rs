//! `wasmproxy crd`: prints the definition of the resource.

use std::{
    io::{self, ErrorKind, Write as _},
    process::ExitCode,
};

use serde::{Serialize, Serializer};
use serde_json::{Number, Value};
use serde_saphyr::FoldStr;

use crate::api;

/// Prints the definition of the resource as YAML.
pub(super) fn run() -> ExitCode {
    match yaml().and_then(|yaml| io::stdout().write_all(yaml.as_bytes())) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has read enough, as in `wasmproxy crd | head`.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wasmproxy: the resource definition could not be written: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The definition as YAML, laid out for people who read it and for small differences.
fn yaml() -> io::Result<String> {
    let crd = serde_json::to_value(api::crd())?;
    let options = serde_saphyr::ser_options! { folded_wrap_chars: LINE };
    let yaml = serde_saphyr::to_string_with_options(&Readable(&crd), options).map_err(io::Error::other)?;
    // `FoldStr` writes headers that add a line break to the text; none of ours ends in one.
    Ok(yaml.replace(": >\n", ": >-\n"))
}

/// Where long texts are folded, in characters after the indentation.
const LINE: usize = 100;

/// JSON that is written the way one would write YAML: long texts in blocks, whole numbers without a fraction (the
/// definition's bounds are floating-point numbers to Kubernetes).
struct Readable<'a>(&'a Value);

impl Serialize for Readable<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(fields) => serializer.collect_map(fields.iter().map(|(name, value)| (name, Readable(value)))),
            Value::Array(items) => serializer.collect_seq(items.iter().map(Readable)),
            Value::String(text) if text.len() > LINE => FoldStr(text).serialize(serializer),
            Value::Number(number) => match whole(number) {
                Some(whole) => whole.serialize(serializer),
                None => number.serialize(serializer),
            },
            scalar => scalar.serialize(serializer),
        }
    }
}

/// The number without its fraction, where that is zero.
fn whole(number: &Number) -> Option<i64> {
    number.to_string().strip_suffix(".0").and_then(|whole| whole.parse().ok())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

    use super::*;

    #[test]
    fn the_definition_in_crds_is_the_one_that_is_printed() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/crds/wasmproxies.wasmproxy.io.yaml");
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(committed == yaml().unwrap(), "{path} is not what `wasmproxy crd` prints: run `make generate`");
    }

    #[test]
    fn what_is_printed_reads_back_as_the_same_definition() {
        let read: CustomResourceDefinition = serde_saphyr::from_str(&yaml().unwrap()).unwrap();
        assert_eq!(read, api::crd());
    }
}
