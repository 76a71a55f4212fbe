//! Who has caused a difference between a Deployment and what it should be: the resource's owner, or whoever has upgraded the
//! controller. The one does not want to wait, the other not to lose all workers at once.
//!
//! Told by what an earlier controller has written beside the Deployment:
//!
//! | annotation | is |
//! |---|---|
//! | `wasmproxy.io/template` | a hash of the Pod's template, as it was applied |
//! | `wasmproxy.io/asked` | a hash of all that the resource says of it |
//! | `wasmproxy.io/rolled-by` | who has caused the last change of the template |

use std::collections::BTreeMap;

use data_encoding::BASE32_NOPAD;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::PodTemplateSpec};
use kube::ResourceExt as _;
use serde::Serialize;
use serde_json::json;

use crate::{api::WasmProxySpec, digest::Digest, resource::credentials::secret_names};

const TEMPLATE: &str = "wasmproxy.io/template";
const ASKED: &str = "wasmproxy.io/asked";
const ROLLED_BY: &str = "wasmproxy.io/rolled-by";

/// What a Deployment that should be otherwise has come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// There is none yet.
    New,
    /// The template is what was applied last: if there is a difference, somebody else has made it.
    Drift,
    /// The resource asks for another Pod.
    ByOwner,
    /// The resource asks for the same, and the controller makes something else of it.
    ByOperator,
}

/// Who has caused the last change of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Roller {
    /// The resource's owner.
    Owner,
    /// Whoever has upgraded the controller.
    Operator,
}

impl Roller {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Operator => "operator",
        }
    }
}

impl Change {
    /// What `desired` has come from, where `observed` is there.
    pub fn between(desired: &Deployment, observed: Option<&Deployment>) -> Self {
        let Some(observed) = observed else { return Self::New };
        let is_same =
            |annotation: &str| desired.annotations().get(annotation) == observed.annotations().get(annotation);
        if is_same(TEMPLATE) || !observed.annotations().contains_key(TEMPLATE) {
            Self::Drift
        } else if is_same(ASKED) {
            Self::ByOperator
        } else {
            Self::ByOwner
        }
    }

    /// Writes down who has caused it. The operator has only where the worker `took_turn`: one that did not work before has
    /// lost nothing by the operator's doing.
    pub fn sign(self, desired: &mut Deployment, observed: Option<&Deployment>, took_turn: bool) {
        let roller = match self {
            Self::ByOperator if took_turn => Roller::Operator,
            Self::ByOperator | Self::Drift => observed.and_then(roller).unwrap_or(Roller::Owner),
            Self::New | Self::ByOwner => Roller::Owner,
        };
        desired.annotations_mut().insert(ROLLED_BY.to_owned(), roller.as_str().to_owned());
    }
}

/// Who has caused the last change of the template, as far as it is written down.
pub(super) fn roller(deployment: &Deployment) -> Option<Roller> {
    let said = deployment.annotations().get(ROLLED_BY)?;
    [Roller::Owner, Roller::Operator].into_iter().find(|roller| roller.as_str() == said)
}

/// The annotations by which a later controller tells who has caused what.
pub(super) fn fingerprints(template: &PodTemplateSpec, spec: &WasmProxySpec) -> BTreeMap<String, String> {
    // If this comes out otherwise for the same spec, an upgrade rolls all workers at once: a test holds it.
    let asked = json!({
        "worker": spec.worker,
        "chunkSize": spec.chunk_size,
        "cacheSize": spec.limits.cache_size,
        "secrets": secret_names(spec),
    });
    [(TEMPLATE, fingerprint(template)), (ASKED, fingerprint(&asked))]
        .map(|(annotation, hash)| (annotation.to_owned(), hash))
        .into()
}

