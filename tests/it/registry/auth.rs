//! Who may read, and who hears our secrets.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use axum::{body::Body, response::Response};
use wasmproxy::{
    registry::{Credentials, Registry, RegistryError, RegistryOptions},
    tls::{Identity, TlsOptions},
};

use super::servers::{
    certificates::Authority,
    registry::{Serving, Storage},
    stand_in::{Seen, StandIn, header},
    token::serve_tokens,
};
use super::{WASM, manifest, module, options, pull, refusal, registry};

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

async fn storage_with_a_module() -> Storage {
    let storage = Storage::new();
    storage.serve_openly().push("add:1", &[(WASM, &module(1000))]).await;
    storage
}

#[tokio::test]
async fn a_registry_that_asks_for_a_password_gets_it() {
    let storage = storage_with_a_module().await;
    let server = storage.serve(&Serving { basic: Some(("user", "secret")), ..Serving::default() });
    for credentials in [basic("secret"), docker_config(&server.host)] {
        assert_eq!(pull(&with(credentials, &server.host), "add:1").await.unwrap(), module(1000));
    }
    for (credentials, is_anonymous) in
        [(Credentials::Anonymous, true), (docker_config("other.example"), true), (basic("wrong"), false)]
    {
        let error = refusal(&with(credentials, &server.host), "add:1").await;
        assert!(!error.is_retryable() && !error.to_string().contains("wrong"));
        let RegistryError::Unauthorized { host, repository, anonymous } = error else { panic!("{error}") };
        assert_eq!((host, repository.as_str(), anonymous), (server.host.clone(), "add", is_anonymous));
    }
}

#[tokio::test]
async fn a_registry_that_names_a_token_service_gets_its_token_and_never_the_password() {
    let storage = storage_with_a_module().await;
    let authority = Authority::new();
    let tokens = serve_tokens(authority.issue("tokens"), USER).await;
    let realm = format!("http://{}/token", tokens.host);
    let server = storage.serve(&Serving { token: Some((&realm, &authority.certificate())), ..Serving::default() });

    assert_eq!(pull(&with(basic("secret"), &server.host), "add:1").await.unwrap(), module(1000));
    let path = "/token?service=tests&scope=repository%3Aadd%3Apull".to_owned();
    assert_eq!(tokens.seen(), [Seen { path, authorization: Some(USER.to_owned()) }], "one token for both requests");

    for (credentials, is_anonymous) in [(Credentials::Anonymous, true), (basic("wrong"), false)] {
        let error = refusal(&with(credentials, &server.host), "add:1").await;
        assert!(matches!(error, RegistryError::Unauthorized { anonymous, .. } if anonymous == is_anonymous), "{error}");
    }
}

#[tokio::test]
async fn a_ready_token_goes_to_the_registry_at_once() {
    let storage = storage_with_a_module().await;
    let authority = Authority::new();
    let tokens = serve_tokens(authority.issue("tokens"), USER).await;
    let realm = format!("http://{}/token", tokens.host);
    let server = storage.serve(&Serving { token: Some((&realm, &authority.certificate())), ..Serving::default() });
    let url = format!("{realm}?scope=repository:add:pull");
    let answer = reqwest::Client::new().get(url).header("authorization", USER).send().await.unwrap().bytes().await;
    let answer: serde_json::Value = serde_json::from_slice(&answer.unwrap()).unwrap();
    let token = answer["token"].as_str().unwrap();

    let ready = with(Credentials::Token(token.to_owned()), &server.host);
    assert_eq!(pull(&ready, "add:1").await.unwrap(), module(1000));
    assert_eq!(tokens.seen().len(), 1, "ours alone");
    let error = refusal(&with(Credentials::Token("stale".to_owned()), &server.host), "add:1").await;
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
    let reference = wasmproxy::registry::Reference::parse("add:1", registry.host()).unwrap();
    for _ in 0..2 {
        registry.resolve(&reference).await.unwrap();
    }
    assert_eq!(server.seen().len(), 4, "refused, token, answered; and answered at once");
    valid.store(2, Ordering::SeqCst);
    registry.resolve(&reference).await.unwrap();
    assert_eq!(server.seen().len(), 7, "refused, token, answered");
}

#[tokio::test]
async fn a_password_does_not_follow_to_another_host() {
    let bytes = module(1000);
    let blob = bytes.clone();
    let elsewhere = StandIn::start(move |_| Response::new(Body::from(blob.clone()))).await;
    let target = format!("http://{}/blob?signature=x", elsewhere.host);
    let manifest = manifest(&bytes);
    let server = StandIn::start(move |request| {
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
    .await;
    assert_eq!(pull(&with(basic("secret"), &server.host), "add:1").await.unwrap(), bytes);
    assert_eq!(elsewhere.seen(), [Seen { path: "/blob?signature=x".to_owned(), authorization: None }]);
}

#[tokio::test]
async fn a_registry_is_trusted_by_its_authority_and_nobody_else() {
    let storage = storage_with_a_module().await;
    let authority = Authority::new();
    let pair = authority.issue("registry");
    let server = storage.serve(&Serving { tls: Some(&pair), ..Serving::default() });
    let trusting = |authority: &Authority| {
        let ca = std::fs::read(authority.certificate()).ok();
        let tls = TlsOptions { ca, ..TlsOptions::default() };
        Registry::new(RegistryOptions { tls, plain_http: false, ..options(&server.host) }).unwrap()
    };
    assert_eq!(pull(&trusting(&authority), "add:1").await.unwrap(), module(1000));
    let error = refusal(&trusting(&Authority::new()), "add:1").await;
    assert!(matches!(error, RegistryError::Handshake { .. }) && !error.is_retryable(), "{error}");
}

#[tokio::test]
async fn the_client_certificate_is_shown_to_the_configured_registry_alone() {
    let storage = storage_with_a_module().await;
    let authority = Authority::new();
    let pair = authority.issue("registry");
    let ca = authority.certificate();
    let server = storage.serve(&Serving { tls: Some(&pair), client_ca: Some(&ca), ..Serving::default() });
    let client = authority.issue("client");
    let showing = |identity: Option<&Identity>, to: &str| {
        let tls = TlsOptions { ca: std::fs::read(&ca).ok(), identity: identity.cloned(), ..TlsOptions::default() };
        Registry::new(RegistryOptions { tls, plain_http: false, ..options(to) }).unwrap()
    };
    let identity = Identity { certificate: client.certificate(), key: client.key() };
    let name = format!("{}/add:1", server.host);
    assert_eq!(pull(&showing(Some(&identity), &server.host), &name).await.unwrap(), module(1000));
    for registry in [showing(None, &server.host), showing(Some(&identity), "registry.example")] {
        let error = refusal(&registry, &name).await;
        assert!(matches!(error, RegistryError::Handshake { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_registry_without_tls_is_told_apart_from_one_that_is_away() {
    let storage = storage_with_a_module().await;
    let server = storage.serve_openly();
    let over_tls = Registry::new(RegistryOptions { plain_http: false, ..options(&server.host) }).unwrap();
    let error = refusal(&over_tls, "add:1").await;
    assert!(matches!(error, RegistryError::Handshake { .. }), "{error}");
    let host = server.host.clone();
    drop(server);
    let error = refusal(&registry(&host), "add:1").await;
    assert!(matches!(error, RegistryError::Unavailable { .. }) && error.is_retryable(), "{error}");
}
