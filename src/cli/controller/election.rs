//! How replicas agree on who leads, as the command line says it.

use std::{env, ffi::OsString, fs, path::Path, time::Duration};

use clap::{ArgAction, Args};
use data_encoding::BASE32_NOPAD;

use crate::cli::cluster;
use crate::controller::{InvalidTerms, LeaderElection, Terms};

/// Where a Pod finds the namespace it is in.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// The options of leader election.
#[derive(Args)]
#[command(next_help_heading = "Leader election")]
pub(super) struct ElectionArgs {
    /// Whether replicas agree on one that leads, by a Lease; without, there must be no other
    #[arg(
        long, env = "WASMPROXY_LEADER_ELECTION", value_name = "BOOL", action = ArgAction::Set,
        num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = true
    )]
    leader_election: bool,
    /// Namespace of the Lease [default: this Pod's, or `default`]
    #[arg(long, env = "WASMPROXY_LEADER_ELECTION_NAMESPACE", value_name = "NAMESPACE", value_parser = cluster::namespace)]
    leader_election_namespace: Option<String>,
    /// Name of the Lease: controllers of different namespaces need different ones
    #[arg(long, env = "WASMPROXY_LEADER_ELECTION_NAME", value_name = "NAME", default_value = "wasmproxy")]
    leader_election_name: String,
    /// How long others wait for a sign of life before they take over
    #[arg(
        long, env = "WASMPROXY_LEADER_ELECTION_LEASE_DURATION", value_name = "DURATION", default_value = "15s",
        value_parser = humantime::parse_duration
    )]
    leader_election_lease_duration: Duration,
    /// How long a leader tries to renew the Lease before it ends itself
    #[arg(
        long, env = "WASMPROXY_LEADER_ELECTION_RENEW_DEADLINE", value_name = "DURATION", default_value = "10s",
        value_parser = humantime::parse_duration
    )]
    leader_election_renew_deadline: Duration,
    /// How long a leader waits between two renewals
    #[arg(
        long, env = "WASMPROXY_LEADER_ELECTION_RETRY_PERIOD", value_name = "DURATION", default_value = "2s",
        value_parser = humantime::parse_duration
    )]
    leader_election_retry_period: Duration,
}

impl ElectionArgs {
    /// What they mean; none where there is nothing to agree on.
    ///
    /// # Errors
    /// Where the durations do not fit together.
    pub fn election(&self) -> Result<Option<LeaderElection>, InvalidTerms> {
        if !self.leader_election {
            return Ok(None);
        }
        let terms = Terms::new(
            self.leader_election_lease_duration,
            self.leader_election_renew_deadline,
            self.leader_election_retry_period,
        )?;
        let said = self.leader_election_namespace.clone().filter(|said| !said.is_empty());
        let namespace = said.unwrap_or_else(|| own_namespace(env::var_os("POD_NAMESPACE"), Path::new(NAMESPACE_FILE)));
        let identity = identity(env::var("POD_NAME").ok());
        Ok(Some(LeaderElection { namespace, name: self.leader_election_name.clone(), identity, terms }))
    }
}

/// The namespace of this Pod, if this is one.
fn own_namespace(said: Option<OsString>, file: &Path) -> String {
    let usable = |text: String| cluster::namespace(text.trim()).ok().filter(|name| !name.is_empty());
    let said = said.and_then(|said| said.into_string().ok()).and_then(usable);
    said.or_else(|| fs::read_to_string(file).ok().and_then(usable)).unwrap_or_else(|| "default".to_owned())
}

/// A name that people recognise, and that no other run ever has: a container that is started anew in the same Pod is not its
/// predecessor.
fn identity(pod: Option<String>) -> String {
    let host = || hostname::get().unwrap_or_default().to_string_lossy().into_owned();
    let name = pod.filter(|pod| !pod.is_empty()).unwrap_or_else(host);
    let random = BASE32_NOPAD.encode(&fastrand::u64(..).to_be_bytes()).to_lowercase();
    format!("{name}_{random}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lease_is_in_the_pods_own_namespace() {
        let dir = tempfile::tempdir().unwrap();
        let (file, none) = (dir.path().join("namespace"), dir.path().join("none"));
        fs::write(&file, "mounted\n").unwrap();
        assert_eq!(own_namespace(Some("said".into()), &file), "said");
        assert_eq!(own_namespace(Some("".into()), &file), "mounted");
        assert_eq!(own_namespace(None, &file), "mounted");
        assert_eq!(own_namespace(None, &none), "default");
    }

    #[test]
    fn no_two_runs_of_a_pod_have_the_same_identity() {
        let identities = [identity(Some("pod-1".into())), identity(Some("pod-1".into()))];
        assert!(identities.iter().all(|identity| identity.starts_with("pod-1_")), "{identities:?}");
        assert_ne!(identities[0], identities[1]);
        assert!(identity(Some(String::new())).len() > 14, "the host's name stands in");
    }
}
