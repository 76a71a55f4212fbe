//! One resource: its worker, and what the controller says of it.

use std::{sync::Arc, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Api, Resource as _, ResourceExt as _,
    api::{ApiResource, DynamicObject},
    core::error_boundary::InvalidObject,
    runtime::controller::Action,
};
use serde::Deserialize as _;
use tracing::{debug, info, warn};

use super::{
    context::Context,
    error::Error,
    summary::{Problem, Site, WorkerState, is_said, summary, unreadable},
    watch::Watched,
};
use crate::{
    api::{
        WasmProxy, WasmProxyStatus,
        conditions::{ConditionStatus, ConditionType, Reason, find},
    },
    resource::{
        api_server::{in_time, name_of, now},
        status::{Author, apply},
    },
};

/// How often a resource is looked at where nothing happens: its Secrets may be others, where the controller reads them.
const AT_REST: Duration = Duration::from_secs(5 * 60);

/// Brings the worker of one resource in line with it, and writes the controller's part of the status.
pub(super) async fn reconcile(watched: Arc<Watched>, context: Arc<Context>) -> Result<Action, Error> {
    match &watched.0 {
        Ok(resource) => {
            let resource = Arc::new(resource.clone());
            context.narrator.meet(&resource);
            let outcome = reconcile_resource(context.latest(resource.clone()), &context).await;
            context.narrator.tell(&context.latest(resource));
            outcome
        }
        Err(invalid) => say_unreadable(invalid, &context).await,
    }
}

/// When a reconciliation that failed is tried again.
#[expect(clippy::needless_pass_by_value, reason = "kube calls it so")]
pub(super) fn error_policy(watched: Arc<Watched>, error: &Error, context: Arc<Context>) -> Action {
    let resource = format!("{}/{}", watched.namespace().unwrap_or_default(), watched.name_any());
    if error.is_final() {
        debug!(resource, %error, "nothing is tried until a resource is changed");
        // Not everybody who waits for a channel is told at once who has it by now.
        let waits = matches!(error, Error::ChannelConflict { .. });
        return if waits { Action::requeue(AT_REST) } else { Action::await_change() };
    }
    let backoff = context.backoffs.fail(watched.meta());
    let wait = error.retry_after().map_or(backoff, |after| after.max(backoff));
    // What the status says is logged where it is written, and what is said once need not be said with each attempt.
    let is_said = error.reason().is_some() || matches!(error, Error::GoingAway);
    if !is_said && context.backoffs.is_news(watched.meta(), &error.to_string()) {
        warn!(resource, %error, retry_in = ?wait, "the resource is not as it should be; this is tried again");
    } else {
        debug!(resource, %error, retry_in = ?wait, "the resource is not as it should be");
    }
    Action::requeue(wait)
}

async fn reconcile_resource(resource: Arc<WasmProxy>, context: &Context) -> Result<Action, Error> {
    let uid = resource.uid().unwrap_or_default();
    if resource.metadata.deletion_timestamp.is_some() {
        context.workers.stop(&uid).await;
        return Ok(Action::await_change());
    }
    let outcome = if resource.spec.suspend {
        context.workers.suspend(&resource).await
    } else if let Some(rival) = context.rival(&uid) {
        let stopped = context.workers.suspend(&resource).await;
        stopped.and(Err(Error::ChannelConflict { rival }))
    } else {
        context.workers.ensure(&resource).await
    };
    if let Some(state) = state(&outcome, context.workers.site(&resource)) {
        let part = summary(&resource, &state, &now());
        say(&resource, &part, context).await?;
    }
    outcome?;
    if context.workers.reads_secrets_of(&resource) && is_refused(&resource) {
        // Whoever corrects the Secret is not to wait for the next look at rest.
        return Ok(Action::requeue(context.backoffs.fail(&resource.metadata)));
    }
    context.backoffs.reset(&uid);
    Ok(Action::requeue(AT_REST))
}

