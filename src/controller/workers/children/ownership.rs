//! Whose an object is.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt as _};

use super::family::Family;
use crate::api::WasmProxy;

/// Whose an object is that has the name of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ownership {
    /// The resource's.
    Ours,
    /// That of another resource of the same name, which is gone: it is about to be, too.
    Former,
    /// Anybody's.
    Foreign,
}

/// The one owner that is its controller.
pub fn controller_of(object: &impl Resource) -> Option<&OwnerReference> {
    object.owner_references().iter().find(|owner| owner.controller == Some(true))
}

/// Whose `object` is, by the one owner that is its controller.
pub(super) fn ownership(object: &impl Resource, family: &Family) -> Ownership {
    let group = WasmProxy::group(&());
    let owner = controller_of(object).filter(|owner| {
        owner.kind == WasmProxy::kind(&()) && owner.api_version.split('/').next() == Some(group.as_ref())
    });
    match owner {
        Some(owner) if owner.uid == family.uid => Ownership::Ours,
        Some(owner) if owner.name == family.resource => Ownership::Former,
        _ => Ownership::Foreign,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ServiceAccount;
    use serde_json::json;

    use super::*;
    use crate::resource::fixtures::resource;

    fn whose(change: impl FnOnce(&mut OwnerReference)) -> Ownership {
        let family = Family::of(&resource(&json!({})));
        let mut metadata = family.metadata();
        change(&mut metadata.owner_references.as_mut().unwrap()[0]);
        ownership(&ServiceAccount { metadata, ..ServiceAccount::default() }, &family)
    }

    #[test]
    fn a_child_is_known_by_the_uid_of_its_controller() {
        assert_eq!(whose(|_| {}), Ownership::Ours);
        assert_eq!(whose(|owner| owner.api_version = "wasmproxy.io/v1".into()), Ownership::Ours);
    }

    #[test]
    fn a_child_of_a_resource_that_is_gone_goes_too() {
        assert_eq!(whose(|owner| owner.uid = "22e1".into()), Ownership::Former);
    }

    #[test]
    fn everything_else_is_somebody_elses() {
        assert_eq!(whose(|owner| owner.controller = None), Ownership::Foreign, "an owner that is no controller");
        assert_eq!(whose(|owner| owner.kind = "Deployment".into()), Ownership::Foreign);
        assert_eq!(whose(|owner| owner.api_version = "example.com/v1".into()), Ownership::Foreign);
        let other = |owner: &mut OwnerReference| (owner.uid, owner.name) = ("22e1".into(), "other".into());
        assert_eq!(whose(other), Ownership::Foreign);
        let family = Family::of(&resource(&json!({})));
        assert_eq!(ownership(&ServiceAccount::default(), &family), Ownership::Foreign);
    }
}
