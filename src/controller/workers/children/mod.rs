//! The objects that a resource has in the cluster besides itself, its children: what they are called, whose they are, and how
//! they are brought to be as they should.
//!
//! ```text
//!   watch ──► shelf ──┐                 ┌─► create ─┐
//!     │               ├─► whose? same? ─┼─► apply ──┼─► shelf
//!   wakes         desired               └─► nothing ┘
//! ```
//!
//! | child, all of one name | for |
//! |---|---|
//! | `ServiceAccount` | a worker in a Pod |
//! | `Role`, `RoleBinding` | a worker in a Pod, or an External one: its own resource, and the status of that |
//! | `Deployment` | a worker in a Pod |
//!
//! - Pure: `family` (names, labels, owner), `grant` (the first three of these), `ownership` (whose an object is), `drift` and
//!   `quantity` (whether an object is as it should be), `changes` (whom an event wakes).
//! - Reading: `watch` follows what carries our label, `shelf` and `pods` keep it, [`Wakes`] hands on whose it is.
//! - Writing: `bring`. Nothing is written that is as it should be, and nothing ever that is not ours.
//!
//! Deletion needs nobody: each child names its resource as its owner, and Kubernetes' garbage collection does the rest.

mod bring;
mod changes;
mod drift;
mod error;
mod family;
mod grant;
mod ownership;
mod pods;
mod quantity;
mod shelf;
mod watch;

use std::sync::Arc;

use k8s_openapi::api::{
    apps::v1::Deployment, core::v1::Pod, core::v1::ServiceAccount, rbac::v1::Role, rbac::v1::RoleBinding,
};
use kube::{Client, runtime::reflector::ObjectRef};

use crate::controller::{wakes::Wakes, watch::Watched};

pub use error::ChildError;
pub use family::{Family, RESOURCE_LABEL};
pub use ownership::controller_of;
pub use watch::Scope;

use grant::{account, binding, role};

/// The children of all resources.
pub struct Children {
    client: Client,
    scopes: Vec<Scope>,
    wakes: Arc<Wakes>,
}

impl Children {
    /// Of the resources in these namespaces.
    pub fn new(client: Client, scopes: Vec<Scope>, wakes: Arc<Wakes>) -> Self {
        Self { client, scopes, wakes }
    }

    /// Returns once all of them are known.
    pub async fn ready(&self) {
        for scope in &self.scopes {
            scope.ready().await;
        }
    }

    /// Whether those in this namespace are known, which is waited for at first.
    pub async fn known_in(&self, namespace: &str) -> bool {
        match self.scope(namespace) {
            Some(scope) => scope.known().await,
            None => true,
        }
    }

    /// Has a resource reconciled.
    pub fn wake(&self, resource: ObjectRef<Watched>) {
        self.wakes.wake(resource);
    }

    /// The Pods that belong to a resource, as the watch has them. Their `spec` is not kept.
    pub fn pods(&self, family: &Family) -> Vec<Arc<Pod>> {
        self.scope(&family.namespace).map(|scope| scope.pods(family)).unwrap_or_default()
    }

    /// The Deployments of all resources, as the watches have them.
    pub fn deployments(&self) -> impl Iterator<Item = Arc<Deployment>> {
        self.scopes.iter().flat_map(|scope| scope.deployments.all())
    }

    /// Lets `account`, in the resource's namespace, read the resource and write its status, and nothing else.
    ///
    /// # Errors
    /// Where an object is not ours, or the API server refuses it.
    pub async fn grant(&self, family: &Family, account: &str) -> Result<(), ChildError> {
        self.bring(role(family), family).await?;
        self.bring(binding(family, account), family).await?;
        Ok(())
    }

    /// A service account for a worker in a Pod, with the rights that it needs.
    ///
    /// # Errors
    /// Where an object is not ours, or the API server refuses it.
    pub async fn identify(&self, family: &Family) -> Result<(), ChildError> {
        self.bring(account(family), family).await?;
        self.grant(family, &family.child()).await
    }

    /// Ends the worker in a Pod, where there is one, and then its service account. Says whether both are gone: not before its
    /// Pods are.
    ///
    /// # Errors
    /// Where the API server refuses it.
    pub async fn retire(&self, family: &Family) -> Result<bool, ChildError> {
        Ok(self.remove::<Deployment>(family).await? && self.remove::<ServiceAccount>(family).await?)
    }

    /// [`Self::retire`], and takes the rights back.
    ///
    /// # Errors
    /// Where the API server refuses it.
    pub async fn clear(&self, family: &Family) -> Result<bool, ChildError> {
        Ok(self.retire(family).await?
            && self.remove::<RoleBinding>(family).await?
            && self.remove::<Role>(family).await?)
    }

    fn scope(&self, namespace: &str) -> Option<&Scope> {
        self.scopes.iter().find(|scope| scope.covers(namespace))
    }
}
