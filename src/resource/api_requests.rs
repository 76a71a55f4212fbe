//! How often the API server was asked, for metrics.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use axum::http::{Method, Request, Response};
use futures::future::BoxFuture;
use kube::{Client, Config, client::ClientBuilder};
use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};
use tower::{Layer, Service};

use crate::telemetry::metrics::family::{Family, Kind};

/// What is said of it.
pub const API_REQUESTS: Family = Family {
    name: "api_requests",
    help: "Requests to the API server, by HTTP method and status code; the code is none where it has not answered.",
    unit: None,
    kind: Kind::Counter,
    labels: &["method", "code"],
};

/// Counts what a client asks of the API server: one for each call, however often kube's client tries it. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ApiRequests(Arc<Mutex<BTreeMap<Kinds, u64>>>);

/// The method, and the status code that was answered.
type Kinds = (&'static str, Option<u16>);

impl ApiRequests {
    /// A client whose requests are counted.
    ///
    /// # Errors
    /// Where the configuration cannot be used.
    pub fn client(&self, config: Config) -> Result<Client, kube::Error> {
        Ok(ClientBuilder::try_from(config)?.with_layer(self).build())
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<Kinds, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for ApiRequests {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let mut samples = API_REQUESTS.samples(&mut encoder)?;
        self.counts().iter().try_for_each(|((method, code), count)| {
            let code = code.map_or_else(|| "none".to_owned(), |code| code.to_string());
            samples.put(&[method, &code], *count)
        })
    }
}

impl<S> Layer<S> for ApiRequests {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, counts: self.clone() }
    }
}

/// A service whose requests are counted.
#[derive(Debug, Clone)]
pub struct Counted<S> {
    inner: S,
    counts: ApiRequests,
}

impl<S, A, B> Service<Request<A>> for Counted<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let call = Call { method: word(request.method()), code: None, counts: self.counts.clone() };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            call.ended(answer.as_ref().ok().map(|answer| answer.status().as_u16()));
            answer
        })
    }
}

/// A call that is under way, counted when it ends: also where whoever made it gives up waiting, and drops it.
struct Call {
    method: &'static str,
    code: Option<u16>,
    counts: ApiRequests,
}

impl Call {
    fn ended(mut self, code: Option<u16>) {
        self.code = code;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        *self.counts.counts().entry((self.method, self.code)).or_default() += 1;
    }
}

/// Those that there are in Kubernetes.
fn word(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::http::StatusCode;
    use futures::FutureExt as _;
    use tower::service_fn;

    use super::*;

    #[tokio::test]
    async fn requests_are_counted_by_what_was_answered() {
        let requests = ApiRequests::default();
        let mut service = requests.layer(service_fn(async |request: Request<()>| {
            let code = if request.uri() == "/there" { StatusCode::OK } else { StatusCode::NOT_FOUND };
            let mut answer = Response::new(());
            *answer.status_mut() = code;
            Ok::<_, Infallible>(answer)
        }));
        for (method, uri) in [("GET", "/there"), ("GET", "/there"), ("PATCH", "/gone"), ("BREW", "/there")] {
            service.call(Request::builder().method(method).uri(uri).body(()).unwrap()).await.unwrap();
        }
        let counted: Vec<_> = requests.counts().clone().into_iter().collect();
        assert_eq!(counted, [(("GET", Some(200)), 2), (("PATCH", Some(404)), 1), (("other", Some(200)), 1)]);
    }

    #[tokio::test]
    async fn an_api_server_that_does_not_answer_is_counted_too() {
        let requests = ApiRequests::default();
        let mut service = requests.layer(service_fn(async |_: Request<()>| Err::<Response<()>, _>("it is away")));
        let _ = service.call(Request::new(())).await;
        assert_eq!(requests.counts().get(&("GET", None)), Some(&1));
    }

    #[tokio::test]
    async fn a_call_that_somebody_gives_up_is_counted_as_one_without_an_answer() {
        let requests = ApiRequests::default();
        let silent = async |_: Request<()>| std::future::pending::<Result<Response<()>, Infallible>>().await;
        let call = requests.layer(service_fn(silent)).call(Request::new(()));
        assert!(call.now_or_never().is_none());
        assert_eq!(requests.counts().get(&("GET", None)), Some(&1));
    }
}
