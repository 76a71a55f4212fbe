//! What the schema holds and no worker does: refused, never ignored.

use serde_json::json;

use super::refused;

#[tokio::test]
async fn signatures() {
    let sentence = "verify: signatures are not checked, because that is not supported yet";
    let identity = json!({"issuer": "^https://issuer$", "subject": "^someone$"});
    for verify in [
        json!({}),
        json!({"provider": "cosign", "secretRef": {"name": "keys"}}),
        json!({"matchOIDCIdentity": [identity], "trustedRootSecretRef": {"name": "root"}}),
    ] {
        refused(json!({"spec": {"verify": verify}}), sentence).await;
    }
}

#[tokio::test]
async fn a_limit_on_the_rate_of_requests() {
    let sentence = "limits.requestsPerSecond: a limit on the rate of requests is not supported yet";
    refused(json!({"spec": {"limits": {"requestsPerSecond": 50}}}), sentence).await;
}
