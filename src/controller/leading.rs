//! What a leader does, and a standby does not: reconciling.

use std::{pin::pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt as _, stream};
use kube::{
    Api, Resource as _, ResourceExt as _,
    api::ListParams,
    runtime::{
        controller::{self, Action, Controller},
        reflector::{ObjectRef, Store},
        watcher,
    },
};
use tokio::{
    sync::watch,
    time::{interval, timeout},
};
use tracing::{debug, warn};

use super::{error::Error, metrics::Reconciles, watch::Watched};
use crate::{
    resource::{api_server::in_time, status::version},
    telemetry::heartbeat::Heartbeat,
};

/// Reconciliations at the same time: enough that some which wait for a slow broker's worker to end hold up nobody, few enough
/// for the API server.
const CONCURRENCY: u16 = 32;

/// The longest that one reconciliation may take: the end of a worker and a few calls of the API server, each of which has its
/// own limit. Less than what a heartbeat allows, so that reconciliations which hang are never taken for a loop which does.
const LONGEST: Duration = Duration::from_secs(25);

/// The longest that a store is waited for to catch up. Mostly it has, or will within a moment; a watch that is broken is not
/// waited for.
const CATCH_UP: Duration = Duration::from_secs(5);

/// Drives reconciliations, and never ends.
///
/// The heart beats whenever the loop has handed something out and taken it back: a reconciliation or, where there is nothing
/// to do, a request for a resource that cannot be, which takes the same way through the queue.
pub(super) async fn drive<C, F>(
    controller: Controller<Watched>,
    context: Arc<C>,
    heart: Heartbeat,
    reconciles: Reconciles,
    reconcile: impl Fn(Arc<Watched>, Arc<C>) -> F,
    error_policy: impl Fn(Arc<Watched>, &Error, Arc<C>) -> Action,
) where
    C: Send + Sync + 'static,
    F: Future<Output = Result<Action, Error>> + Send + 'static,
{
    heart.beat();
    let outcomes = controller
        .reconcile_on(pulse(heart.interval()))
        .with_config(controller::Config::default().concurrency(CONCURRENCY))
        .run(
            |watched, context| {
                let (reconciles, reconciliation) = (reconciles.clone(), in_bounds(reconcile(watched, context)));
                Box::pin(async move { reconciles.measure(reconciliation).await })
            },
            error_policy,
            context,
        );
    let mut outcomes = pin!(outcomes);
    while let Some(outcome) = outcomes.next().await {
        heart.beat();
        log(outcome);
    }
}

/// Everything that is known, and then whatever changes.
pub(super) fn everything(
    store: &Store<Watched>,
    changes: impl Stream<Item = ObjectRef<Watched>> + Send + 'static,
) -> impl Stream<Item = ObjectRef<Watched>> + Send + 'static {
    let known: Vec<_> = store.state().iter().map(|object| ObjectRef::from_obj(object.as_ref())).collect();
    stream::iter(known).chain(changes)
}

/// Waits until the store has what the API server has now.
///
/// Whoever led before has just written what it came to, and our watch may not have brought that yet. A worker that started
/// from what the store had before would do again what is done. Not for ever: what is deleted meanwhile never comes.
pub(super) async fn catch_up(apis: Vec<Api<Watched>>, store: &Store<Watched>, mut seen: watch::Receiver<()>) {
    let caught_up = async {
        for api in apis {
            let Ok(there) = in_time(api.list_metadata(&ListParams::default())).await else { continue };
            for object in there {
                let name = ObjectRef::new(&object.name_any()).within(&object.namespace().unwrap_or_default());
                let is_behind =
                    || store.get(&name).is_none_or(|known| version(known.meta()) < version(&object.metadata));
                while is_behind() && seen.changed().await.is_ok() {}
            }
        }
    };
    if timeout(CATCH_UP, caught_up).await.is_err() {
        debug!("reconciling begins with what is known");
    }
}

async fn in_bounds(reconciliation: impl Future<Output = Result<Action, Error>>) -> Result<Action, Error> {
    timeout(LONGEST, reconciliation).await.unwrap_or(Err(Error::TooLong(LONGEST)))
}

/// Requests for nothing: no name of a resource is empty.
fn pulse(period: Duration) -> impl Stream<Item = ObjectRef<Watched>> {
    stream::unfold(interval(period), |mut interval| async {
        interval.tick().await;
        Some((ObjectRef::new(""), interval))
    })
}

/// What the reconciler says of itself it has logged already.
fn log(outcome: Result<(ObjectRef<Watched>, Action), controller::Error<Error, watcher::Error>>) {
    match outcome {
        Ok((resource, action)) => debug!(%resource, ?action, "reconciled"),
        Err(controller::Error::QueueError(error)) => warn!("a watch has failed, and is tried again: {error}"),
        // It is gone, or never was.
        Err(controller::Error::ObjectNotFound(_)) => {}
        Err(error) => debug!(%error, "not reconciled"),
    }
}

#[cfg(test)]
#[path = "leading_tests.rs"]
mod tests;
