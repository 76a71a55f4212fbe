//! One resource, watched.

use std::{sync::Arc, time::Duration};

use futures::{Stream, StreamExt as _};
use kube::{
    Api, Resource as _,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::{
    api::WasmProxy,
    resource::trouble::{Troubles, Wanted},
};

/// The resource, or what is known of it where it cannot be read.
pub(super) type Watched = DeserializeGuard<WasmProxy>;

/// What the watch has seen.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    /// Of the resource.
    pub sight: Sight,
    /// What is wrong with the watch, or with the resource as it is now.
    pub trouble: Option<String>,
}

/// What was seen of the resource last.
#[derive(Debug, Clone, Default)]
pub(super) enum Sight {
    /// Nothing yet.
    #[default]
    Nothing,
    /// There is none, or it is being deleted, or it is another one of that name.
    Gone,
    /// As it was when it could be read last.
    There(Arc<WasmProxy>),
}

/// Watches the resource of this name, and of this UID where there is one, for ever. Each watch lasts for `lifetime`, and one
/// that has died without a word is found out soon after that.
pub(super) async fn follow(
    api: Api<Watched>,
    name: &str,
    uid: Option<String>,
    lifetime: Duration,
    view: watch::Sender<View>,
) {
    let wanted = Wanted {
        verbs: "get, list, watch",
        resource: format!("{}.{}", WasmProxy::plural(&()), WasmProxy::group(&())).into(),
        namespace: api.namespace().map(str::to_owned),
    };
    let seconds = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX).max(1);
    let config = watcher::Config::default().fields(&format!("metadata.name={name}")).timeout(seconds);
    observe(watcher(api, config).default_backoff(), uid, &wanted, view).await;
}

async fn observe(
    events: impl Stream<Item = Result<Event<Watched>, watcher::Error>>,
    uid: Option<String>,
    wanted: &Wanted,
    view: watch::Sender<View>,
) {
    let mut events = std::pin::pin!(events);
    let mut observer = Observer { uid, listed: None };
    let mut troubles = Troubles::default();
    while let Some(event) = events.next().await {
        let seen = match event {
            Ok(event) => observer.observe(event),
            Err(error) => match explain(&error, wanted) {
                Some(why) => Some(Seen::Trouble(format!("the resource cannot be watched: {why}"))),
                None => {
                    debug!(%error, "the resource is watched anew");
                    None
                }
            },
        };
        if let Some(seen) = seen {
            view.send_if_modified(|view| view.take(seen, &mut troubles));
        }
    }
}

/// Why the watch does not come about; nothing where it goes on by itself.
fn explain(error: &watcher::Error, wanted: &Wanted) -> Option<String> {
    let why = wanted.explain_watch(error)?;
    let is_forbidden = match error {
        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) => {
            matches!(error, kube::Error::Api(status) if status.code == 403)
        }
        _ => false,
    };
    let hint = if is_forbidden {
        "; the controller does that for its own workers, and for the spec.worker.serviceAccountName of an External one"
    } else {
        ""
    };
    Some(format!("{why}{hint}"))
}

/// What an event says.
enum Seen {
    Gone,
    There(Arc<WasmProxy>),
    /// The watch stands, and this cannot be read.
    Unreadable(String),
    Trouble(String),
}

struct Observer {
    uid: Option<String>,
    listed: Option<Watched>,
}

impl Observer {
    fn observe(&mut self, event: Event<Watched>) -> Option<Seen> {
        match event {
            Event::Init => {
                self.listed = None;
                None
            }
            Event::InitApply(object) => {
                self.listed = Some(object);
                None
            }
            Event::InitDone => Some(self.listed.take().map_or(Seen::Gone, |object| self.judge(object))),
            Event::Apply(object) => Some(self.judge(object)),
            Event::Delete(_) => Some(Seen::Gone),
        }
    }

    fn judge(&self, object: Watched) -> Seen {
        let metadata = object.meta();
        let is_another = self.uid.is_some() && metadata.uid != self.uid;
        if is_another || metadata.deletion_timestamp.is_some() {
            return Seen::Gone;
        }
        match object.0 {
            Ok(resource) => Seen::There(Arc::new(resource)),
            Err(invalid) => Seen::Unreadable(format!("the resource cannot be read: {}", invalid.error)),
        }
    }
}

