//! Challenges answered and tokens kept (the distribution project's "Token Authentication Specification").

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http_auth::{ChallengeParser, ChallengeRef};
use reqwest::{
    Method, StatusCode,
    header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE},
};
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use super::{
    credentials::{Login, Logins, bearer},
    error::RegistryError,
    reference::Reference,
    transport::{Transport, host, odd, unavailable},
};

/// A token's life where its service says nothing.
const DEFAULT_LIFE: Duration = Duration::from_secs(60);
/// However long a service says that a token lives, we ask again by then.
const MAX_LIFE: Duration = Duration::from_secs(3600);
/// A token is not used in its last seconds, or its last quarter where that is shorter.
const SLACK: Duration = Duration::from_secs(10);
const MAX_TOKEN_RESPONSE: usize = 64 * 1024;
/// Repositories are named by devices too: what is kept for them is bounded.
const MAX_KEPT: usize = 1024;

/// A token that is longer is asked for each time, in bytes: most servers take no header as long.
const MAX_KEPT_TOKEN: usize = 16 * 1024;

/// Knows what to send with a request, and how to answer where that is refused.
pub(super) struct Authenticator {
    logins: Logins,
    kept: Mutex<HashMap<Scope, Kept>>,
}

/// A token is for one repository of one host.
#[derive(PartialEq, Eq, Hash)]
struct Scope {
    host: String,
    repository: String,
}

struct Kept {
    authorization: HeaderValue,
    expires: Instant,
}

/// What a request shows at first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) authorization: HeaderValue,
    /// A token that was asked for before, and could be asked for anew.
    pub(super) is_renewable: bool,
}

/// What a registry asks for in a 401.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

impl Authenticator {
    pub(super) fn new(logins: Logins) -> Self {
        Self { logins, kept: Mutex::default() }
    }

    /// Whether this host is shown any credentials.
    pub(super) fn knows(&self, host: &str) -> bool {
        !matches!(self.logins.of(host), Ok(Login::Anonymous))
    }

    /// What to send at first: what the last challenge led to, or a token that was configured.
    pub(super) fn first(&self, reference: &Reference) -> Result<Option<Shown>, RegistryError> {
        let login = self.logins.of(reference.host())?;
        if let Some(kept) = self.kept().get(&Scope::of(reference)).filter(|kept| kept.expires > Instant::now()) {
            let authorization = kept.authorization.clone();
            let is_renewable = !matches!(&login, Login::Basic(header) if *header == authorization);
            return Ok(Some(Shown { authorization, is_renewable }));
        }
        match login {
            Login::Bearer(authorization) => Ok(Some(Shown { authorization, is_renewable: false })),
            Login::Basic(_) | Login::Anonymous => Ok(None),
        }
    }

    /// What to send instead of `refused`, after a 401 with these `headers`.
    pub(super) async fn answer(
        &self,
        transport: &Transport,
        reference: &Reference,
        headers: &HeaderMap,
        refused: Option<&HeaderValue>,
    ) -> Result<HeaderValue, RegistryError> {
        let login = self.logins.of(reference.host())?;
        let unauthorized = || unauthorized(reference, reference.host().to_owned(), &login);
        let (authorization, life) = match (challenge(headers), &login) {
            (Some(Challenge::Basic), Login::Basic(header)) => (header.clone(), MAX_LIFE),
            (Some(Challenge::Bearer { realm, service, scope }), Login::Basic(_) | Login::Anonymous) => {
                let url = token_url(reference, &realm, service.as_deref(), scope.as_deref())?;
                fetch_token(transport, reference, url, &login).await?
            }
            _ => return Err(unauthorized()),
        };
        if refused == Some(&authorization) {
            return Err(unauthorized());
        }
        self.keep(reference, &authorization, life);
        Ok(authorization)
    }

    /// The error for a request that was refused whatever we sent.
    pub(super) fn refused(&self, reference: &Reference) -> RegistryError {
        self.kept().remove(&Scope::of(reference));
        match self.logins.of(reference.host()) {
            Ok(login) => unauthorized(reference, reference.host().to_owned(), &login),
            Err(error) => error,
        }
    }

