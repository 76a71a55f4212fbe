//! How a worker is to end whose process is told to.
//!
//! Whoever tells it may do so because the resource is gone, suspended, or has lost its channel, before the watch has said it. So the resource is asked
//! once more, and not for long: the API server may be away as well.

use std::time::Duration;

use kube::{Api, Resource as _};
use tokio::time::timeout;

use super::{order::has_rival, watch::Watched};
use crate::{api::Management, mqtt::SessionEnd};

/// The longest that the API server is waited for.
const ASK: Duration = Duration::from_secs(2);

/// How a worker is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Farewell {
    /// For good, and nobody asks about it any more.
    Gone,
    /// Until somebody starts it again, and nobody else says so. This becomes of its session.
    Stopped(SessionEnd),
    /// Somebody else goes on with its session.
    Replaced,
}

/// Asks about the resource of this name and UID.
pub(super) async fn farewell(api: &Api<Watched>, name: &str, uid: Option<&str>) -> Farewell {
    match timeout(ASK, api.get(name)).await {
        Ok(answer) => judge(answer, uid),
        Err(_) => Farewell::Replaced,
    }
}

fn judge(answer: Result<Watched, kube::Error>, uid: Option<&str>) -> Farewell {
    let object = match answer {
        Ok(object) => object,
        // Its rights go with the resource.
        Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403 | 404) => return Farewell::Gone,
        Err(_) => return Farewell::Replaced,
    };
    let metadata = object.meta();
    if metadata.uid.as_deref() != uid || metadata.deletion_timestamp.is_some() {
        return Farewell::Gone;
    }
    match object.0 {
        Ok(resource) if resource.spec.suspend || has_rival(&resource) => Farewell::Stopped(SessionEnd::Discard),
        // No controller knows whether a sidecar comes back.
        Ok(resource) if resource.spec.management() == Management::External => Farewell::Stopped(SessionEnd::Keep),
        Ok(_) | Err(_) => Farewell::Replaced,
    }
}

#[cfg(test)]
mod tests {
    use kube::core::{DeserializeGuard, Status};
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        api::{
            WasmProxy, WasmProxyStatus,
            conditions::{ConditionStatus, ConditionType, Reason},
        },
        resource::fixtures::{at, condition, resource},
    };

    fn answer(spec: &Value, change: impl FnOnce(&mut WasmProxy)) -> Result<Watched, kube::Error> {
        let mut resource = resource(spec);
        change(&mut resource);
        Ok(DeserializeGuard(Ok(resource)))
    }

    fn refused(code: u16) -> Result<Watched, kube::Error> {
        Err(kube::Error::Api(Box::new(Status { code, ..Status::default() })))
    }

    #[test]
    fn the_session_is_kept_unless_nobody_will_come_for_it() {
        let external = json!({"worker": {"management": "External"}});
        let has_rival = |resource: &mut WasmProxy| {
            let conditions = vec![condition(ConditionType::Stalled, ConditionStatus::True, Reason::ChannelConflict)];
            resource.status = Some(WasmProxyStatus { conditions, ..WasmProxyStatus::default() });
        };
        for (answer, expected) in [
            (answer(&json!({}), |_| ()), Farewell::Replaced),
            (answer(&external, |_| ()), Farewell::Stopped(SessionEnd::Keep)),
            (answer(&json!({"suspend": true}), |_| ()), Farewell::Stopped(SessionEnd::Discard)),
            (answer(&json!({}), has_rival), Farewell::Stopped(SessionEnd::Discard)),
            (answer(&json!({}), |r| r.metadata.uid = Some("another".to_owned())), Farewell::Gone),
            (answer(&json!({}), |r| r.metadata.deletion_timestamp = Some(at(9))), Farewell::Gone),
            (refused(401), Farewell::Gone),
            (refused(403), Farewell::Gone),
            (refused(404), Farewell::Gone),
            (refused(429), Farewell::Replaced),
            (refused(503), Farewell::Replaced),
        ] {
            assert_eq!(judge(answer, Some("11f0")), expected);
        }
    }
}
