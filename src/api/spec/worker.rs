//! How the process that does the work is run. In the schema, so that it can be relied on; mostly refused for now.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, ResourceRequirements, Toleration};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LocalObjectReference;
use crate::api::{rules, schema};

/// How the process that does the work is run.
#[derive(KubeSchema, Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerSpec {
    /// Who runs the worker: the controller (Managed), or a sidecar of yours that reports into this resource (External,
    /// not supported yet). Defaults to Managed.
    #[serde(default)]
    #[x_kube(validation = rules::WORKER_EXTERNAL)]
    pub management: Management,

    /// The service account of an External worker, which is granted this resource. Not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = rules::WORKER_SERVICE_ACCOUNT)]
    pub service_account_name: Option<String>,

    /// The CPU and memory that the worker's container asks for, and is limited to. Not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::resources")]
    #[x_kube(validation = rules::WORKER_RESOURCES)]
    pub resources: Option<ResourceRequirements>,

    /// The labels of the nodes that the worker's Pod may run on. Not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::string_map")]
    #[x_kube(validation = rules::WORKER_NODE_SELECTOR)]
    pub node_selector: Option<BTreeMap<String, String>>,

    /// The taints that the worker's Pod tolerates. Not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::tolerations")]
    #[x_kube(validation = rules::WORKER_TOLERATIONS)]
    pub tolerations: Option<Vec<Toleration>>,

    /// The nodes and Pods that the worker's Pod is drawn to or kept from. Not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::affinity")]
    #[x_kube(validation = rules::WORKER_AFFINITY)]
    pub affinity: Option<Affinity>,

    /// Labels to put on the worker's Pod. Not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::string_map")]
    #[x_kube(validation = rules::WORKER_POD_LABELS)]
    pub pod_labels: Option<BTreeMap<String, String>>,

    /// Annotations to put on the worker's Pod. Not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::string_map")]
    #[x_kube(validation = rules::WORKER_POD_ANNOTATIONS)]
    pub pod_annotations: Option<BTreeMap<String, String>>,

    /// The Secrets that the worker's image is pulled with. Not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = rules::WORKER_IMAGE_PULL_SECRETS)]
    pub image_pull_secrets: Option<Vec<LocalObjectReference>>,
}

/// Who runs the worker.
#[derive(JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Management {
    /// The controller.
    #[default]
    Managed,
    /// A sidecar.
    External,
}
