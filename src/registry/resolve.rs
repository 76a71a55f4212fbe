//! A reference becomes a descriptor.

use tokio::time::timeout;

use super::{
    artifact::{self, Layer, Manifest, Selected, Unsupported},
    cache::Note,
    client::{Module, Origin, Registry},
    error::RegistryError,
    reference::Reference,
    requests::Glance,
    retry::Retry,
    transport::too_late,
};
use crate::digest::Digest;

/// How many requests may take all of their time before an attempt to resolve is given up.
const MOST_REQUESTS: u32 = 4;

impl Registry {
    /// Finds the module that a reference names: one request for its manifest, two where an index leads to it.
    ///
    /// A container image is fetched and unpacked into the cache, where that does not know yet what is in it.
    ///
    /// A tag that was resolved before costs a HEAD request while it has not moved. A digest that was resolved in the last five minutes
    /// costs none: it means the same for ever, and nobody but this client, with these credentials, profits from that.
    ///
    /// # Errors
    /// See [`RegistryError`]; a manifest that is not what the reference is pinned to is a `DigestMismatch`.
    pub async fn resolve(&self, reference: &Reference) -> Result<Module, RegistryError> {
        let mut retry = Retry::new();
        let (manifest_digest, selected) = loop {
            match self.find_in_time(reference).await {
                Ok(found) => break found,
                Err(error) => retry.wait(reference, error).await?,
            }
        };
        let module = self.module(reference, manifest_digest, selected).await?;
        let limit = self.inner.max_module_size;
        if module.size > limit {
            return Err(RegistryError::TooLarge { reference: module.reference, size: module.size, limit });
        }
        Ok(module)
    }

    async fn module(
        &self,
        reference: &Reference,
        manifest_digest: Digest,
        selected: Selected,
    ) -> Result<Module, RegistryError> {
        let reference = reference.clone();
        Ok(match selected {
            Selected::Raw(Layer { digest, size, media_type }) => {
                Module { reference, manifest_digest, digest, size, media_type, origin: Origin::default() }
            }
            Selected::Packed(packed) => {
                let Note { digest, size } = self.find_packed(&reference, &packed).await?;
                let (media_type, origin) = (artifact::WASM.to_owned(), Origin(Some(packed)));
                Module { reference, manifest_digest, digest, size, media_type, origin }
            }
        })
    }

    /// Each request has its time, but there may be many: redirects, challenges, tokens, an index.
    async fn find_in_time(&self, reference: &Reference) -> Result<(Digest, Selected), RegistryError> {
        let found = timeout(self.timeout().saturating_mul(MOST_REQUESTS), self.find(reference));
        found.await.unwrap_or_else(|_| Err(too_late(reference.host().to_owned())))
    }

    async fn find(&self, reference: &Reference) -> Result<(Digest, Selected), RegistryError> {
        match self.remembered(reference).await? {
            Some(found) => Ok(found),
            None => self.look_up(reference).await,
        }
    }

    /// What is known of the manifest, if the registry says that it is still the one, or said so lately.
    async fn remembered(&self, reference: &Reference) -> Result<Option<(Digest, Selected)>, RegistryError> {
        let access = self.access();
        let memory = &access.memory;
        let pinned = reference.digest();
        let is_worth_a_glance = match pinned {
            Some(digest) => {
                if let Some(selected) = memory.fresh_manifest(reference, digest) {
                    return Ok(Some((digest, selected)));
                }
                memory.manifest(reference, digest).is_some()
            }
            None => memory.knows_tag(reference),
        };
        if !is_worth_a_glance {
            return Ok(None);
        }
        let Glance::There(said) = self.glance(reference).await? else { return Ok(None) };
        let found = pinned.or(said).and_then(|digest| Some((digest, memory.manifest(reference, digest)?)));
        if let Some((digest, selected)) = &found {
            memory.saw(reference, *digest, selected.clone());
        }
        Ok(found)
    }

    async fn look_up(&self, reference: &Reference) -> Result<(Digest, Selected), RegistryError> {
        let access = self.access();
        let unsupported = |why| RegistryError::UnsupportedArtifact { reference: reference.clone(), why };
        let (manifest_digest, manifest) = self.manifest(reference, reference.digest()).await?;
        let image = match manifest {
            Manifest::Image(image) => image,
            Manifest::Index(index) => {
                let entry = artifact::select_entry(&index).map_err(unsupported)?;
                match self.manifest(reference, Some(entry)).await?.1 {
                    Manifest::Image(image) => image,
                    Manifest::Index(_) => return Err(unsupported(Unsupported::NestedIndex)),
                }
            }
        };
        let selected = artifact::select_layer(&image).map_err(unsupported)?;
        let selected = self.look_into(reference, selected).await?;
        access.memory.saw(reference, manifest_digest, selected.clone());
        Ok((manifest_digest, selected))
    }

    /// oras calls any file a tar archive that it is told nothing about: a layer that is alone may be the module itself.
    async fn look_into(&self, reference: &Reference, selected: Selected) -> Result<Selected, RegistryError> {
        match selected {
            Selected::Packed(packed)
                if packed.is_only
                    && !self.is_noted(&packed).await
                    && self.is_module(reference, &packed.layer).await? =>
            {
                Ok(Selected::Raw(packed.layer.clone()))
            }
            selected => Ok(selected),
        }
    }
}
