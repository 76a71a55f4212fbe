//! Makes a child what it should be. Looks first, so that nothing is written at rest and nothing of somebody else's ever.
//!
//! | what is there | what is done |
//! |---|---|
//! | nothing | it is made; had somebody else been faster, the API server refuses |
//! | ours, and as it should be | nothing |
//! | ours, and not so | it is applied by force, under the condition that it is still the same object |
//! | ours, in a way that no change can mend | it is deleted, and made anew once it is gone |
//! | that of a resource of this name which is gone, or ours and being deleted | it is waited for: [`ChildError::Leaving`] |
//! | somebody else's | nothing: [`ChildError::Conflict`] |

use std::{fmt::Debug, sync::Arc};

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::ServiceAccount,
        rbac::v1::{Role, RoleBinding},
    },
};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    runtime::reflector::ObjectRef,
};
use serde::{Serialize, de::DeserializeOwned};
use tracing::{debug, info, warn};

use super::{
    Children, Scope,
    drift::{fingerprint, holds},
    error::ChildError,
    family::Family,
    ownership::{Ownership, ownership},
    shelf::Shelf,
};
use crate::resource::{api_server::in_time, status::Author};

/// A kind of children.
pub trait Child:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// Where they are kept.
    fn shelf(scope: &Scope) -> &Shelf<Self>;

    /// Whether no change can make `observed` what is desired.
    fn is_beyond_repair(&self, _observed: &Self) -> bool {
        false
    }

    /// Whether a patch makes them in the first place, without force, instead of a plain creation.
    ///
    /// What was applied from the beginning loses what is no longer applied. But where somebody else is faster, a patch merges
    /// with an object that holds nothing to the contrary; so only kinds will do that always do.
    const IS_CREATED_BY_PATCH: bool = false;
}

impl Child for ServiceAccount {
    fn shelf(scope: &Scope) -> &Shelf<Self> {
        &scope.accounts
    }
}

impl Child for Role {
    fn shelf(scope: &Scope) -> &Shelf<Self> {
        &scope.roles
    }
}

impl Child for RoleBinding {
    fn shelf(scope: &Scope) -> &Shelf<Self> {
        &scope.bindings
    }

    /// What a binding refers to cannot be changed.
    fn is_beyond_repair(&self, observed: &Self) -> bool {
        self.role_ref != observed.role_ref
    }
}

impl Child for Deployment {
    fn shelf(scope: &Scope) -> &Shelf<Self> {
        &scope.deployments
    }

    /// A selector cannot be changed, nor a rolling update's parameters be taken away by who does not own them.
    fn is_beyond_repair(&self, observed: &Self) -> bool {
        let selector = |deployment: &Self| deployment.spec.as_ref().map(|spec| spec.selector.clone());
        let strategy = observed.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
        selector(self) != selector(observed) || strategy.is_some_and(|strategy| strategy.rolling_update.is_some())
    }

    /// Nobody else's selector is that of ours.
    const IS_CREATED_BY_PATCH: bool = true;
}

impl Children {
    /// Makes the child what `desired` says, and returns it as it is then.
    ///
    /// # Errors
    /// Where it is not ours, or on its way out, or the API server refuses it.
    pub async fn bring<K: Child>(&self, desired: K, family: &Family) -> Result<Arc<K>, ChildError> {
        let found = self.find(family).await?;
        self.put(desired, found, family).await
    }

    /// The child as it is, if it is there.
    ///
    /// # Errors
    /// Where it is not ours, or on its way out, or the API server does not answer.
    pub async fn find<K: Child>(&self, family: &Family) -> Result<Option<Arc<K>>, ChildError> {
        let found = match self.known::<K>(family) {
            Some(known) => Some(known),
            None => self.look::<K>(family).await?.map(Arc::new),
        };
        let Some(found) = found else { return Ok(None) };
        let (kind, name) = (kind::<K>(), family.child());
        match ownership(&*found, family) {
            Ownership::Foreign => Err(ChildError::Conflict { kind, name, namespace: family.namespace.clone() }),
            Ownership::Former => Err(ChildError::Leaving { kind, name }),
            Ownership::Ours if found.meta().deletion_timestamp.is_some() => Err(ChildError::Leaving { kind, name }),
            Ownership::Ours => Ok(Some(found)),
        }
    }

