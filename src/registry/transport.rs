//! HTTP as a registry needs it: which TLS for which host, redirects, bounds, timeouts.

use std::{error::Error, io, time::Duration};

use reqwest::{
    Client, Method, Response, StatusCode,
    header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER},
    redirect,
};
use rustls::ClientConfig;
use tokio::time::timeout;
use url::{Origin, Url};

use super::{
    error::RegistryError,
    reference::{Reference, endpoint},
};
use crate::tls::TlsOptions;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_REDIRECTS: usize = 5;
/// However long a registry asks to wait, it is not taken for more: no clock counts to the end of a `u64` of seconds.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Requests to the configured registry, and to whatever other hosts references or redirects name.
///
/// The client certificate is shown to the configured registry alone, and it alone may be spoken to in plain HTTP.
pub(super) struct Transport {
    own: Client,
    other: Client,
    own_base: Url,
    plain_http: bool,
    timeout: Duration,
}

impl Transport {
    /// What comes back within `timeout`, if at all: the head of an answer, redirects included, and the whole of each
    /// document.
    pub(super) fn new(host: &str, plain_http: bool, tls: TlsOptions, timeout: Duration) -> Result<Self, RegistryError> {
        // Over plain HTTP nobody needs to be trusted, unless a redirect or a reference leads elsewhere.
        let config = if plain_http { TlsOptions::client_config_or_nobody } else { TlsOptions::client_config };
        let own = client(host, config(&tls)?)?;
        let other = client(host, config(&TlsOptions { identity: None, ..tls })?)?;
        Ok(Self { own, other, own_base: base(host, plain_http)?, plain_http, timeout })
    }

    /// The address of `path`, such as `manifests/latest`, in a reference's repository.
    pub(super) fn url(&self, reference: &Reference, path: &str) -> Result<Url, RegistryError> {
        let host = reference.host();
        let own = base(host, self.plain_http)?;
        let base = if own == self.own_base { own } else { base(host, false)? };
        // A repository and a tag hold nothing that means something else in a URL.
        base.join(&format!("v2/{}/{path}", reference.repository()))
            .map_err(|_| odd(host.to_owned(), "it cannot be part of a URL"))
    }