    fn keep(&self, reference: &Reference, authorization: &HeaderValue, life: Duration) {
        if authorization.len() > MAX_KEPT_TOKEN {
            return;
        }
        let now = Instant::now();
        let mut kept = self.kept();
        if kept.len() >= MAX_KEPT {
            kept.retain(|_, kept| kept.expires > now);
        }
        // Full of living ones: nothing is lost but a request for a token.
        if kept.len() < MAX_KEPT {
            let expires = now + usable(life);
            kept.insert(Scope::of(reference), Kept { authorization: authorization.clone(), expires });
        }
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<Scope, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scope {
    fn of(reference: &Reference) -> Self {
        Self { host: reference.host().to_owned(), repository: reference.repository().to_owned() }
    }
}

fn unauthorized(reference: &Reference, host: String, login: &Login) -> RegistryError {
    let repository = reference.repository().to_owned();
    RegistryError::Unauthorized { host, repository, anonymous: *login == Login::Anonymous }
}

fn usable(life: Duration) -> Duration {
    let life = life.min(MAX_LIFE);
    life - SLACK.min(life / 4)
}

/// The challenge to answer: bearer where it is offered, since a token is the lesser secret to send.
pub(super) fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let challenges = texts.flat_map(|text| ChallengeParser::new(text).map_while(Result::ok)).filter_map(|c| read(&c));
    challenges.reduce(|first, next| if first == Challenge::Basic { next } else { first })
}

fn read(challenge: &ChallengeRef<'_>) -> Option<Challenge> {
    let param = |name: &str| {
        let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_unescaped())
    };
    if challenge.scheme.eq_ignore_ascii_case("bearer") {
        Some(Challenge::Bearer { realm: param("realm")?, service: param("service"), scope: param("scope") })
    } else {
        challenge.scheme.eq_ignore_ascii_case("basic").then_some(Challenge::Basic)
    }
}

pub(super) fn token_url(
    reference: &Reference,
    realm: &str,
    service: Option<&str>,
    scope: Option<&str>,
) -> Result<Url, RegistryError> {
    let mut url = Url::parse(realm).map_err(|_| odd(reference.host().to_owned(), "its token service is no URL"))?;
    let pull = format!("repository:{}:pull", reference.repository());
    url.query_pairs_mut()
        .extend_pairs(service.map(|service| ("service", service)))
        .append_pair("scope", scope.unwrap_or(&pull));
    Ok(url)
}

