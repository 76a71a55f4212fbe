//! As whom a registry is asked, and who is trusted to answer: until others take their place.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};

use super::{
    auth::Authenticator,
    client::Registry,
    credentials::{Credentials, Logins},
    error::RegistryError,
    memory::Memory,
    options::RegistryOptions,
    reference::{Reference, endpoint},
    transport::Transport,
};
use crate::tls::TlsOptions;

/// How long a transfer that the registry refuses to go on with waits for other credentials. Where a password is changed at
/// the registry first, those who use it hear of it up to two minutes later.
const PATIENCE: Duration = Duration::from_secs(120);

/// Everything that depends on who asks.
pub(super) struct Access {
    pub(super) transport: Transport,
    pub(super) authenticator: Authenticator,
    pub(super) memory: Memory,
    /// The options without what is of no matter to the registry: equal where the same question gets the same answer.
    pub(super) options: Arc<RegistryOptions>,
}

impl Access {
    /// For the host that is spelled so in the end.
    pub(super) fn new(options: RegistryOptions, host: &str) -> Result<Self, RegistryError> {
        let RegistryOptions { plain_http, credentials, tls, timeout, .. } = options.clone();
        Ok(Self {
            transport: Transport::new(host, plain_http, tls, timeout)?,
            authenticator: Authenticator::new(Logins::new(credentials, host)?),
            memory: Memory::default(),
            options: Arc::new(RegistryOptions { cache: None, max_module_size: 0, ..options }),
        })
    }

    /// Whether others in the place of these could have spared us this refusal. A registry that is shown no credentials would
    /// be shown none later either, and neither is a store that it sends us on to.
    pub(super) fn could_help(&self, reference: &Reference, error: &RegistryError) -> bool {
        match error {
            RegistryError::Unauthorized { .. } => self.authenticator.knows(reference.host()),
            RegistryError::Forbidden { host, .. } => {
                host == endpoint(reference.host()) && self.authenticator.knows(reference.host())
            }
            RegistryError::Handshake { .. } => self.options.tls.ca.is_some() || self.options.tls.identity.is_some(),
            _ => false,
        }
    }
}

impl Registry {
    /// Asks as somebody else, or trusts somebody else, from the next request on; the same holds for clones, and for readers
    /// that are open: what they read now they read on, and who has been refused in the middle goes on from there.
    ///
    /// # Errors
    /// Where these cannot be used; then everything stays as it is.
    pub fn renew(&self, credentials: Credentials, tls: TlsOptions) -> Result<(), RegistryError> {
        let current = self.access();
        if (&current.options.credentials, &current.options.tls) == (&credentials, &tls) {
            return Ok(());
        }
        let options = RegistryOptions { credentials, tls, ..(*current.options).clone() };
        let access = Access::new(options, self.host())?;
        tracing::info!(registry = self.host(), "asking with other credentials");
        self.inner.access.send_replace(Arc::new(access));
        Ok(())
    }

    /// Why transfers under way are refused, while they wait for other credentials; `None` once one of them goes on.
    pub fn refusals(&self) -> watch::Receiver<Option<RegistryError>> {
        self.inner.refusal.subscribe()
    }

    /// As whom to ask now.
    pub(super) fn access(&self) -> Arc<Access> {
        self.inner.access.borrow().clone()
    }

    /// Whether others have taken the place of these.
    pub(super) fn is_renewed_since(&self, access: &Arc<Access>) -> bool {
        !Arc::ptr_eq(access, &self.inner.access.borrow())
    }

    /// Waits until others have taken the place of those with which a transfer was refused.
    ///
    /// # Errors
    /// The refusal, where none come in time.
    pub(super) async fn until_renewed(
        &self,
        refused: &Arc<Access>,
        reference: &Reference,
        error: RegistryError,
    ) -> Result<(), RegistryError> {
        let mut access = self.inner.access.subscribe();
        if !self.is_renewed_since(refused) && reference.host() == self.host() {
            tracing::warn!(%reference, "{error}; what is left of it waits for other credentials");
            self.inner.refusal.send_replace(Some(error.clone()));
        }
        match timeout(PATIENCE, access.wait_for(|access| !Arc::ptr_eq(access, refused))).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(error),
        }
    }

    /// A transfer that was refused goes on.
    pub(super) fn goes_on(&self) {
        self.inner.refusal.send_if_modified(|refusal| refusal.take().is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::install_provider;

    fn could_help(credentials: Credentials, error: &RegistryError) -> bool {
        install_provider();
        let options = RegistryOptions {
            host: "registry.example".to_owned(),
            plain_http: false,
            credentials,
            tls: TlsOptions::default(),
            max_module_size: 1,
            timeout: RegistryOptions::DEFAULT_TIMEOUT,
            cache: None,
        };
        let reference = Reference::parse("wasm/add:1", "registry.example").unwrap();
        Access::new(options, "registry.example").unwrap().could_help(&reference, error)
    }

    fn forbidden(host: &str) -> RegistryError {
        RegistryError::Forbidden { host: host.to_owned(), repository: "wasm/add".to_owned() }
    }

    #[test]
    fn only_a_registry_that_is_shown_credentials_is_waited_for_until_there_are_others() {
        let token = || Credentials::Token("hunter2".to_owned());
        assert!(could_help(token(), &forbidden("registry.example")));
        assert!(!could_help(token(), &forbidden("store.example")));
        assert!(!could_help(Credentials::Anonymous, &forbidden("registry.example")));
        let host = "auth.example".to_owned();
        let refused = RegistryError::Unauthorized { host, repository: "wasm/add".to_owned(), anonymous: false };
        assert!(could_help(token(), &refused));
        assert!(!could_help(Credentials::Anonymous, &refused));
    }
}