/// What there is to say of the worker; nothing where only the API server is at fault.
fn state(outcome: &Result<WorkerState, Error>, site: Option<Site>) -> Option<WorkerState> {
    match outcome {
        Ok(state) => Some(state.clone()),
        Err(error) => {
            let problem = Problem { reason: error.reason()?, message: error.to_string() };
            Some(match site {
                Some(site) => WorkerState::Outdated(site, problem),
                None => WorkerState::Absent(problem),
            })
        }
    }
}

/// Whether somebody refuses the worker for what its Secrets hold.
fn is_refused(resource: &WasmProxy) -> bool {
    let spec = &resource.spec;
    let names_secrets = [
        &spec.broker.secret_ref,
        &spec.broker.cert_secret_ref,
        &spec.registry.secret_ref,
        &spec.registry.cert_secret_ref,
    ];
    let conditions = resource.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let refused =
        [Reason::BrokerUnauthorized, Reason::BrokerTlsFailed, Reason::RegistryUnauthorized, Reason::RegistryTlsFailed];
    names_secrets.into_iter().any(Option::is_some)
        && conditions.iter().any(|condition| {
            condition.status == ConditionStatus::False.as_str()
                && refused.iter().any(|reason| reason.as_str() == condition.reason)
        })
}

async fn say(resource: &WasmProxy, part: &WasmProxyStatus, context: &Context) -> Result<(), Error> {
    if resource.status.as_ref().is_some_and(|status| is_said(part, status)) {
        return Ok(());
    }
    let api = Api::namespaced(context.client.clone(), &resource.namespace().unwrap_or_default());
    let written =
        apply(&api, &resource.name_any(), Author::Controller, part).await.map_err(|error| match error.code() {
            Some(404) => Error::GoingAway,
            _ => Error::Api(error),
        })?;
    log(resource, &written);
    context.keep(written);
    Ok(())
}

/// A line for each change of what `Ready` says.
fn log(before: &WasmProxy, after: &WasmProxy) {
    let (Some(now), was) = (ready(after), ready(before)) else { return };
    if was.is_some_and(|was| (&was.status, &was.reason, &was.message) == (&now.status, &now.reason, &now.message)) {
        return;
    }
    let resource = name_of(after);
    if now.status == ConditionStatus::False.as_str() && now.reason != Reason::Suspended.as_str() {
        warn!(resource, reason = now.reason, "Ready is {}: {}", now.status, now.message);
    } else {
        info!(resource, reason = now.reason, "Ready is {}: {}", now.status, now.message);
    }
}

fn ready(resource: &WasmProxy) -> Option<&Condition> {
    find(&resource.status.as_ref()?.conditions, ConditionType::Ready)
}

/// An object that cannot be read has a status all the same, for whoever looks at it.
async fn say_unreadable(invalid: &InvalidObject, context: &Context) -> Result<Action, Error> {
    let (name, namespace) = (invalid.metadata.name.clone(), invalid.metadata.namespace.clone());
    let (name, namespace) = (name.unwrap_or_default(), namespace.unwrap_or_default());
    let api = Api::namespaced_with(context.client.clone(), &namespace, &ApiResource::erase::<WasmProxy>(&()));
    // The watch has not kept what it could not read.
    let Some(object) = in_time(api.get_opt(&name)).await? else { return Ok(Action::await_change()) };
    let before = readable_status(&object);
    let part = unreadable(invalid, &before.conditions, &now());
    if !is_said(&part, &before) {
        apply(&api, &name, Author::Controller, &part).await?;
        warn!(resource = format!("{namespace}/{name}"), error = invalid.error, "the resource cannot be read");
    }
    context.backoffs.reset(invalid.metadata.uid.as_deref().unwrap_or_default());
    Ok(Action::await_change())
}

/// What the controller has to know of a status, wherever else the object is odd.
fn readable_status(object: &DynamicObject) -> WasmProxyStatus {
    let status = &object.data["status"];
    let conditions = status["conditions"].as_array().into_iter().flatten();
    WasmProxyStatus {
        observed_generation: status["observedGeneration"].as_i64(),
        conditions: conditions.filter_map(|condition| Condition::deserialize(condition).ok()).collect(),
        ..WasmProxyStatus::default()
    }
}
