//! What volumes hold, and how it changes.

use k8s_openapi::api::{
    authentication::v1::{SelfSubjectReview, UserInfo},
    core::v1::ServiceAccount,
};
use kube::{
    Client, Config,
    api::{Api, PostParams},
    config::KubeConfigOptions,
};
use serde_json::{Value, json};

use super::{Site, first, is_ready, script, waits_for};
use crate::{
    lab::{Container, ControlPlane},
    waiting::soon,
};

/// A Pod that says whatever becomes of the Secret `broker`.
fn watcher(optional: bool) -> Value {
    let say = "while :; do\n\
               now=$(cat /secrets/* 2> /dev/null | sort | tr '\\n' ' ')\n\
               [ \"$now\" = \"${last-none}\" ] || echo \"$now|\"\n\
               last=$now; sleep 0.1; done &";
    let mut container = script("worker", say);
    container["volumeMounts"] = json!([{"name": "secret", "mountPath": "/secrets", "readOnly": true}]);
    json!({
        "terminationGracePeriodSeconds": 1,
        "volumes": [{"name": "secret", "secret": {"secretName": "broker", "optional": optional}}],
        "containers": [container],
    })
}

#[tokio::test]
async fn an_optional_secret_comes_changes_and_goes_while_the_pod_runs() {
    let site = Site::start().await;
    site.pod("line", watcher(true)).await;
    let worker = site.kubelet.running("line").await;
    worker.line("|").await;
    assert_eq!(
        worker.log().iter().find(|line| line.ends_with('|')).unwrap(),
        "|",
        "there is a folder, and it is empty"
    );

    site.secret("broker", json!({"username": "worker\n", "password": "old\n"})).await;
    worker.line("old worker |").await;
    site.secret("broker", json!({"username": "worker\n", "password": "new\n"})).await;
    worker.line("new worker |").await;
    assert_eq!(worker.read("/secrets/..data/password").as_deref(), Some("new\n"));

    let held = site.kubelet.hold_volumes().await;
    site.secret("broker", json!({"username": "worker\n", "password": "held\n"})).await;
    site.pod("late", watcher(true)).await;
    site.kubelet.running("late").await.line("held worker |").await;
    let password = worker.read("/secrets/password");
    assert_eq!(password.as_deref(), Some("new\n"), "only Pods that begin see the change");
    drop(held);
    worker.line("held worker |").await;

    site.delete_secret("broker").await;
    while worker.read("/secrets/password").is_some() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_secret_that_is_not_optional_is_waited_for() {
    let site = Site::start().await;
    site.pod("line", watcher(false)).await;
    let names_it = |status: &_| {
        let waiting = first(status).and_then(|container| container.state.clone()?.waiting);
        waits_for(status) == Some("ContainerCreating")
            && waiting.unwrap().message.is_some_and(|m| m.contains("\"broker\" not found"))
    };
    site.until("line", names_it).await;
    site.secret("broker", json!({"password": "late\n"})).await;
    site.kubelet.running("line").await.line("late |").await;
    site.until("line", is_ready).await;
}

/// A file of what a container is given to know the cluster by.
fn given(container: &Container, name: &str) -> String {
    container.read(&format!("/var/run/secrets/kubernetes.io/serviceaccount/{name}")).unwrap()
}

/// Who somebody with this token is.
async fn whoami(authority: &str, token: &str) -> Result<UserInfo, kube::Error> {
    let server = format!("https://127.0.0.1:{}", ControlPlane::shared().await.port());
    let kubeconfig = json!({
        "current-context": "pod",
        "clusters": [{"name": "pod", "cluster": {"server": server, "certificate-authority-data": base64(authority)}}],
        "users": [{"name": "pod", "user": {"token": token}}],
        "contexts": [{"name": "pod", "context": {"cluster": "pod", "user": "pod"}}],
    });
    let kubeconfig = serde_json::from_value(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let reviews: Api<SelfSubjectReview> = Api::all(Client::try_from(config).unwrap());
    let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await?;
    Ok(review.status.unwrap().user_info.unwrap())
}

fn base64(text: &str) -> String {
    base64_simd::STANDARD.encode_to_string(text)
}

#[tokio::test]
async fn a_token_is_that_of_the_pods_service_account_for_as_long_as_the_pod_is_there() {
    let site = Site::start().await;
    let accounts: Api<ServiceAccount> = Api::namespaced(site.client.clone(), &site.namespace);
    let account = serde_json::from_value(json!({"metadata": {"name": "line-worker"}})).unwrap();
    accounts.create(&PostParams::default(), &account).await.unwrap();
    let spec = json!({"serviceAccountName": "line-worker", "containers": [script("worker", "")]});
    let run = async |name| {
        site.pod(name, spec.clone()).await;
        let container = site.kubelet.running(name).await;
        container.line("waiting").await;
        container
    };
    let (line, other) = (run("line").await, run("other").await);
    let (authority, token) = (given(&line, "ca.crt"), given(&line, "token"));
    let (namespace, user) = (&site.namespace, whoami(&authority, &token).await.unwrap());
    assert_eq!(given(&line, "namespace"), *namespace);
    assert_eq!(user.username, Some(format!("system:serviceaccount:{namespace}:line-worker")));
    assert_eq!(user.extra.unwrap()["authentication.kubernetes.io/pod-name"], ["line"]);

    // One that the API server has not seen yet: those that it has it remembers for ten seconds.
    let token = given(&other, "token");
    site.delete("other").await;
    site.until_gone("other").await;
    let refused = async {
        loop {
            // Pods reach those who check tokens by a watch of theirs.
            if let Err(refused) = whoami(&authority, &token).await {
                return refused;
            }
        }
    };
    let refused = soon("the end of a token", refused).await;
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 401), "{refused}");
}
