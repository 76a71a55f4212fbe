//! Resources that are to be reconciled for another reason than a change of their own.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{Stream, StreamExt as _, stream};
use kube::runtime::reflector::ObjectRef;
use tokio::sync::Notify;

use super::watch::Watched;

/// Resources that are to be reconciled. Each is in it once; and none is while nobody reconciles, since whoever begins to
/// does so with all that there are.
#[derive(Debug, Default)]
pub struct Wakes {
    due: Mutex<Option<HashSet<ObjectRef<Watched>>>>,
    bell: Notify,
}

impl Wakes {
    /// Has a resource reconciled.
    pub fn wake(&self, resource: ObjectRef<Watched>) {
        if let Some(due) = &mut *self.due() {
            due.insert(resource);
            self.bell.notify_one();
        }
    }

    /// Those that are due from now on, as they come. For one reader.
    pub fn stream(self: Arc<Self>) -> impl Stream<Item = ObjectRef<Watched>> + Send + 'static {
        self.due().get_or_insert_default();
        let batches = stream::unfold(self, |wakes| async {
            loop {
                let due = wakes.due().as_mut().map(std::mem::take).unwrap_or_default();
                if !due.is_empty() {
                    return Some((stream::iter(due), wakes));
                }
                wakes.bell.notified().await;
            }
        });
        batches.flatten()
    }

    fn due(&self) -> MutexGuard<'_, Option<HashSet<ObjectRef<Watched>>>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut stream = Box::pin(wakes.clone().stream());
        wakes.wake(line.clone());
        wakes.wake(line.clone());
        assert_eq!(stream.next().now_or_never(), Some(Some(line.clone())));
        assert_eq!(stream.next().now_or_never(), None);
        wakes.wake(line.clone());
        assert_eq!(stream.next().now_or_never(), Some(Some(line)));
    }

    #[test]
    fn a_standby_keeps_none_however_long_it_stands_by() {
        let wakes = Arc::new(Wakes::default());
        wakes.wake(ObjectRef::new("line").within("edge"));
        assert_eq!(*wakes.due(), None);
        let mut stream = Box::pin(wakes.stream());
        assert_eq!(stream.next().now_or_never(), None);
    }
}
