//! The API server that tests talk to.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams},
    runtime::wait::{await_condition, conditions::is_crd_established},
};
use tokio::sync::OnceCell;

static DEFINITION: OnceCell<()> = OnceCell::const_new();

/// A client of the API server that `KUBECONFIG` names, which knows the resource.
pub async fn client() -> Client {
    wasmproxy::tls::install_provider();
    let client = Client::try_default().await.expect("KUBECONFIG names an API server");
    DEFINITION.get_or_init(|| install(client.clone())).await;
    client
}

async fn install(client: Client) {
    let crds: Api<CustomResourceDefinition> = Api::all(client);
    let crd = wasmproxy::api::crd();
    crds.patch(&crd.name_any(), &PatchParams::apply("tests").force(), &Patch::Apply(&crd))
        .await
        .expect("the API server accepts the definition");
    let established = await_condition(crds, "wasmproxies.wasmproxy.io", is_crd_established());
    tokio::time::timeout(Duration::from_secs(30), established).await.expect("in time").expect("a watch");
}
