//! What the API server has against us, in sentences for the person who can mend it, and said once.

use std::{borrow::Cow, collections::HashMap, error::Error, time::Duration};

use kube::{core::Status, runtime::watcher};
use tokio::time::Instant;

use super::api_server::ApiError;

/// What we ask of the API server: who reads why it was refused then knows what to grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What is to be allowed, as in a Role.
    pub verbs: &'static str,
    /// The kind, as in `kubectl get`.
    pub resource: Cow<'static, str>,
    /// Where; in all namespaces if there is none.
    pub namespace: Option<String>,
}

impl Wanted {
    /// Why it was not to be had, and what to do about it.
    pub fn explain(&self, error: &kube::Error) -> String {
        match error {
            kube::Error::Api(status) => self.refused(status),
            kube::Error::Auth(error) => format!("there are no credentials to show to the API server: {error}"),
            error => format!("the API server cannot be reached: {}", root(error)),
        }
    }

    /// The same of a call that may have taken too long.
    pub fn explain_call(&self, error: &ApiError) -> String {
        match error {
            ApiError::Failed(error) => self.explain(error),
            ApiError::Timeout | ApiError::Unreadable(_) => error.to_string(),
        }
    }

    /// The same of a watch; nothing where the watch goes on by itself.
    pub fn explain_watch(&self, error: &watcher::Error) -> Option<String> {
        match error {
            watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) => {
                Some(self.explain(error))
            }
            // A watch that was there is asked for anew, and only where that fails is there something to say.
            watcher::Error::WatchFailed(_) | watcher::Error::WatchError(_) => None,
            watcher::Error::NoResourceVersion => Some("the API server's answer has no resource version".to_owned()),
        }
    }

    fn refused(&self, status: &Status) -> String {
        let Self { verbs, resource, .. } = self;
        let said = status.message.trim_end_matches('.');
        let place = self.namespace.as_ref().map_or_else(
            || "in all namespaces, by a ClusterRole and a ClusterRoleBinding".to_owned(),
            |namespace| format!("in namespace {namespace}, by a Role and a RoleBinding there"),
        );
        match status.code {
            401 => {
                format!("the API server does not accept our credentials ({said}): renew the token or the kubeconfig")
            }
            403 => format!("it is not allowed ({said}): allow {verbs} on {resource} {place}"),
            // The path of a kind that there is not; a namespace that there is not has an answer with details.
            404 if status.details.as_ref().is_none_or(|details| details.kind.is_empty()) => {
                format!("the API server does not know {resource}: apply the output of `wasmproxy crd`")
            }
            code => format!("the API server refuses it ({code}): {said}"),
        }
    }
}

/// What is beneath all wrappings.
fn root(error: &kube::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// A trouble that has been away for so long is news when it comes back; the longest backoff of a watch is a minute.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(150);

/// What has been said already and need not be said at every retry.
#[derive(Debug, Default)]
pub struct Troubles(HashMap<String, Instant>);

impl Troubles {
    /// Whether this has not been said lately.
    pub fn is_news(&mut self, message: &str) -> bool {
        let now = Instant::now();
        self.0.retain(|_, last| now.duration_since(*last) < FORGOTTEN_AFTER);
        self.0.insert(message.to_owned(), now).is_none()
    }
}

#[cfg(test)]
mod tests {
    use kube::core::response::StatusDetails;
    use serde_json::json;
    use tokio::time::advance;

    use super::*;

    fn wanted(namespace: Option<&str>) -> Wanted {
        Wanted {
            verbs: "list, watch",
            resource: "wasmproxies.wasmproxy.io".into(),
            namespace: namespace.map(str::to_owned),
        }
    }

    fn refused(code: u16, message: &str, kind: &str) -> kube::Error {
        let details: StatusDetails = serde_json::from_value(json!({"kind": kind})).unwrap();
        kube::Error::Api(Status::failure(message, "").with_code(code).with_details(details).boxed())
    }

    #[test]
    fn a_missing_right_is_named_with_where_to_grant_it() {
        let error = refused(403, "wasmproxies.wasmproxy.io is forbidden: User \"x\" cannot list", "wasmproxies");
        let explained = wanted(Some("edge")).explain(&error);
        for part in ["User \"x\" cannot list", "allow list, watch on wasmproxies.wasmproxy.io", "RoleBinding", "edge"] {
            assert!(explained.contains(part), "{part} is not in: {explained}");
        }
        let everywhere = wanted(None).explain(&error);
        assert!(everywhere.ends_with("in all namespaces, by a ClusterRole and a ClusterRoleBinding"), "{everywhere}");
    }

    #[test]
    fn a_missing_definition_and_a_missing_namespace_are_told_apart() {
        let definition = wanted(None).explain(&refused(404, "404 page not found", ""));
        assert!(definition.contains("`wasmproxy crd`"), "{definition}");
        let namespace = wanted(None).explain(&refused(404, "namespaces \"edge\" not found", "namespaces"));
        assert!(namespace.ends_with("namespaces \"edge\" not found"), "{namespace}");
    }

    #[test]
    fn credentials_that_are_refused_are_called_so() {
        let explained = wanted(None).explain(&refused(401, "Unauthorized", ""));
        assert!(explained.contains("credentials (Unauthorized): renew"), "{explained}");
    }

    #[test]
    fn an_api_server_that_is_away_is_said_without_wrappings() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let explained = wanted(None).explain(&kube::Error::Service(Box::new(refused)));
        assert_eq!(explained, "the API server cannot be reached: connection refused");
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_trouble_is_news_again_only_after_it_was_away() {
        let mut troubles = Troubles::default();
        assert!(troubles.is_news("away"));
        for _ in 0..10 {
            advance(Duration::from_secs(60)).await;
            assert!(!troubles.is_news("away"));
        }
        assert!(troubles.is_news("forbidden"));
        advance(FORGOTTEN_AFTER).await;
        assert!(troubles.is_news("away"));
    }
}
