//! What a reference means: asks the registry, and decides how the module is cut.

use std::sync::Arc;

use super::{link::Link, publisher::SendError, schedule::Plan};
use crate::{
    protocol::{ChunkHead, Layout},
    registry::Reference,
};

/// What will be sent for `reference`, in chunks that say `app_name`.
///
/// # Errors
/// Where the registry does not say, or where the module cannot be cut.
pub(super) async fn look(link: &Link, reference: &Reference, app_name: &str) -> Result<Plan, SendError> {
    let module = link.registry.resolve(reference).await?;
    let chunk_size = link.chunk_size(app_name)?;
    let layout = Layout::new(module.size, chunk_size.get())
        .map_err(|source| SendError::Uncut { reference: reference.clone(), source })?;
    let head = ChunkHead { app_name: app_name.to_owned(), digest: module.digest, layout };
    Ok(Plan { module, head: Arc::new(head) })
}
