//! Events: what `kubectl describe` tells of a resource, without repeating itself.
//!
//! - `story`, pure: what a resource's status says, and what there is to tell where it says something else than before.
//! - `narrator`: when to tell it. Nobody waits for it, and a resource that changes all the time is told of seldom.
//!
//! What the status says when the controller first sees a resource has been told already, by an earlier controller.

mod budget;
mod narrator;
mod story;

#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{self, Recorder},
};

use narrator::Board;
pub(super) use narrator::Narrator;
use story::Event;

use crate::resource::api_server::{ApiError, in_time};

/// Who tells, as events name it.
const REPORTER: &str = "wasmproxy.io/controller";

/// Tells what `narrator` hears of, for ever. Needs the rights to `create` and `patch` `events` of `events.k8s.io`.
pub(super) async fn publish(client: Client, narrator: &Narrator) {
    narrator.run(&Recorder::new(client, REPORTER.into())).await;
}

impl Board for Recorder {
    /// The recorder counts what is told several times within six minutes; of different modules, the same is not told.
    async fn post(&self, event: &Event, object: &ObjectReference) -> Result<(), ApiError> {
        let regarding = ObjectReference { field_path: event.field_path.clone(), ..object.clone() };
        let event = events::Event {
            type_: event.type_,
            reason: event.reason.clone(),
            note: Some(event.note.clone()),
            action: event.action.clone(),
            secondary: None,
        };
        in_time(self.publish(&event, &regarding)).await
    }
}
