//! The policy says what the definition says.

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::fence::{policy, until};
use crate::lab::{Administrator, ControlPlane, chart, template};

/// The fields that hold the name of another object and nothing else, below `path`.
fn references(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    let properties = schema["properties"].as_object();
    if properties.is_some_and(|fields| fields.len() == 1 && fields.contains_key("name")) {
        found.insert(path.to_owned());
        return;
    }
    for (name, field) in properties.into_iter().flatten() {
        references(field, &format!("{path}.{name}"), found);
    }
    if schema["items"].is_object() {
        references(&schema["items"], &format!("{path}[]"), found);
    }
}

/// What each policy takes for a name of a Secret: the field that it says, and what it reads.
fn looked_at(policy: &ValidatingAdmissionPolicy) -> BTreeSet<String> {
    let spec = policy.spec.as_ref().unwrap();
    let variables = spec.variables.as_deref().unwrap();
    let expression = |name| &variables.iter().find(|variable| variable.name == name).unwrap().expression;
    let (named, fields) = (expression("named"), expression("fields"));
    let entries = named.trim_start_matches('{').trim_end_matches('}').split(',');
    let field = |entry: &str| {
        let (field, expression) = entry.trim().split_once(": ").unwrap();
        let field = field.trim_matches('\'');
        let (_, read) = expression.split_once('.').unwrap();
        assert_eq!(read.replace('?', ""), format!("{field}.name"));
        assert!(fields.contains(&format!("'{field}'")), "{field} is left out of {fields}");
        field.to_owned()
    };
    entries.map(field).collect()
}

async fn policies(release: &str, values: &[&str]) -> Vec<ValidatingAdmissionPolicy> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(&policy(release, values).await).unwrap();
    let policies = objects.into_iter().filter(|object| object["kind"] == "ValidatingAdmissionPolicy");
    policies.map(|object| serde_json::from_value(object).unwrap()).collect()
}

/// The image pull secrets are left out: they go to no place that the resource says.
#[tokio::test]
async fn every_field_that_names_a_secret_is_known_to_both_policies() {
    let definition = serde_json::to_value(wasmproxy::api::crd()).unwrap();
    let mut expected = BTreeSet::new();
    let spec = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    references(spec, "spec", &mut expected);
    assert!(expected.remove("spec.worker.imagePullSecrets[]"));
    assert!(expected.len() > 4, "{expected:?}");
    let policies = policies("wasmproxy", &[]).await;
    assert_eq!(policies.len(), 2);
    for policy in policies {
        assert_eq!(looked_at(&policy), expected, "{:?}", policy.metadata.name);
    }
}

/// A field that the definition does not have is one of the things that it finds.
#[tokio::test]
async fn the_api_server_finds_no_mistake_in_an_expression() {
    let plane = ControlPlane::shared().await;
    let administrator = Administrator::of(plane);
    until("the definition's fields to be published", async || {
        let published = administrator.kubectl(&["get", "--raw", "/openapi/v3"]).await;
        published.contains("wasmproxy.io/v1alpha1").then_some(())
    })
    .await;
    let api: Api<ValidatingAdmissionPolicy> = Api::all(plane.client().await);
    for policy in policies("checked", &[]).await {
        // Without a binding it is in force nowhere.
        let name = policy.metadata.name.clone().unwrap();
        api.patch(&name, &PatchParams::apply("test"), &Patch::Apply(&policy)).await.unwrap();
        let checked = until("the check of the types", async || {
            api.get(&name).await.unwrap().status.filter(|status| status.observed_generation.is_some())
        });
        let warnings = checked.await.type_checking.unwrap().expression_warnings.unwrap_or_default();
        assert!(warnings.is_empty(), "{name}: {warnings:#?}");
        api.delete(&name, &Default::default()).await.unwrap();
    }
}

#[tokio::test]
async fn nothing_is_in_force_that_was_not_asked_for() {
    let values = ["credentialsPolicy.secrets.enabled=false"];
    assert_eq!(policies("wasmproxy", &values).await.len(), 1);
    let manifest = template(&chart(), "wasmproxy", &[]).await;
    assert!(!manifest.contains("ValidatingAdmissionPolicy"));
}

#[tokio::test]
async fn bindings_are_for_the_namespaces_that_are_served_and_selected() {
    let selected = ["credentialsPolicy.namespaceSelector.matchLabels.tier=edge", "namespaces={edge,plant}"];
    let warned = ["credentialsPolicy.validationActions={Warn,Audit}"];
    let in_served = json!({
        "matchLabels": {"tier": "edge"},
        "matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["edge", "plant"]}],
    });
    for (values, namespaces, actions) in [
        (&[] as &[&str], Value::Null, json!(["Deny"])),
        (&selected, in_served, json!(["Deny"])),
        (&warned, Value::Null, json!(["Warn", "Audit"])),
    ] {
        let objects: Vec<Value> = serde_saphyr::from_multiple(&policy("wasmproxy", values).await).unwrap();
        let bindings: Vec<_> =
            objects.iter().filter(|object| object["kind"] == "ValidatingAdmissionPolicyBinding").collect();
        assert_eq!(bindings.len(), 2);
        for binding in bindings {
            assert_eq!(binding["spec"]["matchResources"]["namespaceSelector"], namespaces);
            assert_eq!(binding["spec"]["validationActions"], actions);
        }
    }
}
