//! The resource's definition, as it is to be installed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt as _;

use super::WasmProxy;

/// The `CustomResourceDefinition` to install.
///
/// What `WasmProxy::crd()` derives, tidied for those who read it with `kubectl explain`: a doc comment's lines become
/// one, a list speaks for its items, too, and what is optional may be left out but not be `null`.
pub fn crd() -> CustomResourceDefinition {
    let mut crd = WasmProxy::crd();
    for version in &mut crd.spec.versions {
        if let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            tidy(schema);
        }
    }
    crd
}

fn tidy(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.title = None;
    if let Some(description) = &mut schema.description {
        *description = unwrapped(description);
    }
    for property in schema.properties.iter_mut().flat_map(std::collections::BTreeMap::values_mut) {
        tidy(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        tidy(items);
        // `kubectl explain` would print it after the list's own, in the same paragraph.
        items.description = None;
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        tidy(values);
    }
}

/// Paragraphs, each in one line.
fn unwrapped(text: &str) -> String {
    let paragraphs: Vec<_> = text.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect();
    paragraphs.join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls `visit` with every schema in the definition and the path to it.
    fn walk(schema: &JSONSchemaProps, path: &str, visit: &mut impl FnMut(&str, &JSONSchemaProps)) {
        visit(path, schema);
        for (name, property) in schema.properties.iter().flatten() {
            walk(property, &format!("{path}.{name}"), visit);
        }
        if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
            walk(items, &format!("{path}[]"), visit);
        }
        if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
            walk(values, &format!("{path}{{}}"), visit);
        }
    }

    fn each_schema(mut visit: impl FnMut(&str, &JSONSchemaProps)) {
        let crd = crd();
        let root = crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
        for part in ["spec", "status"] {
            walk(&root.properties.as_ref().unwrap()[part], part, &mut visit);
        }
    }

    #[test]
    fn every_string_list_and_map_has_a_bound() {
        each_schema(|path, schema| {
            let bounded = match schema.type_.as_deref() {
                Some("string") => schema.max_length.is_some() || schema.enum_.is_some() || schema.format.is_some(),
                Some("array") => schema.max_items.is_some(),
                Some("object") => schema.additional_properties.is_none() || schema.max_properties.is_some(),
                _ => true,
            };
            assert!(bounded || path == "status.lastHandledReconcileAt", "{path} has no bound");
        });
    }

    #[test]
    fn every_field_of_ours_is_described_in_whole_sentences() {
        each_schema(|path, schema| {
            let theirs = path.contains("tolerations") || path.contains("resources");
            let described = schema.description.as_ref().is_some_and(|text| text.ends_with('.') && !text.contains('\n'));
            assert!(described || theirs || path.ends_with(['}', ']']), "{path}: {:?}", schema.description);
        });
    }

    #[test]
    fn a_list_speaks_for_its_items() {
        each_schema(|path, schema| assert!(!path.ends_with(']') || schema.description.is_none(), "{path}"));
    }

    #[test]
    fn nothing_is_nullable_and_formats_are_those_of_kubernetes() {
        each_schema(|path, schema| {
            assert_eq!(schema.nullable, None, "{path}");
            let format = schema.format.as_deref();
            assert!(matches!(format, None | Some("int32" | "int64" | "date-time")), "{path}: {format:?}");
        });
    }
}
