//! Resources that are to be reconciled for another reason than a change of their own.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{Stream, StreamExt as _, stream};
use kube::runtime::reflector::ObjectRef;
use tokio::sync::Notify;

use crate::controller::watch::Watched;

/// Resources that are to be reconciled. Each is in it once, so that it grows no larger while nobody reconciles.
#[derive(Debug, Default)]
pub struct Wakes {
    due: Mutex<HashSet<ObjectRef<Watched>>>,
    bell: Notify,
}

impl Wakes {
    /// Has a resource reconciled.
    pub fn wake(&self, resource: ObjectRef<Watched>) {
        self.due.lock().unwrap_or_else(PoisonError::into_inner).insert(resource);
        self.bell.notify_one();
    }

    /// Those that are due, as they come. For one reader.
    pub fn stream(self: Arc<Self>) -> impl Stream<Item = ObjectRef<Watched>> + Send + 'static {
        let batches = stream::unfold(self, |wakes| async {
            loop {
                let due = std::mem::take(&mut *wakes.due.lock().unwrap_or_else(PoisonError::into_inner));
                if !due.is_empty() {
                    return Some((stream::iter(due), wakes));
                }
                wakes.bell.notified().await;
            }
        });
        batches.flatten()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn each_resource_is_woken_once_however_often_it_is_due() {
        let wakes = Arc::new(Wakes::default());
        let line = ObjectRef::new("line").within("edge");
        wakes.wake(line.clone());
        wakes.wake(line.clone());
        let mut stream = Box::pin(wakes.clone().stream());
        assert_eq!(stream.next().now_or_never(), Some(Some(line.clone())));
        assert_eq!(stream.next().now_or_never(), None);
        wakes.wake(line.clone());
        assert_eq!(stream.next().now_or_never(), Some(Some(line)));
    }
}
