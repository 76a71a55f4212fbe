//! Who may read, and who hears our secrets.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use axum::{body::Body, response::Response};
use wasmproxy::{
    registry::{Credentials, Registry, RegistryError, RegistryOptions},
    tls::TlsOptions,
};

use super::servers::{
    stand_in::{Seen, StandIn, header},
    token::serve_tokens,
};
use super::{manifest, module, options, pull, refusal, registry, resolve};
use crate::lab::{self, Pki, RegistryConfig, Transport};

/// `user:secret`.
const USER: &str = "Basic dXNlcjpzZWNyZXQ=";

fn basic(password: &str) -> Credentials {
    Credentials::Basic { username: "user".to_owned(), password: password.to_owned() }
}

fn docker_config(host: &str) -> Credentials {
    Credentials::DockerConfig(format!(r#"{{"auths": {{"{host}": {{"auth": "dXNlcjpzZWNyZXQ="}}}}}}"#))
}

fn with(credentials: Credentials, host: &str) -> Registry {
    Registry::new(RegistryOptions { credentials, ..options(host) }).unwrap()
}

/// A registry of this kind that holds a module; it was open to all when the module was pushed.
async fn serving(config: RegistryConfig) -> lab::Registry {
    let mut server = lab::Registry::start().await;
    server.push("add:1", module(1000)).await;
    server.start_again_as(config).await;
    server
}

/// A token service and a registry that sends clients to it.
async fn serving_with_tokens() -> (StandIn, lab::Registry) {
    let pki = Pki::new();
    let tokens = serve_tokens(pki.issue("tokens", "DNS:localhost"), USER).await;
    let config = RegistryConfig::default().token(format!("http://{}/token", tokens.host), &pki.ca_file());
    let server = serving(config).await;
    (tokens, server)
}

/// A registry's client over TLS.
fn over_tls(tls: TlsOptions, host: &str) -> Registry {
    Registry::new(RegistryOptions { tls, plain_http: false, ..options(host) }).unwrap()
}

#[tokio::test]
async fn a_registry_that_asks_for_a_password_gets_it() {
    let server = serving(RegistryConfig::default().user("user", "secret")).await;
    for credentials in [basic("secret"), docker_config(&server.host())] {
        assert_eq!(pull(&with(credentials, &server.host()), "add:1").await.unwrap(), module(1000));
    }
    for (credentials, is_anonymous) in
        [(Credentials::Anonymous, true), (docker_config("other.example"), true), (basic("wrong"), false)]
    {
        let error = refusal(&with(credentials, &server.host()), "add:1").await;
        assert!(!error.is_retryable() && !error.to_string().contains("wrong"));
        let RegistryError::Unauthorized { host, repository, anonymous } = error else { panic!("{error}") };
        assert_eq!((host, repository.as_str(), anonymous), (server.host(), "add", is_anonymous));
    }
}

#[tokio::test]
async fn a_registry_that_names_a_token_service_gets_its_token_and_never_the_password() {
    let (tokens, server) = serving_with_tokens().await;

    assert_eq!(pull(&with(basic("secret"), &server.host()), "add:1").await.unwrap(), module(1000));
    let path = "/token?service=lab&scope=repository%3Aadd%3Apull".to_owned();
    assert_eq!(tokens.seen(), [Seen { path, authorization: Some(USER.to_owned()) }], "one token for both requests");

    for (credentials, is_anonymous) in [(Credentials::Anonymous, true), (basic("wrong"), false)] {
        let error = refusal(&with(credentials, &server.host()), "add:1").await;
        assert!(matches!(error, RegistryError::Unauthorized { anonymous, .. } if anonymous == is_anonymous), "{error}");
    }
}

#[tokio::test]
async fn a_ready_token_goes_to_the_registry_at_once() {
    let (tokens, server) = serving_with_tokens().await;
    let url = format!("http://{}/token?scope=repository:add:pull", tokens.host);
    let answer = reqwest::Client::new().get(url).header("authorization", USER).send().await.unwrap().bytes().await;
    let answer: serde_json::Value = serde_json::from_slice(&answer.unwrap()).unwrap();
    let token = answer["token"].as_str().unwrap();

    let ready = with(Credentials::Token(token.to_owned()), &server.host());
    assert_eq!(pull(&ready, "add:1").await.unwrap(), module(1000));
    assert_eq!(tokens.seen().len(), 1, "ours alone");
    let error = refusal(&with(Credentials::Token("stale".to_owned()), &server.host()), "add:1").await;
    assert!(matches!(error, RegistryError::Unauthorized { anonymous: false, .. }));
}

#[tokio::test]
async fn a_token_that_is_no_longer_taken_is_replaced_once() {
    let valid = Arc::new(AtomicU32::new(1));
    let current = valid.clone();
    let server = StandIn::start(move |request| {
        let current = current.load(Ordering::SeqCst);
        let response = Response::builder();
        if request.uri().path() == "/token" {
            return response.body(Body::from(format!(r#"{{"access_token": "{current}"}}"#))).unwrap();
        }
        if header(request, "authorization") == Some(&format!("Bearer {current}")) {
            return response.body(Body::from(manifest(&module(100)))).unwrap();
        }
        let challenge = format!("Bearer realm=\"http://{}/token\"", header(request, "host").unwrap());
        response.status(401).header("www-authenticate", challenge).body(Body::empty()).unwrap()
    })
    .await;
    let registry = registry(&server.host);
    for name in ["add:1", "add:2"] {
        resolve(&registry, name).await.unwrap();
    }
    assert_eq!(server.seen().len(), 4, "refused, token, answered; and answered at once");
    valid.store(2, Ordering::SeqCst);
    resolve(&registry, "add:3").await.unwrap();
    assert_eq!(server.seen().len(), 7, "refused, token, answered");
}

/// A registry that wants a password, and has its blobs at `target`.
async fn with_blobs_at(target: String, manifest: String) -> StandIn {
    StandIn::start(move |request| {
        let response = Response::builder();
        match header(request, "authorization") {
            None => response.status(401).header("www-authenticate", "Basic realm=\"x\"").body(Body::empty()),
            Some(_) if request.uri().path().contains("/blobs/") => {
                response.status(307).header("location", &target).body(Body::empty())
            }
            Some(_) => response.body(Body::from(manifest.clone())),
        }
        .unwrap()
    })
    .await
}

#[tokio::test]
async fn a_password_does_not_follow_to_another_host() {
    let bytes = module(1000);
    let blob = bytes.clone();
    let elsewhere = StandIn::start(move |_| Response::new(Body::from(blob.clone()))).await;
    let target = format!("http://{}/blob?signature=x", elsewhere.host);
    let server = with_blobs_at(target, manifest(&bytes)).await;
    assert_eq!(pull(&with(basic("secret"), &server.host), "add:1").await.unwrap(), bytes);
    assert_eq!(elsewhere.seen(), [Seen { path: "/blob?signature=x".to_owned(), authorization: None }]);
}

#[tokio::test]
async fn a_registry_is_trusted_by_its_authority_and_nobody_else() {
    let server = serving(RegistryConfig::default().transport(Transport::Tls)).await;
    let stranger = TlsOptions { ca: Some(Pki::new().ca()), ..TlsOptions::default() };
    assert_eq!(pull(&over_tls(server.tls(), &server.host()), "add:1").await.unwrap(), module(1000));
    let error = refusal(&over_tls(stranger, &server.host()), "add:1").await;
    assert!(matches!(error, RegistryError::Handshake { .. }) && !error.is_retryable(), "{error}");
}

#[tokio::test]
async fn the_client_certificate_is_shown_to_the_configured_registry_alone() {
    let server = serving(RegistryConfig::default().transport(Transport::MutualTls)).await;
    let showing = server.tls();
    let hiding = TlsOptions { identity: None, ..showing.clone() };
    let name = format!("{}/add:1", server.host());
    assert_eq!(pull(&over_tls(showing.clone(), &server.host()), &name).await.unwrap(), module(1000));
    for registry in [over_tls(hiding, &server.host()), over_tls(showing, "registry.example")] {
        let error = refusal(&registry, &name).await;
        assert!(matches!(error, RegistryError::Handshake { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_registry_without_tls_is_told_apart_from_one_that_is_away() {
    let server = lab::Registry::start().await;
    server.push("add:1", module(1000)).await;
    let host = server.host();
    let error = refusal(&over_tls(options(&host).tls, &host), "add:1").await;
    assert!(matches!(error, RegistryError::Handshake { .. }), "{error}");
    drop(server);
    let error = refusal(&registry(&host), "add:1").await;
    assert!(matches!(error, RegistryError::Unavailable { .. }) && error.is_retryable(), "{error}");
}

#[tokio::test]
async fn whom_the_registry_sends_us_to_does_not_choose_who_hears_the_password() {
    let listener = StandIn::start(|_| Response::new(Body::from(r#"{"token": "x"}"#))).await;
    let challenge = format!("Bearer realm=\"http://{}/token\"", listener.host);
    let store = StandIn::start(move |_| {
        Response::builder().status(401).header("www-authenticate", &challenge).body(Body::empty()).unwrap()
    })
    .await;
    let target = format!("http://{}/blob", store.host);
    let server = with_blobs_at(target, manifest(&module(1000))).await;
    let registry = with(basic("secret"), &server.host);
    let error = refusal(&registry, "add:1").await;
    assert!(matches!(&error, RegistryError::InvalidResponse { host, .. } if *host == store.host), "{error}");
    assert_eq!(listener.seen(), []);
    let before = server.seen().len();
    resolve(&registry, "add:2").await.unwrap();
    assert_eq!(server.seen().len(), before + 1, "the registry's own credentials are still good");
}