    /// The first answer that is no redirect. `authorization` goes to the host of `url` and no other.
    pub(super) async fn send(
        &self,
        method: Method,
        url: Url,
        headers: &HeaderMap,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, RegistryError> {
        let first = host(&url);
        let following = self.follow(method, url, headers, authorization);
        timeout(self.timeout, following).await.map_err(|_| too_late(first))?
    }

    async fn follow(
        &self,
        method: Method,
        mut url: Url,
        headers: &HeaderMap,
        mut authorization: Option<&HeaderValue>,
    ) -> Result<Response, RegistryError> {
        let origin = url.origin();
        for _ in 0..=MAX_REDIRECTS {
            self.permit(&url)?;
            let client = if url.origin() == self.own_base.origin() { &self.own } else { &self.other };
            let mut request = client.request(method.clone(), url.clone()).headers(headers.clone());
            if let Some(authorization) = authorization {
                request = request.header(AUTHORIZATION, authorization);
            }
            let response = request.send().await.map_err(|error| broken(&url, error))?;
            let Some(next) = location(&response)? else { return Ok(response) };
            url = next;
            authorization = authorization.filter(|_| url.origin() == origin);
        }
        Err(odd(host(&url), "it redirects without end"))
    }

    /// The whole body of an answer, if it is at most `limit` bytes.
    pub(super) async fn document(&self, response: Response, limit: usize) -> Result<Vec<u8>, RegistryError> {
        let url = response.url().clone();
        timeout(self.timeout, read_body(response, limit)).await.map_err(|_| too_late(host(&url)))?
    }

    /// The first `len` bytes of the body of an answer, which may have more.
    pub(super) async fn beginning(&self, mut response: Response, len: usize) -> Result<Vec<u8>, RegistryError> {
        let url = response.url().clone();
        let read = async {
            let mut body = Vec::with_capacity(len);
            while body.len() < len
                && let Some(bytes) = response.chunk().await.map_err(|error| interrupted(&url, error))?
            {
                body.extend(bytes.iter().take(len - body.len()));
            }
            Ok(body)
        };
        timeout(self.timeout, read).await.map_err(|_| too_late(host(&url)))?
    }

    /// Plain HTTP is for the configured host alone, on whatever port: a trial's token service has one of its own.
    fn permit(&self, url: &Url) -> Result<(), RegistryError> {
        let is_own_host = url.host_str() == self.own_base.host_str();
        match url.scheme() {
            "https" => Ok(()),
            "http" if self.plain_http && is_own_host => Ok(()),
            _ => Err(odd(host(url), "the registry sends us there without TLS")),
        }
    }
}

async fn read_body(mut response: Response, limit: usize) -> Result<Vec<u8>, RegistryError> {
    let url = response.url().clone();
    let too_long = || odd(host(&url), format!("the answer is longer than {limit} bytes"));
    if response.content_length().is_some_and(|length| length > limit as u64) {
        return Err(too_long());
    }
    let mut body = Vec::new();
    while let Some(bytes) = response.chunk().await.map_err(|error| interrupted(&url, error))? {
        if body.len() + bytes.len() > limit {
            return Err(too_long());
        }
        body.extend_from_slice(&bytes);
    }
    Ok(body)
}

/// The error for a status that says to come back later, with the time that it says.
pub(super) fn unavailable(response: &Response) -> RegistryError {
    RegistryError::Unavailable {
        host: host(response.url()),
        reason: format!("it answered {}", response.status()),
        retry_after: response.headers().get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?)),
    }
}

/// The error for a connection that could not be made, or broke before it brought an answer.
fn broken(url: &Url, error: reqwest::Error) -> RegistryError {
    match handshake_failure(&error) {
        Some(source) => RegistryError::Handshake { host: host(url), source },
        None => interrupted(url, error),
    }
}

/// The error for a connection that broke in the middle of an answer: whatever TLS says of it, the two had agreed.
pub(super) fn interrupted(url: &Url, error: reqwest::Error) -> RegistryError {
    let host = host(url);
    if error.is_timeout() {
        return too_late(host);
    }
    // A URL's query may hold a signature.
    let reason = innermost(&error.without_url()).to_string();
    RegistryError::Unavailable { host, reason, retry_after: None }
}

/// The error for an answer that did not come, or not to its end.
pub(super) fn too_late(host: String) -> RegistryError {
    RegistryError::Unavailable { host, reason: "it did not answer in time".to_owned(), retry_after: None }
}

/// The error for an answer that makes no sense.
pub(super) fn odd(host: String, reason: impl Into<String>) -> RegistryError {
    RegistryError::InvalidResponse { host, reason: reason.into() }
}

/// `host[:port]` of a URL, for messages.
pub(super) fn host(url: &Url) -> String {
    match url.origin() {
        Origin::Tuple(_, host, _) => url.port().map_or(host.to_string(), |port| format!("{host}:{port}")),
        Origin::Opaque(_) => url.scheme().to_owned(),
    }
}

fn client(host: &str, tls: ClientConfig) -> Result<Client, RegistryError> {
    Client::builder()
        .user_agent(concat!("wasmproxy/", env!("CARGO_PKG_VERSION")))
        .tls_backend_preconfigured(tls)
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .build()
        .map_err(|error| odd(host.to_owned(), innermost(&error).to_string()))
}

fn base(host: &str, plain_http: bool) -> Result<Url, RegistryError> {
    let scheme = if plain_http { "http" } else { "https" };
    Url::parse(&format!("{scheme}://{}/", endpoint(host))).map_err(|_| odd(host.to_owned(), "it is no host"))
}

