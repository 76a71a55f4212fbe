//! A request to look at all that is declared anew, and to stream it again though it has not changed.

use std::collections::HashSet;

use tokio::time::Instant;

/// The request under way, if there is one.
///
/// An artifact is done once a pass has streamed it, or an attempt has failed, for which the registry was asked after the
/// request was made: so a tag that moved just before is never missed.
#[derive(Debug, Default)]
pub(super) struct Again(Option<Request>);

#[derive(Debug)]
struct Request {
    name: String,
    since: Instant,
    done: HashSet<String>,
}

impl Again {
    /// Takes in what is asked for now: a request of another name replaces the one under way, and one that was `handled` is
    /// none.
    pub(super) fn ask(&mut self, requested: Option<&str>, handled: Option<&str>, now: Instant) {
        let requested = requested.filter(|name| Some(*name) != handled);
        if requested != self.0.as_ref().map(|request| request.name.as_str()) {
            self.0 = requested.map(|name| Request { name: name.to_owned(), since: now, done: HashSet::new() });
        }
    }

    /// Whether the artifact is still to be streamed again.
    pub(super) fn wants(&self, app_name: &str) -> bool {
        self.0.as_ref().is_some_and(|request| !request.done.contains(app_name))
    }

    /// Whether the artifact is still to be streamed again, and may be so as the registry has described it at `looked_at`.
    pub(super) fn wants_since(&self, app_name: &str, looked_at: Instant) -> bool {
        self.wants(app_name) && self.0.as_ref().is_some_and(|request| looked_at >= request.since)
    }

    /// The artifact was streamed, or has failed, as the registry has described it at `looked_at`.
    pub(super) fn done(&mut self, app_name: &str, looked_at: Instant) {
        if let Some(request) = self.0.as_mut().filter(|request| looked_at >= request.since) {
            request.done.insert(app_name.to_owned());
        }
    }

    /// The name of the request, where none of these artifacts is left to be streamed again; there is none under way then.
    pub(super) fn handled<'a>(&mut self, mut declared: impl Iterator<Item = &'a str>) -> Option<String> {
        let left = declared.any(|app_name| self.wants(app_name));
        self.0.take_if(|_| !left).map(|request| request.name)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn requested(name: &str, now: Instant) -> Again {
        let mut again = Again::default();
        again.ask(Some(name), Some("before"), now);
        again
    }

    #[test]
    fn a_request_is_handled_once_each_artifact_is_done() {
        let now = Instant::now();
        let mut again = requested("a", now);
        assert!(again.wants("add") && again.wants("sub"));
        again.done("add", now);
        assert!(!again.wants("add") && again.wants("sub"));
        assert_eq!(again.handled(["add", "sub"].into_iter()), None);
        again.done("sub", now + SECOND);
        assert_eq!(again.handled(["add", "sub"].into_iter()).as_deref(), Some("a"));
        assert!(!again.wants("add"));
    }

    #[test]
    fn a_request_where_nothing_is_declared_is_handled_at_once() {
        assert_eq!(requested("a", Instant::now()).handled([].into_iter()).as_deref(), Some("a"));
        assert_eq!(Again::default().handled([].into_iter()), None);
    }

    #[test]
    fn what_the_registry_said_before_the_request_does_not_do() {
        let now = Instant::now();
        let mut again = requested("a", now);
        again.done("add", now.checked_sub(SECOND).unwrap());
        assert!(again.wants("add"));
        assert!(!again.wants_since("add", now.checked_sub(SECOND).unwrap()) && again.wants_since("add", now));
    }

    #[test]
    fn what_was_handled_or_is_under_way_is_not_begun_again() {
        let now = Instant::now();
        let mut again = requested("before", now);
        assert!(!again.wants("add"));
        again.ask(Some("a"), Some("before"), now);
        again.done("add", now);
        again.ask(Some("a"), Some("before"), now + SECOND);
        assert!(!again.wants("add"), "told the same once more");
        again.ask(Some("b"), Some("before"), now + SECOND);
        assert!(again.wants("add"), "another request");
        again.ask(None, Some("before"), now);
        assert!(!again.wants("add"), "withdrawn");
    }
}