async fn fetch_token(
    transport: &Transport,
    reference: &Reference,
    url: Url,
    login: &Login,
) -> Result<(HeaderValue, Duration), RegistryError> {
    #[derive(Deserialize)]
    struct TokenResponse {
        token: Option<String>,
        access_token: Option<String>,
        expires_in: Option<u64>,
    }
    let authorization = match login {
        Login::Basic(header) => Some(header),
        Login::Bearer(_) | Login::Anonymous => None,
    };
    let response = transport.send(Method::GET, url, &HeaderMap::new(), authorization).await?;
    let service = host(response.url());
    match response.status() {
        status if status.is_success() => {}
        // A token service says 400 to a user that it does not know, too.
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            return Err(unauthorized(reference, service, login));
        }
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            return Err(unavailable(&response));
        }
        status => return Err(odd(service, format!("its token service answered {status}"))),
    }
    let body = transport.document(response, MAX_TOKEN_RESPONSE).await?;
    let no_token = || odd(service.clone(), "its token service sent no token");
    let answer: TokenResponse = serde_json::from_slice(&body).map_err(|_| no_token())?;
    let token = answer.token.or(answer.access_token).ok_or_else(no_token)?;
    let life = answer.expires_in.map_or(DEFAULT_LIFE, Duration::from_secs);
    Ok((bearer(&token).map_err(|_| no_token())?, life))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::registry::Credentials;

    fn challenge_in(texts: &[&'static str]) -> Option<Challenge> {
        challenge(&texts.iter().map(|text| (WWW_AUTHENTICATE, HeaderValue::from_static(text))).collect())
    }

    fn reference() -> Reference {
        Reference::parse("wasm/add", "registry.example").unwrap()
    }

    #[test]
    fn challenges_are_read_and_bearer_is_preferred() {
        let bearer = |scope: Option<&str>| {
            let (realm, service) = ("https://auth.example/token".to_owned(), Some("the \"registry\"".to_owned()));
            Some(Challenge::Bearer { realm, service, scope: scope.map(str::to_owned) })
        };
        let text =
            r#"Bearer realm="https://auth.example/token",service="the \"registry\"",scope="repository:a:pull,push""#;
        assert_eq!(challenge_in(&[text]), bearer(Some("repository:a:pull,push")));
        let both = r#"Basic realm="x", bEARER realm="https://auth.example/token",service="the \"registry\"""#;
        assert_eq!(challenge_in(&[both]), bearer(None));
        assert_eq!(challenge_in(&["Basic realm=\"x\"", text]), bearer(Some("repository:a:pull,push")));
    }

    #[test]
    fn what_is_no_challenge_is_passed_over() {
        assert_eq!(challenge_in(&[]), None);
        assert_eq!(
            challenge_in(&["Bearer service=\"x\"", "Negotiate", "\"", "Basic realm=\"x\""]),
            Some(Challenge::Basic)
        );
    }

    #[test]
    fn a_token_is_asked_for_with_service_and_scope() {
        let url = token_url(&reference(), "https://auth.example/token?a=b", Some("r e"), None).unwrap();
        assert_eq!(url.as_str(), "https://auth.example/token?a=b&service=r+e&scope=repository%3Awasm%2Fadd%3Apull");
        assert!(token_url(&reference(), "/token", None, None).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_not_used_in_its_last_seconds() {
        let authenticator = Authenticator::new(Logins::new(Credentials::Anonymous, "registry.example").unwrap());
        authenticator.keep(&reference(), &bearer("x").unwrap(), Duration::from_secs(60));
        tokio::time::advance(Duration::from_secs(49)).await;
        assert!(authenticator.first(&reference()).unwrap().is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(authenticator.first(&reference()).unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_a_bounded_number_of_tokens_is_kept() {
        let authenticator = Authenticator::new(Logins::new(Credentials::Anonymous, "registry.example").unwrap());
        let keep = |i: usize| {
            let reference = Reference::parse(&format!("wasm/{i}"), "registry.example").unwrap();
            authenticator.keep(&reference, &bearer("x").unwrap(), Duration::from_secs(60));
        };
        (0..2 * MAX_KEPT).for_each(keep);
        assert_eq!(authenticator.kept().len(), MAX_KEPT);
        tokio::time::advance(Duration::from_secs(60)).await;
        keep(0);
        assert_eq!(authenticator.kept().len(), 1);
    }

    #[tokio::test]
    async fn a_token_that_is_too_long_is_not_kept() {
        let authenticator = Authenticator::new(Logins::new(Credentials::Anonymous, "registry.example").unwrap());
        let token = bearer(&"x".repeat(MAX_KEPT_TOKEN)).unwrap();
        authenticator.keep(&reference(), &token, Duration::from_secs(60));
        assert_eq!(authenticator.first(&reference()).unwrap(), None);
    }

    proptest! {
        #[test]
        fn any_challenge_reads_back_however_it_is_written(
            scheme in "[Bb][Ee][Aa][Rr][Ee][Rr]",
            realm in "[ -~]{0,40}",
            service in prop::option::of("[ -~]{0,40}"),
            scope in prop::option::of("[ -~]{0,40}"),
            gap in "[ \t]{0,2}",
        ) {
            let quoted = |text: &str| text.replace('\\', r"\\").replace('"', r#"\""#);
            let params = [("realm", Some(&realm)), ("SERVICE", service.as_ref()), ("Scope", scope.as_ref())];
            let params = params.into_iter().filter_map(|(name, value)| Some(format!("{name}=\"{}\"", quoted(value?))));
            let text = format!("{scheme} {}", params.collect::<Vec<_>>().join(&format!(",{gap}")));
            let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, HeaderValue::from_str(&text).unwrap())]);
            prop_assert_eq!(challenge(&headers), Some(Challenge::Bearer { realm, service, scope }));
        }
    }
}
