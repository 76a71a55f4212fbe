//! A token service for the registry: it signs what the registry's token specification asks for.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use axum::{
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::json;
use wasmproxy::tls::Identity;

use super::stand_in::{StandIn, header};

/// Starts a service that knows one user, by its `Authorization` header, and lets it pull whatever it asks for.
pub async fn serve_tokens(key: Identity, user: &'static str) -> StandIn {
    let key = std::sync::Arc::new(key);
    StandIn::start(move |request| answer(&key, user, request)).await
}

fn answer(key: &Identity, user: &str, request: &Request) -> Response {
    if header(request, "authorization") != Some(user) {
        return Response::builder().status(401).body(Body::empty()).unwrap();
    }
    let query: Vec<_> = url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).collect();
    let scope = query.iter().find(|(key, _)| key == "scope").map_or("", |(_, scope)| scope);
    let repository = scope.split(':').nth(1).unwrap_or_default();
    let access = json!([{ "type": "repository", "name": repository, "actions": ["pull"] }]);
    json!({ "token": sign(key, &access), "expires_in": 300 }).to_string().into_response()
}

fn sign(key: &Identity, access: &serde_json::Value) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let certificate = base64_simd::STANDARD.encode_to_string(CertificateDer::from_pem_slice(&key.certificate).unwrap());
    let header = json!({ "typ": "JWT", "alg": "ES256", "x5c": [certificate] });
    let claims = json!({
        "iss": "lab", "aud": "lab", "sub": "user", "jti": "1",
        "iat": now, "nbf": now - 10, "exp": now + 300, "access": access,
    });
    let signed = format!("{}.{}", base64(header.to_string().as_bytes()), base64(claims.to_string().as_bytes()));
    let key = PrivateKeyDer::from_pem_slice(&key.key).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_der()).unwrap();
    let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("{signed}.{}", base64(signature.as_ref()))
}

fn base64(bytes: &[u8]) -> String {
    base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes)
}