    /// [`Self::bring`] where the child has been found as it is.
    ///
    /// # Errors
    /// Where the API server refuses it.
    pub async fn put<K: Child>(
        &self,
        desired: K,
        found: Option<Arc<K>>,
        family: &Family,
    ) -> Result<Arc<K>, ChildError> {
        let Some(found) = found else { return self.make(desired, family).await };
        if desired.is_beyond_repair(&found) {
            self.delete::<K>(&found, family).await?;
            return Err(ChildError::Leaving { kind: kind::<K>(), name: family.child() });
        }
        let wanted = fingerprint(&desired);
        let settled = self.shelf::<K>(family).is_some_and(|shelf| shelf.is_settled(&found, wanted));
        if settled || holds(&desired, &*found) {
            return Ok(found);
        }
        info!(resource = %family, kind = kind::<K>(), "a child is not as the resource would have it, and is changed");
        let mut patch = desired.clone();
        patch.meta_mut().uid.clone_from(&found.meta().uid);
        let applied = self.apply(&patch, &PatchParams::apply(Author::Controller.manager()).force(), family).await?;
        if !holds(&desired, &*applied)
            && let Some(shelf) = self.shelf::<K>(family)
        {
            warn!(resource = %family, kind = kind::<K>(), "the API server keeps a child other than it was applied");
            shelf.settle(&applied, wanted);
        }
        Ok(applied)
    }

    /// The child as it is known, if it is ours. Asks nobody.
    pub fn ours<K: Child>(&self, family: &Family) -> Option<Arc<K>> {
        self.known::<K>(family).filter(|known| ownership(&**known, family) == Ownership::Ours)
    }

    /// Deletes the child, where there is one of ours. Says whether it is gone, with all that belongs to it.
    ///
    /// # Errors
    /// Where the API server refuses it.
    pub async fn remove<K: Child>(&self, family: &Family) -> Result<bool, ChildError> {
        let Some(ours) = self.ours::<K>(family) else { return Ok(true) };
        if ours.meta().deletion_timestamp.is_none() {
            self.delete::<K>(&ours, family).await?;
        }
        Ok(false)
    }

    fn shelf<K: Child>(&self, family: &Family) -> Option<&Shelf<K>> {
        self.scope(&family.namespace).map(K::shelf)
    }

    fn known<K: Child>(&self, family: &Family) -> Option<Arc<K>> {
        self.shelf::<K>(family)?.get(&ObjectRef::new(&family.child()).within(&family.namespace))
    }

    fn api<K: Child>(&self, family: &Family) -> Api<K> {
        Api::namespaced(self.client.clone(), &family.namespace)
    }

    async fn look<K: Child>(&self, family: &Family) -> Result<Option<K>, ChildError> {
        let name = family.child();
        let found = in_time(self.api::<K>(family).get_opt(&name)).await;
        found.map_err(|error| ChildError::from_api(error, &kind::<K>(), &name))
    }

    async fn make<K: Child>(&self, desired: K, family: &Family) -> Result<Arc<K>, ChildError> {
        debug!(resource = %family, kind = kind::<K>(), "a child is made");
        let manager = Author::Controller.manager();
        if K::IS_CREATED_BY_PATCH {
            return self.apply(&desired, &PatchParams::apply(manager), family).await;
        }
        let parameters = PostParams { field_manager: Some(manager.to_owned()), ..PostParams::default() };
        let made = in_time(self.api::<K>(family).create(&parameters, &desired)).await;
        let made = made.map_err(|error| ChildError::from_api(error, &kind::<K>(), &family.child()))?;
        Ok(self.keep(made, family))
    }

    async fn apply<K: Child>(
        &self,
        desired: &K,
        parameters: &PatchParams,
        family: &Family,
    ) -> Result<Arc<K>, ChildError> {
        let name = family.child();
        let applied = in_time(self.api::<K>(family).patch(&name, parameters, &Patch::Apply(desired))).await;
        let applied = applied.map_err(|error| ChildError::from_api(error, &kind::<K>(), &name))?;
        Ok(self.keep(applied, family))
    }

    fn keep<K: Child>(&self, mut child: K, family: &Family) -> Arc<K> {
        child.managed_fields_mut().clear();
        match self.shelf::<K>(family) {
            Some(shelf) => shelf.keep(child),
            None => Arc::new(child),
        }
    }

    /// With all that belongs to it first, and only if it is still the same object.
    async fn delete<K: Child>(&self, child: &K, family: &Family) -> Result<(), ChildError> {
        debug!(resource = %family, kind = kind::<K>(), "a child is deleted");
        let same = Preconditions { uid: child.meta().uid.clone(), resource_version: None };
        let parameters = DeleteParams::foreground().preconditions(same);
        let name = family.child();
        match in_time(self.api::<K>(family).delete(&name, &parameters)).await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some(404) => Ok(()),
            Err(error) => Err(ChildError::from_api(error, &kind::<K>(), &name)),
        }
    }
}

fn kind<K: Child>() -> String {
    K::kind(&()).into_owned()
}
