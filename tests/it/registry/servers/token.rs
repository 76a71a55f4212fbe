//! A token service for the registry: it signs what the registry's token specification asks for.

use std::{
    io::Write,
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::{
    certificates::Pair,
    stand_in::{StandIn, header},
};

/// Starts a service that knows one user, by its `Authorization` header, and lets it pull whatever it asks for.
pub async fn serve_tokens(key: Pair, user: &'static str) -> StandIn {
    let key = std::sync::Arc::new(key);
    StandIn::start(move |request| answer(&key, user, request)).await
}

fn answer(key: &Pair, user: &str, request: &Request) -> Response {
    if header(request, "authorization") != Some(user) {
        return Response::builder().status(401).body(Body::empty()).unwrap();
    }
    let query: Vec<_> = url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).collect();
    let scope = query.iter().find(|(key, _)| key == "scope").map_or("", |(_, scope)| scope);
    let repository = scope.split(':').nth(1).unwrap_or_default();
    let access = json!([{ "type": "repository", "name": repository, "actions": ["pull"] }]);
    json!({ "token": sign(key, &access), "expires_in": 300 }).to_string().into_response()
}

fn sign(key: &Pair, access: &serde_json::Value) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let pem = String::from_utf8(key.certificate()).unwrap();
    let der: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let header = json!({ "typ": "JWT", "alg": "RS256", "x5c": [der] });
    let claims = json!({
        "iss": "tests", "aud": "tests", "sub": "tests", "jti": "1",
        "iat": now, "nbf": now - 10, "exp": now + 300, "access": access,
    });
    let signed = format!("{}.{}", base64(header.to_string().as_bytes()), base64(claims.to_string().as_bytes()));
    let mut openssl = Command::new("openssl")
        .args(["dgst", "-sha256", "-sign"])
        .arg(&key.key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    openssl.stdin.take().unwrap().write_all(signed.as_bytes()).unwrap();
    format!("{signed}.{}", base64(&openssl.wait_with_output().unwrap().stdout))
}

fn base64(bytes: &[u8]) -> String {
    base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes)
}
