//! The cluster that KUBECONFIG names, and whose turn it is on it.

use std::{
    env,
    sync::{Mutex, Once, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use serde_json::Value;

use super::{
    Namespace,
    shell::{attempt, helm, kubectl},
};

/// The release that the documents speak of, and its namespace.
pub const RELEASE: &str = "wasmproxy";
/// Where it is installed.
pub const SYSTEM: &str = "wasmproxy-system";
/// What says that we have been here, and that whatever is installed is ours to remove.
pub const MARK: &str = "wasmproxy-e2e";
/// The definition.
const CRD: &str = "wasmproxies.wasmproxy.io";
/// The namespaces that examples and documents name: they are deleted with all that is in them.
const NAMESPACES: [&str; 5] = [SYSTEM, "quickstart", "edge", "plant", "argocd"];
/// How the documents install it.
const INSTALL: [&str; 7] = ["install", RELEASE, "charts/wasmproxy", "-n", SYSTEM, "--create-namespace", "--wait"];

/// One test installs and uninstalls, or several use what is installed.
static TURN: RwLock<()> = RwLock::new(());
/// What there is of wasmproxy.
static STATE: Mutex<State> = Mutex::new(State::Unknown);

/// A turn on the cluster, until it is dropped.
pub struct Cluster {
    turn: Turn,
}

#[derive(PartialEq)]
enum State {
    Unknown,
    Nothing,
    /// The chart, with its defaults.
    Installed,
}

#[expect(dead_code, reason = "they are held, not read")]
enum Turn {
    Shared(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

impl Cluster {
    /// With the chart installed as the README says. Other tests use it at the same time: keep to namespaces of your own.
    pub fn with_operator() -> Self {
        reach();
        // Whoever has failed while it was alone has cleaned up all the same.
        let turn = Turn::Shared(TURN.read().unwrap_or_else(PoisonError::into_inner));
        let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
        if *state != State::Installed {
            clear(&mut state);
            helm(&INSTALL);
            *state = State::Installed;
        }
        drop(state);
        Self { turn }
    }

    /// With nobody else there, and nothing of wasmproxy.
    pub fn alone() -> Self {
        reach();
        let turn = Turn::Alone(TURN.write().unwrap_or_else(PoisonError::into_inner));
        let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
        clear(&mut state);
        // Whatever it does.
        *state = State::Unknown;
        Self { turn }
    }

    /// Installs the chart as the documents say, with these options besides; for who is alone.
    ///
    /// # Panics
    /// Where that fails.
    #[expect(clippy::unused_self, reason = "whoever installs has a turn")]
    pub fn install(&self, options: &[&str]) {
        helm(&[&INSTALL, options].concat());
    }

    /// A namespace of one's own, whose name begins so. It ends with the value.
    #[expect(clippy::unused_self, reason = "whoever has one has a turn")]
    pub fn namespace(&self, name: &str) -> Namespace {
        Namespace::beginning(name)
    }

    /// A namespace of this name, which examples or documents speak of; for who is alone.
    #[expect(clippy::unused_self, reason = "whoever has one has a turn")]
    pub fn namespace_called(&self, name: &str) -> Namespace {
        Namespace::called(name)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            super::namespace::tell(SYSTEM);
        }
        if matches!(self.turn, Turn::Alone(_)) {
            clear(&mut STATE.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

/// Fails, for every test, where there is no cluster, or one that has something of somebody else's that [`clear`] would take away.
fn reach() {
    static REACHED: Once = Once::new();
    REACHED.call_once_force(|_| {
        let named = env::var("KUBECONFIG").is_ok_and(|files| !files.is_empty());
        assert!(named, "KUBECONFIG names no cluster: `make e2e` starts one and runs these tests on it");
        kubectl(&["version"]);
        let mark = kubectl(&["get", "configmap", "-n", "default", MARK, "--ignore-not-found", "-o", "name"]);
        if mark.is_empty() {
            let definition = ["get", "crd", CRD, "--ignore-not-found", "-o", "name"];
            let namespaces = [&["get", "namespaces", "--ignore-not-found", "-o", "name"], &NAMESPACES[..]].concat();
            let theirs = kubectl(&definition) + &kubectl(&namespaces);
            assert!(
                theirs.is_empty(),
                "this is on the cluster already, and these tests would remove it: name another\n{theirs}"
            );
            kubectl(&["create", "configmap", "-n", "default", MARK]);
        }
    });
}

/// Takes away whatever is installed.
fn clear(state: &mut State) {
    if *state == State::Nothing {
        return;
    }
    let releases: Vec<Value> = serde_json::from_str(&helm(&["list", "-A", "-o", "json"])).unwrap();
    for release in releases.iter().filter(|release| release["chart"].as_str().unwrap().starts_with("wasmproxy-")) {
        let [name, namespace] = ["name", "namespace"].map(|field| release[field].as_str().unwrap());
        let _ = attempt("helm", &["uninstall", name, "-n", namespace, "--wait"], "");
    }
    let _ = attempt("kubectl", &["delete", "crd", CRD, "--ignore-not-found"], "");
    let gone = [&["delete", "namespace", "--ignore-not-found"], &NAMESPACES[..]].concat();
    let _ = attempt("kubectl", &gone, "");
    let parts = ["delete", "clusterroles,clusterrolebindings", "-l", "app.kubernetes.io/part-of=wasmproxy"];
    let _ = attempt("kubectl", &parts, "");
    *state = State::Nothing;
}

/// What `make e2e` runs last on a cluster that it has not started: what the tests have installed is gone again.
#[test]
#[ignore = "takes away what other tests use"]
fn leave() {
    reach();
    clear(&mut State::Unknown);
    kubectl(&["delete", "configmap", "-n", "default", MARK]);
}
