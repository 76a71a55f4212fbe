//! How the process that does the work is run.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, ResourceRequirements, Toleration};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LocalObjectReference;
use crate::api::{rules, schema};

/// How the process that does the work is run. What is said of its Pod has no effect where workers run in the
/// controller's own process.
#[derive(KubeSchema, Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::WORKER_EXTERNAL_ACCOUNT,
    validation = rules::WORKER_MANAGED_ACCOUNT,
    validation = rules::WORKER_EXTERNAL_POD
)]
pub struct WorkerSpec {
    /// Who runs the worker: the controller (Managed), or you (External), as a sidecar that reports into this resource.
    /// Defaults to Managed.
    #[serde(default)]
    pub management: Management,

    /// The service account that an External worker runs as, in the same namespace. It is granted this resource and its
    /// status, and nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = rules::WORKER_ACCOUNT_NAME)]
    pub service_account_name: Option<String>,

    /// The CPU and memory that the worker's container asks for, and is limited to. What is left out is chosen by the
    /// controller: 10m of CPU without a limit, and memory by chunkSize, 64Mi with a limit of 128Mi at the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::resources")]
    #[x_kube(validation = rules::WORKER_QUANTITIES)]
    pub resources: Option<ResourceRequirements>,

    /// The labels of the nodes that the worker's Pod may run on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::labels")]
    pub node_selector: Option<BTreeMap<String, String>>,

    /// The taints that the worker's Pod tolerates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::tolerations")]
    pub tolerations: Option<Vec<Toleration>>,

    /// The nodes and Pods that the worker's Pod is drawn to or kept from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::affinity")]
    pub affinity: Option<Affinity>,

    /// Labels to put on the worker's Pod, besides the controller's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::labels")]
    #[x_kube(
        validation = rules::WORKER_LABEL_KEYS,
        validation = rules::WORKER_LABEL_VALUES,
        validation = rules::WORKER_LABELS_OURS
    )]
    pub pod_labels: Option<BTreeMap<String, String>>,

    /// Annotations to put on the worker's Pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::annotations")]
    #[x_kube(validation = rules::WORKER_ANNOTATION_KEYS, validation = rules::WORKER_ANNOTATIONS_OURS)]
    pub pod_annotations: Option<BTreeMap<String, String>>,

    /// The Secrets that the worker's image is pulled with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["name".into()]))]
    pub image_pull_secrets: Option<Vec<LocalObjectReference>>,
}

/// Who runs the worker.
#[derive(JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Management {
    /// The controller.
    #[default]
    Managed,
    /// Whoever wrote the resource, as a sidecar.
    External,
}
