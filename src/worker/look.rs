//! What a reference means: asks the registry, and decides how the module is cut.

use std::sync::Arc;

use tokio::time::Instant;

use super::{link::Link, publisher::SendError, wish::Plan};
use crate::{
    protocol::{ChunkHead, Layout, layout::InvalidLayout},
    registry::Reference,
};

/// The most chunks of a module: what is remembered of each costs 32 bytes.
pub(super) const MAX_CHUNKS: u32 = 1 << 18;

/// What will be sent for `reference`, in chunks that say `app_name`.
///
/// # Errors
/// Where the registry does not say, or where the module cannot be cut.
pub(super) async fn look(link: &Link, reference: &Reference, app_name: &str) -> Result<Plan, SendError> {
    let looked_at = Instant::now();
    let module = link.registry.resolve(reference).await?;
    let chunk_size = link.chunk_size(app_name)?;
    let layout = Layout::new(module.size, chunk_size.get());
    let layout = layout
        .and_then(|layout| if layout.total() > MAX_CHUNKS { Err(InvalidLayout::TooManyChunks) } else { Ok(layout) })
        .map_err(|source| SendError::Uncut { reference: reference.clone(), source })?;
    let head = ChunkHead { app_name: app_name.to_owned(), digest: module.digest, layout };
    Ok(Plan { module, head: Arc::new(head), looked_at })
}
