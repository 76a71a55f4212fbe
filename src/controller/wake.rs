//! Has resources looked at again though they have not changed themselves.

use std::sync::{Mutex, PoisonError};

use futures::Stream;
use kube::runtime::{
    reflector::{ObjectRef, Store},
    watcher,
};
use tokio::sync::mpsc::{self, UnboundedSender};

use super::watch::Watched;

/// Reaches every watch: each looks at its own resources.
#[derive(Default)]
pub(super) struct Waker(Mutex<Vec<UnboundedSender<ObjectRef<Watched>>>>);

impl Waker {
    /// Has the resource of that name looked at again, where one of the watches has it.
    pub fn wake(&self, namespace: &str, name: &str) {
        let object = ObjectRef::new(name).within(namespace);
        let mut watches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watches.retain(|watch| watch.send(object.clone()).is_ok());
    }

    /// Those resources of `store` that are to be looked at again, to be mixed with what the watch sees.
    ///
    /// Unbounded, because nobody may wait for whoever wakes; the controller takes them out at once, and once each.
    pub fn woken(&self, store: Store<Watched>) -> impl Stream<Item = Result<Watched, watcher::Error>> + Send + use<> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        futures::stream::unfold((receiver, store), async |(mut receiver, store)| {
            loop {
                let object = receiver.recv().await?;
                if let Some(resource) = store.get(&object) {
                    return Some((Ok((*resource).clone()), (receiver, store)));
                }
            }
        })
    }
}
