//! Workers in Pods: which image they have, and how many of them are replaced at a time.

use std::{env, num::NonZeroUsize, time::Duration};

use clap::Args;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use tokio::time::sleep;
use tracing::{info, warn};

use crate::{
    controller::PodOptions,
    resource::api_server::{ApiError, in_time},
};

/// Between two questions to an API server that is away.
const RETRY: Duration = Duration::from_secs(2);
/// The variables by which a Pod tells its containers which Pod they are in.
const OWN_POD: [&str; 2] = ["POD_NAMESPACE", "POD_NAME"];
/// The name of the controller's container, where its Pod has several.
const CONTAINER: &str = "controller";

/// The arguments for workers in Pods.
#[derive(Debug, Args)]
pub(super) struct PodArgs {
    /// Image of workers in Pods [default: the one that this controller runs from]
    #[arg(long, env = "WASMPROXY_WORKER_IMAGE")]
    worker_image: Option<String>,
    /// Workers whose Pods are replaced at a time, when this controller is not the one that made them
    #[arg(long, env = "WASMPROXY_WORKER_ROLLOUT", default_value_t = PodOptions::ROLLOUT, value_parser = at_least_one)]
    worker_rollout: NonZeroUsize,
}

/// Why the image of the workers is not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoImage {
    #[error(
        "--worker-image: say which image workers are to run from; it is found only where POD_NAME and POD_NAMESPACE are set"
    )]
    Unsaid,
    #[error("--worker-image: Pod {pod} does not show which of its images is this controller's; say it")]
    Unclear { pod: String },
    #[error(
        "--worker-image: Pod {pod} cannot be read to find this controller's image: {source}; say it, or allow to get pods"
    )]
    Unreadable { pod: String, source: ApiError },
}

fn at_least_one(text: &str) -> Result<NonZeroUsize, &'static str> {
    text.parse().map_err(|_| "say a whole number, 1 at least")
}

impl PodArgs {
    /// How workers in Pods are to be run. Waits for an API server that is away, if it has to be asked.
    pub async fn options(&self, client: &Client) -> Result<PodOptions, NoImage> {
        // An empty variable is as good as none.
        let image = match self.worker_image.as_ref().filter(|image| !image.is_empty()) {
            Some(image) => image.clone(),
            None => own_image(client).await?,
        };
        Ok(PodOptions { image, rollout: self.worker_rollout })
    }
}

async fn own_image(client: &Client) -> Result<String, NoImage> {
    let [Some(namespace), Some(pod)] = OWN_POD.map(|name| env::var(name).ok().filter(|value| !value.is_empty())) else {
        return Err(NoImage::Unsaid);
    };
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    loop {
        match in_time(pods.get(&pod)).await {
            Ok(found) => {
                let image = image_of(&found).ok_or(NoImage::Unclear { pod })?;
                info!(image, "workers run from this controller's image");
                return Ok(image);
            }
            Err(source) if source.code().is_some_and(|code| (400..500).contains(&code) && code != 429) => {
                return Err(NoImage::Unreadable { pod, source });
            }
            Err(error) => warn!(%error, "waiting for the API server, to find this controller's image"),
        }
        sleep(RETRY).await;
    }
}

fn image_of(pod: &Pod) -> Option<String> {
    let containers = &pod.spec.as_ref()?.containers;
    let ours = match containers.as_slice() {
        [only] => only,
        several => several.iter().find(|container| container.name == CONTAINER)?,
    };
    ours.image.clone()
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value, reason = "`json!` reads better without a reference in front")]
mod tests {
    use serde_json::json;

    use super::*;

    fn image(containers: serde_json::Value) -> Option<String> {
        image_of(&serde_json::from_value(json!({"metadata": {}, "spec": {"containers": containers}})).unwrap())
    }

    #[test]
    fn a_rollout_is_of_one_worker_at_least() {
        assert_eq!(at_least_one("3").map(NonZeroUsize::get), Ok(3));
        assert_eq!(at_least_one("0"), Err("say a whole number, 1 at least"));
    }

    #[test]
    fn the_image_of_a_pod_is_that_of_its_only_container_or_of_the_controllers() {
        let (ours, other) = (json!({"name": "a", "image": "ours"}), json!({"name": "mesh", "image": "other"}));
        assert_eq!(image(json!([ours])).as_deref(), Some("ours"));
        assert_eq!(image(json!([ours, other])), None);
        let named = json!({"name": "controller", "image": "ours"});
        assert_eq!(image(json!([other, named])).as_deref(), Some("ours"));
    }
}
