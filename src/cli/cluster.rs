//! The cluster, and names in it, as the command line says them.

use std::{env, error::Error as _};

use kube::{
    Config,
    config::{InClusterError, InferConfigError, KubeconfigError},
};

/// Why there is no cluster to talk to.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoCluster {
    #[error("the service account of this Pod cannot be used: {0}; is automountServiceAccountToken false?")]
    Pod(InClusterError),
    #[error("no cluster is configured: set KUBECONFIG, or run in a Pod ({0})")]
    Kubeconfig(String),
}

/// The cluster that kubectl would find, or this Pod's.
pub(super) async fn config() -> Result<Config, NoCluster> {
    match Config::infer().await {
        Ok(config) => Ok(config),
        Err(_) if env::var_os("KUBERNETES_SERVICE_HOST").is_some() => Config::incluster().map_err(NoCluster::Pod),
        Err(error) => Err(NoCluster::outside(&error)),
    }
}

impl NoCluster {
    /// Outside of a Pod nobody wants to hear what is missing for one.
    fn outside(error: &InferConfigError) -> Self {
        let kubeconfig = error.source().and_then(|source| source.downcast_ref::<KubeconfigError>());
        Self::Kubeconfig(kubeconfig.map_or_else(|| error.to_string(), sentence))
    }
}

fn sentence(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::ReadConfig(source, path) => format!("{} cannot be read: {source}", path.display()),
        error => error.to_string(),
    }
}

/// A name of a namespace, or nothing at all.
pub(super) fn namespace(text: &str) -> Result<String, &'static str> {
    if text.len() > 63 || !text.chars().all(is_inner) || text.starts_with('-') || text.ends_with('-') {
        return Err(
            "a namespace is named by up to 63 lower case letters, digits and hyphens, with no hyphen at an end",
        );
    }
    Ok(text.to_owned())
}

/// A name of a resource, or nothing at all.
pub(super) fn resource(text: &str) -> Result<String, &'static str> {
    let is_part = |part: &str| part.chars().all(is_inner) && !part.starts_with('-') && !part.ends_with('-');
    let is_name = text.split('.').all(|part| !part.is_empty() && is_part(part));
    if text.len() > 52 || !text.is_empty() && !is_name {
        return Err(
            "a resource is named by up to 52 lower case letters, digits, hyphens and dots, as in factory-floor",
        );
    }
    Ok(text.to_owned())
}

fn is_inner(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_namespace_is_refused() {
        for odd in ["a/b", "A b", "-a", "a-", "a.b", &"a".repeat(64)] {
            assert!(namespace(odd).is_err(), "{odd}");
        }
        assert_eq!(namespace("edge-1").as_deref(), Ok("edge-1"));
        assert_eq!(namespace("").as_deref(), Ok(""), "an empty variable is as good as none");
    }

    #[test]
    fn what_cannot_be_a_resource_is_refused() {
        for odd in ["a/b", "Floor", "-a", "a-", ".a", "a.", "a..b", "a_b", &"a".repeat(53)] {
            assert!(resource(odd).is_err(), "{odd}");
        }
        assert_eq!(resource("line-1.floor").as_deref(), Ok("line-1.floor"));
        assert_eq!(resource("").as_deref(), Ok(""), "an empty variable is as good as none");
    }

    #[test]
    fn a_kubeconfig_that_is_not_there_is_named() {
        let source = std::io::Error::other("no such file");
        let said = sentence(&KubeconfigError::ReadConfig(source, "/home/me/.kube/config".into()));
        assert_eq!(said, "/home/me/.kube/config cannot be read: no such file");
    }
}
