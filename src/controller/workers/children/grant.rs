//! Who a worker is to the API server, and what it may do there: read its own resource, and write the status of that.

use k8s_openapi::api::{
    core::v1::ServiceAccount,
    rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject},
};
use kube::Resource as _;

use super::family::Family;
use crate::api::WasmProxy;

/// Who a worker in a Pod is.
pub(super) fn account(family: &Family) -> ServiceAccount {
    ServiceAccount { metadata: family.metadata(), ..ServiceAccount::default() }
}

/// What a worker may do.
pub(super) fn role(family: &Family) -> Role {
    let plural = WasmProxy::plural(&());
    let rule = |resource: String, verbs: &[&str]| PolicyRule {
        api_groups: Some(vec![WasmProxy::group(&()).into_owned()]),
        resources: Some(vec![resource]),
        resource_names: Some(vec![family.resource.clone()]),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        ..PolicyRule::default()
    };
    // A watch of one object begins with a list, which a name restricts as well.
    let rules = vec![rule(plural.to_string(), &["get", "list", "watch"]), rule(format!("{plural}/status"), &["patch"])];
    Role { metadata: family.metadata(), rules: Some(rules) }
}

/// That the service account `account` may do so.
pub(super) fn binding(family: &Family, account: &str) -> RoleBinding {
    RoleBinding {
        metadata: family.metadata(),
        role_ref: RoleRef {
            api_group: Role::group(&()).into_owned(),
            kind: Role::kind(&()).into_owned(),
            name: family.child(),
        },
        subjects: Some(vec![Subject {
            kind: ServiceAccount::kind(&()).into_owned(),
            name: account.to_owned(),
            namespace: Some(family.namespace.clone()),
            ..Subject::default()
        }]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::resource::fixtures::resource;

    #[test]
    fn a_worker_may_read_its_own_resource_and_write_its_status() {
        let role = role(&Family::of(&resource(&json!({}))));
        let rules = json!([
            {
                "apiGroups": ["wasmproxy.io"], "resources": ["wasmproxies"],
                "resourceNames": ["factory-floor"], "verbs": ["get", "list", "watch"],
            },
            {
                "apiGroups": ["wasmproxy.io"], "resources": ["wasmproxies/status"],
                "resourceNames": ["factory-floor"], "verbs": ["patch"],
            },
        ]);
        assert_eq!(serde_json::to_value(role.rules).unwrap(), rules);
    }

    #[test]
    fn that_is_granted_to_one_service_account() {
        let binding = serde_json::to_value(binding(&Family::of(&resource(&json!({}))), "mine")).unwrap();
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "factory-floor-wasmproxy"});
        assert_eq!(binding["roleRef"], role);
        assert_eq!(binding["subjects"], json!([{"kind": "ServiceAccount", "name": "mine", "namespace": "edge"}]));
    }
}