impl View {
    /// Returns whether anybody has to know. What has gone wrong is logged once, however often it is tried again or another
    /// trouble comes between, and once that it is over.
    fn take(&mut self, seen: Seen, troubles: &mut Troubles) -> bool {
        let (sight, trouble) = match seen {
            Seen::Gone => (Some(Sight::Gone), None),
            Seen::There(resource) => (Some(Sight::There(resource)), None),
            Seen::Unreadable(trouble) | Seen::Trouble(trouble) => (None, Some(trouble)),
        };
        match (&trouble, &self.trouble) {
            (Some(now), _) if troubles.is_news(now) => warn!("{now}"),
            (Some(now), _) => debug!("{now}"),
            (None, Some(_)) => info!("the resource is read again"),
            (None, None) => {}
        }
        let changed = sight.is_some() || trouble != self.trouble;
        self.trouble = trouble;
        if let Some(sight) = sight {
            self.sight = sight;
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use kube::core::Status;
    use serde_json::json;

    use super::*;
    use crate::resource::fixtures::{at, resource};

    fn object(change: impl FnOnce(&mut WasmProxy)) -> Watched {
        let mut resource = resource(&json!({}));
        change(&mut resource);
        DeserializeGuard(Ok(resource))
    }

    fn unreadable() -> Watched {
        serde_json::from_value(json!({
            "apiVersion": "wasmproxy.io/v1alpha1", "kind": "WasmProxy",
            "metadata": {"name": "a", "namespace": "b", "uid": "11f0"}, "spec": {"broker": 5},
        }))
        .unwrap()
    }

    fn failed(code: u16) -> watcher::Error {
        let status = Status { code, message: format!("failed with {code}"), ..Status::default() };
        watcher::Error::InitialListFailed(kube::Error::Api(Box::new(status)))
    }

    /// What is seen after all of these by who expects the UID `11f0`.
    async fn view(events: Vec<Result<Event<Watched>, watcher::Error>>) -> View {
        let (sender, view) = watch::channel(View::default());
        let wanted = Wanted { verbs: "get", resource: "wasmproxies".into(), namespace: Some("b".to_owned()) };
        observe(stream::iter(events), Some("11f0".to_owned()), &wanted, sender).await;
        view.borrow().clone()
    }

    fn listed(object: Watched) -> Vec<Result<Event<Watched>, watcher::Error>> {
        vec![Ok(Event::Init), Ok(Event::InitApply(object)), Ok(Event::InitDone)]
    }

    fn generation(view: &View) -> Option<i64> {
        match &view.sight {
            Sight::There(resource) => resource.metadata.generation,
            Sight::Nothing | Sight::Gone => None,
        }
    }

    #[tokio::test]
    async fn a_resource_is_there_once_it_is_listed() {
        assert!(matches!(view(vec![Ok(Event::Init)]).await.sight, Sight::Nothing));
        assert_eq!(generation(&view(listed(object(|_| ()))).await), Some(3));
        let mut events = listed(object(|_| ()));
        events.push(Ok(Event::Apply(object(|r| r.metadata.generation = Some(4)))));
        assert_eq!(generation(&view(events).await), Some(4));
    }

    #[tokio::test]
    async fn whatever_is_not_ours_is_gone() {
        for last in [
            vec![Ok(Event::Delete(object(|_| ())))],
            vec![Ok(Event::Init), Ok(Event::InitDone)],
            vec![Ok(Event::Apply(object(|r| r.metadata.deletion_timestamp = Some(at(9)))))],
            vec![Ok(Event::Apply(object(|r| r.metadata.uid = Some("another".to_owned()))))],
        ] {
            let events = listed(object(|_| ())).into_iter().chain(last).collect();
            assert!(matches!(view(events).await.sight, Sight::Gone));
        }
    }

    #[tokio::test]
    async fn what_was_read_last_counts_while_it_cannot_be_read_or_watched() {
        for last in [Ok(Event::Apply(unreadable())), Err(failed(503)), Ok(Event::Init)] {
            let events = listed(object(|_| ())).into_iter().chain([last]).collect();
            assert_eq!(generation(&view(events).await), Some(3));
        }
    }

    #[tokio::test]
    async fn what_is_wrong_is_known_until_it_is_over() {
        let trouble = |view: View| view.trouble.unwrap_or_default();
        assert!(trouble(view(listed(unreadable())).await).starts_with("the resource cannot be read: "));
        assert!(trouble(view(vec![Err(failed(503))]).await).contains("failed with 503"));
        assert!(trouble(view(vec![Err(failed(404))]).await).ends_with("the output of `wasmproxy crd`"));
        assert!(
            trouble(view(vec![Err(failed(403))]).await)
                .contains("in namespace b, by a Role and a RoleBinding there; the controller does that")
        );
        let over = [Err(failed(503))].into_iter().chain(listed(object(|_| ()))).collect();
        assert_eq!(view(over).await.trouble, None);
    }

    #[tokio::test]
    async fn the_same_trouble_again_is_no_news() {
        let (mut view, mut troubles) = (View::default(), Troubles::default());
        assert!(view.take(Seen::Trouble("away".to_owned()), &mut troubles));
        assert!(!view.take(Seen::Trouble("away".to_owned()), &mut troubles));
        assert!(view.take(Seen::Gone, &mut troubles) && view.trouble.is_none());
    }
}
