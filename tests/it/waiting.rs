//! How tests wait: for something that comes, and never for time to pass.

use std::time::Duration;

use tokio::{sync::mpsc, time::timeout};
use wasmproxy::mqtt::{Client, ConnectionState, Message};

/// Long enough for a slow machine; nothing is measured by it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Whatever is waited for comes within [`PATIENCE`], or never.
pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited for {what} in vain"))
}

/// Returns once the connection stands, with its state.
pub async fn connected(client: &Client) -> ConnectionState {
    let mut state = client.state();
    let connected = state.wait_for(|state| matches!(state, ConnectionState::Connected { .. }));
    soon("a connection", connected).await.unwrap().clone()
}

/// Takes messages in at once, whatever the test is about to do: a broker drops what a slow subscriber does not take.
pub fn taken_in(mut arriving: mpsc::Receiver<Message>) -> mpsc::UnboundedReceiver<Message> {
    let (heard, messages) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(message) = arriving.recv().await {
            let _ = heard.send(message);
        }
    });
    messages
}
