//! How tests wait: for something that comes, and never for time to pass.

use std::time::Duration;

use tokio::time::timeout;

/// Long enough for a slow machine; nothing is measured by it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Whatever is waited for comes within [`PATIENCE`], or never.
pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited for {what} in vain"))
}
