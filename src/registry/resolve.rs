//! A reference becomes a descriptor.

use super::{
    artifact::{self, Layer, Manifest, Unsupported},
    client::{Module, Registry},
    error::RegistryError,
    reference::Reference,
    requests::Glance,
    retry::Retry,
};
use crate::digest::Digest;

impl Registry {
    /// Finds the module that a reference names: one request for its manifest, two where an index leads to it.
    ///
    /// A tag that was resolved before costs a HEAD request while it has not moved. A digest that was resolved in the
    /// last five minutes costs none: it means the same for ever, and nobody but this client, with these credentials,
    /// profits from that.
    ///
    /// # Errors
    /// See [`RegistryError`]; a manifest that is not what the reference is pinned to is a `DigestMismatch`.
    pub async fn resolve(&self, reference: &Reference) -> Result<Module, RegistryError> {
        let mut retry = Retry::new();
        let (manifest_digest, layer) = loop {
            match self.find(reference).await {
                Ok(found) => break found,
                Err(error) => retry.wait(reference, error).await?,
            }
        };
        let limit = self.inner.max_module_size;
        if layer.size > limit {
            return Err(RegistryError::TooLarge { reference: reference.clone(), size: layer.size, limit });
        }
        Ok(Module {
            reference: reference.clone(),
            manifest_digest,
            digest: layer.digest,
            size: layer.size,
            media_type: layer.media_type,
        })
    }

    async fn find(&self, reference: &Reference) -> Result<(Digest, Layer), RegistryError> {
        match self.remembered(reference).await? {
            Some(found) => Ok(found),
            None => self.look_up(reference).await,
        }
    }

    /// What is known of the manifest, if the registry says that it is still the one, or said so lately.
    async fn remembered(&self, reference: &Reference) -> Result<Option<(Digest, Layer)>, RegistryError> {
        let memory = &self.inner.memory;
        let pinned = reference.digest();
        let is_worth_a_glance = match pinned {
            Some(digest) => {
                if let Some(layer) = memory.fresh_manifest(reference, digest) {
                    return Ok(Some((digest, layer)));
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
        if let Some((digest, layer)) = &found {
            memory.saw(reference, *digest, layer.clone());
        }
        Ok(found)
    }

    async fn look_up(&self, reference: &Reference) -> Result<(Digest, Layer), RegistryError> {
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
        let layer = artifact::select_layer(&image).map_err(unsupported)?;
        self.inner.memory.saw(reference, manifest_digest, layer.clone());
        Ok((manifest_digest, layer))
    }
}