fn location(response: &Response) -> Result<Option<Url>, RegistryError> {
    match response.status() {
        StatusCode::MOVED_PERMANENTLY
        | StatusCode::FOUND
        | StatusCode::SEE_OTHER
        | StatusCode::TEMPORARY_REDIRECT
        | StatusCode::PERMANENT_REDIRECT => {}
        _ => return Ok(None),
    }
    let target = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    match target.and_then(|target| response.url().join(target).ok()) {
        Some(url) => Ok(Some(url)),
        None => Err(odd(host(response.url()), "it redirects to nowhere")),
    }
}

/// `Retry-After` as seconds or as a date (RFC 9110, section 10.2.3).
pub(super) fn retry_after(value: &str) -> Option<Duration> {
    let asked = match value.trim().parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(std::time::SystemTime::now()).ok()?,
    };
    Some(asked.min(MAX_RETRY_AFTER))
}

/// What rustls said, where the error is of its making.
fn handshake_failure(error: &reqwest::Error) -> Option<rustls::Error> {
    let mut next: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = next {
        if let Some(failure) = error.downcast_ref::<rustls::Error>() {
            return Some(failure.clone());
        }
        // An I/O error passes over what it wraps when asked for its source.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

fn innermost(error: &reqwest::Error) -> &dyn Error {
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transport(plain_http: bool) -> Transport {
        let tls = TlsOptions { insecure_skip_verify: true, ..TlsOptions::default() };
        Transport::new("registry.example:5000", plain_http, tls, Duration::from_secs(30)).unwrap()
    }

    fn url(transport: &Transport, reference: &str) -> String {
        let reference = Reference::parse(reference, "registry.example:5000").unwrap();
        transport.url(&reference, "manifests/1").unwrap().to_string()
    }

    #[test]
    fn plain_http_is_for_the_configured_host_alone() {
        assert_eq!(url(&transport(true), "wasm/add"), "http://registry.example:5000/v2/wasm/add/manifests/1");
        assert_eq!(url(&transport(true), "a.example/add"), "https://a.example/v2/add/manifests/1");
        assert_eq!(url(&transport(true), "registry.example/add"), "https://registry.example/v2/add/manifests/1");
        assert_eq!(url(&transport(false), "wasm/add"), "https://registry.example:5000/v2/wasm/add/manifests/1");
    }

    #[test]
    fn docker_hub_answers_elsewhere() {
        assert_eq!(url(&transport(true), "docker.io/add"), "https://registry-1.docker.io/v2/library/add/manifests/1");
    }

    #[test]
    fn nobody_else_may_send_us_on_without_tls() {
        let permitted = |transport: &Transport, url: &str| transport.permit(&url.parse().unwrap()).is_ok();
        assert!(permitted(&transport(false), "https://blobs.example/x"));
        assert!(!permitted(&transport(false), "http://registry.example:5000/x"));
        assert!(permitted(&transport(true), "http://registry.example:5001/token"));
        assert!(!permitted(&transport(true), "http://blobs.example/x"));
        assert!(!permitted(&transport(true), "file:///etc/passwd"));
    }

    #[test]
    fn messages_name_hosts_without_paths_and_queries() {
        let host = |url: &str| host(&url.parse().unwrap());
        assert_eq!(host("https://user:pass@blobs.example/x?signature=y"), "blobs.example");
        assert_eq!(host("http://[::1]:5000/"), "[::1]:5000");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(retry_after("120"), Some(Duration::from_secs(120)));
        for endless in ["Fri, 31 Dec 2100 23:59:59 GMT", "18446744073709551615"] {
            assert_eq!(retry_after(endless), Some(MAX_RETRY_AFTER));
        }
        assert_eq!(retry_after("Fri, 31 Dec 1999 23:59:59 GMT"), None);
        assert_eq!(retry_after("soon"), None);
    }
}