/// 16 base32 characters of the SHA-256 over the JSON of it.
fn fingerprint(value: &impl Serialize) -> String {
    let digest = Digest::of(&serde_json::to_vec(value).unwrap_or_default());
    BASE32_NOPAD.encode(&digest.as_bytes()[..10]).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{
        controller::workers::{children::Family, pods::deployment::deployment},
        resource::fixtures::resource,
    };

    fn with(spec: &Value, image: &str) -> Deployment {
        let resource = resource(spec);
        let mut deployment = deployment(&resource, &Family::of(&resource), image, 1).unwrap();
        Change::New.sign(&mut deployment, None, false);
        deployment
    }

    #[test]
    fn the_owner_has_changed_what_the_resource_says() {
        let before = with(&json!({}), "image:1");
        for spec in [
            json!({"worker": {"nodeSelector": {"a": "b"}}}),
            json!({"chunkSize": 16_000_000}),
            json!({"limits": {"cacheSize": "2Gi"}}),
            json!({"broker": {"url": "mqtt://b", "secretRef": {"name": "broker"}}}),
        ] {
            assert_eq!(Change::between(&with(&spec, "image:1"), Some(&before)), Change::ByOwner, "{spec}");
            assert_eq!(Change::between(&with(&spec, "image:2"), Some(&before)), Change::ByOwner, "{spec}");
        }
    }

    #[test]
    fn the_operator_has_changed_everything_else() {
        let before = with(&json!({}), "image:1");
        assert_eq!(Change::between(&with(&json!({}), "image:2"), Some(&before)), Change::ByOperator);
        // What the worker sees for itself is nothing that the resource says of its Pod.
        let artifacts = json!({"artifacts": [{"reference": "wasm/add:1"}]});
        assert_eq!(Change::between(&with(&artifacts, "image:2"), Some(&before)), Change::ByOperator);
        assert_eq!(Change::between(&with(&artifacts, "image:1"), Some(&before)), Change::Drift);
    }

    #[test]
    fn what_nobody_of_both_has_changed_is_drift() {
        let desired = with(&json!({}), "image:1");
        let mut edited = desired.clone();
        edited.spec.as_mut().unwrap().template.spec.as_mut().unwrap().containers[0].image = Some("other".into());
        assert_eq!(Change::between(&desired, Some(&edited)), Change::Drift);
        edited.metadata.annotations = None;
        assert_eq!(Change::between(&desired, Some(&edited)), Change::Drift);
        assert_eq!(Change::between(&desired, None), Change::New);
    }

    #[test]
    fn who_has_rolled_a_worker_stays_written_down_until_somebody_else_does() {
        let signed = |change: Change, observed: Option<&Deployment>, took_turn: bool| {
            let mut desired = with(&json!({}), "image:1");
            change.sign(&mut desired, observed, took_turn);
            desired
        };
        let by_operator = signed(Change::ByOperator, Some(&with(&json!({}), "image:0")), true);
        assert_eq!(roller(&by_operator), Some(Roller::Operator));
        assert_eq!(roller(&signed(Change::Drift, Some(&by_operator), false)), Some(Roller::Operator));
        assert_eq!(roller(&signed(Change::ByOperator, Some(&by_operator), false)), Some(Roller::Operator));
        assert_eq!(roller(&signed(Change::ByOwner, Some(&by_operator), false)), Some(Roller::Owner));
        let by_owner = with(&json!({}), "image:0");
        assert_eq!(roller(&signed(Change::ByOperator, Some(&by_owner), false)), Some(Roller::Owner));
    }

    #[test]
    fn the_same_spec_has_the_same_hash_in_every_version() {
        let spec = json!({
            "worker": {"podLabels": {"team": "floor"}, "resources": {"limits": {"memory": "1Gi"}}},
            "broker": {"url": "mqtts://b", "secretRef": {"name": "broker"}},
            "limits": {"cacheSize": "2Gi"},
        });
        let hashes = [&spec, &json!({})].map(|spec| with(spec, "image").annotations()[ASKED].clone());
        assert_eq!(hashes, ["dqicjkdgkaothcnm", "a2kkmgpixbyzewfp"]);
    }
}
