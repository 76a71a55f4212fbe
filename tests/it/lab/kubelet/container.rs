//! The life of one container: its process is started, asked how it is, and started again when it has ended.

use std::{
    os::unix::process::ExitStatusExt as _,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::{api::core::v1 as core, jiff::Timestamp};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::Child,
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::{
    environment::{Variables, command, environment},
    ledger::Entry,
    pod::Place,
    probe::{HttpProbe, probe},
    sandbox::{Mount, Sandbox, User},
    status::{Ended, State},
    support,
};

/// Before the second start after a failure; twice as long before each further one. The kubelet begins with ten seconds.
const BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// Images that cannot be pulled.
const MISSING: &str = "missing/";
/// How much of what a failed container said last goes into its status.
const MESSAGE_LINES: usize = 80;
const MESSAGE_BYTES: usize = 2048;

/// What becomes of the containers of a Pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Run,
    /// End, by SIGTERM.
    Terminate,
    /// End, by SIGKILL.
    Kill,
}

/// A container of a Pod that has its volumes.
pub struct Container {
    pub place: Arc<Place>,
    pub spec: core::Container,
    /// Its place among the states of the Pod's containers.
    pub index: usize,
    pub orders: watch::Receiver<Order>,
}

/// What a container needs to be started.
struct Recipe {
    sandbox: Sandbox,
    words: Vec<String>,
    variables: Variables,
    liveness: Option<HttpProbe>,
    readiness: Option<HttpProbe>,
}

impl Container {
    /// Runs it until it is told to end, or there is no power.
    pub async fn run(mut self) {
        let recipe = match self.recipe() {
            Ok(recipe) => recipe,
            Err(error) => return self.wait_with("CreateContainerConfigError", Some(error)).await,
        };
        if self.image().starts_with(MISSING) {
            self.set(State::Waiting { reason: "ErrImagePull", message: Some(format!("{}: not found", self.image())) });
            tokio::select! {
                () = sleep(BACKOFF) => {}
                () = self.told_to_end() => return,
            }
            let message = format!("Back-off pulling image {:?}", self.image());
            return self.wait_with("ImagePullBackOff", Some(message)).await;
        }
        let mut backoff = Duration::ZERO;
        loop {
            let Some(ended) = self.once(&recipe).await else { return };
            self.change(|state| (state.state, state.ready) = (State::Terminated(ended.clone()), false));
            if *self.orders.borrow() != Order::Run {
                return;
            }
            if !backoff.is_zero() {
                let message = Some(format!("back-off {backoff:?} restarting failed container={}", self.spec.name));
                let state = State::Waiting { reason: "CrashLoopBackOff", message };
                self.change(|container| (container.state, container.last) = (state, Some(ended.clone())));
            }
            tokio::select! {
                () = sleep(backoff) => {}
                () = self.told_to_end() => return,
            }
            backoff = (backoff * 2).clamp(BACKOFF, MAX_BACKOFF);
            self.change(|container| (container.last, container.restarts) = (Some(ended), container.restarts + 1));
        }
    }

    fn image(&self) -> &str {
        self.spec.image.as_deref().unwrap_or_default()
    }

    fn recipe(&self) -> Result<Recipe, String> {
        let Place { node, pod, address, volumes, .. } = &*self.place;
        support::check(pod, &self.spec)?;
        let spec = &self.spec;
        let probe =
            |probe: &Option<core::Probe>| probe.as_ref().map(|probe| HttpProbe::new(probe, spec, *address)).transpose();
        let mount = |mount: &core::VolumeMount| Mount {
            source: volumes.path(&mount.name),
            path: mount.mount_path.clone(),
            read_only: mount.read_only == Some(true),
        };
        let own = spec.security_context.as_ref();
        let name = pod.metadata.name.clone().unwrap_or_default();
        let sandbox = Sandbox {
            root: node.dir(pod.metadata.uid.as_deref().unwrap_or_default()).join("containers").join(&spec.name),
            hostname: name.clone(),
            mounts: spec.volume_mounts.iter().flatten().map(mount).collect(),
            user: User::of(pod, spec)?,
            read_only_root: own.and_then(|own| own.read_only_root_filesystem) == Some(true),
            working_dir: spec.working_dir.clone().unwrap_or_else(|| "/".to_owned()),
        };
        std::fs::create_dir_all(&sandbox.root).map_err(|error| error.to_string())?;
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let mut given: Variables = vec![("PATH".to_owned(), path.to_owned()), ("HOSTNAME".to_owned(), name)];
        given.extend(node.given.clone());
        // Pods have addresses of their own, but no networks: so those that listen have to be told.
        given.extend(["WASMPROXY_HTTP_HOST", "PROXY_HTTP_HOST"].map(|name| (name.to_owned(), address.to_string())));
        let variables = environment(pod, spec, *address, given)?;
        let (liveness, readiness) = (probe(&spec.liveness_probe)?, probe(&spec.readiness_probe)?);
        Ok(Recipe { sandbox, words: command(spec, &variables), variables, liveness, readiness })
    }

    /// Runs its process once. `None` where there is no power any more.
    async fn once(&self, recipe: &Recipe) -> Option<Ended> {
        let node = &self.place.node;
        if !*node.power.borrow() {
            return None;
        }
        let started = Timestamp::now();
        let mut child = recipe.sandbox.command(&recipe.words, &recipe.variables).spawn().unwrap();
        // It has not been waited for.
        let pid = child.id().unwrap();
        let pod = self.place.pod.metadata.name.as_deref().unwrap_or_default();
        let mut entry = node.ledger.begin(pod, &self.spec.name, pid);
        let mut readers = JoinSet::new();
        let who = format!("{pod}/{}[{pid}]", self.spec.name);
        readers.spawn(read(child.stdout.take().unwrap(), entry.lines(), who.clone()));
        readers.spawn(read(child.stderr.take().unwrap(), entry.lines(), who));
        self.set(State::Running { since: started });

        let status = self.look_after(&mut child, pid, &mut entry, recipe).await;
        // Whatever it has left behind ends with it.
        let _ = std::process::Command::new("kill")
            .args(["-s", "KILL", "--", &format!("-{pid}")])
            .stderr(Stdio::null())
            .status();
        readers.join_all().await;
        let code = status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(-1);
        node.ledger.end(&entry, code);
        let power = *node.power.borrow();
        let message = self.message(code, &entry.lines().borrow());
        power.then(|| Ended { exit_code: code, message, started, finished: Timestamp::now() })
    }

    /// Waits for the end of the process, and brings it about where it is due.
    async fn look_after(&self, child: &mut Child, pid: u32, entry: &mut Entry, recipe: &Recipe) -> ExitStatus {
        let ready = |ready| self.change(|container| container.ready = ready);
        let mut probing = std::pin::pin!(probe(recipe.liveness.as_ref(), recipe.readiness.as_ref(), ready));
        let mut orders = self.orders.clone();
        orders.mark_changed();
        let mut kill_at = None;
        let mut unwell = false;
        loop {
            tokio::select! {
                status = child.wait() => return status.unwrap(),
                () = self.place.node.power_cut() => {
                    child.start_kill().unwrap();
                    return child.wait().await.unwrap();
                }
                () = &mut probing, if !unwell => {
                    unwell = true;
                    signal(pid, "TERM");
                    kill_at = Some(Instant::now() + self.place.grace());
                }
                () = sleep_until(kill_at.unwrap_or_else(Instant::now)), if kill_at.is_some() => {
                    kill_at = None;
                    child.start_kill().unwrap();
                }
                Some(name) = entry.signals.recv() => signal(pid, name),
                Ok(()) = orders.changed() => match *orders.borrow_and_update() {
                    Order::Run => {}
                    Order::Terminate => signal(pid, "TERM"),
                    Order::Kill => child.start_kill().unwrap(),
                },
            }
        }
    }

    /// What a failed container said last, where its Pod asks for that.
    fn message(&self, code: i32, lines: &[String]) -> Option<String> {
        let wanted = self.spec.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
        if !wanted || code == 0 {
            return None;
        }
        let message = lines[lines.len().saturating_sub(MESSAGE_LINES)..].join("\n");
        let begin = message.len().saturating_sub(MESSAGE_BYTES);
        let begin = (begin..=message.len()).find(|at| message.is_char_boundary(*at))?;
        Some(message[begin..].to_owned())
    }

    fn change(&self, change: impl FnOnce(&mut super::status::ContainerState)) {
        self.place.states.send_modify(|states| change(&mut states[self.index]));
    }

    fn set(&self, state: State) {
        self.change(|container| container.state = state);
    }

    /// Does not run, for this reason, until it is told to end.
    async fn wait_with(&mut self, reason: &'static str, message: Option<String>) {
        self.set(State::Waiting { reason, message });
        self.told_to_end().await;
    }

    async fn told_to_end(&mut self) {
        tokio::select! {
            // Where nobody orders any more it ends, too.
            _ = self.orders.wait_for(|order| *order != Order::Run) => {}
            () = self.place.node.power_cut() => {}
        }
    }
}

/// Sends a process of ours a signal.
fn signal(pid: u32, name: &str) {
    let status = std::process::Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap();
    assert!(status.success(), "no process {pid} to signal");
}

/// Takes in what a process says, and shows it where a test fails.
async fn read(from: impl AsyncRead + Unpin, to: watch::Sender<Vec<String>>, who: String) {
    let mut said = BufReader::new(from).lines();
    while let Ok(Some(line)) = said.next_line().await {
        eprintln!("{who}: {line}");
        to.send_modify(|lines| lines.push(line));
    }
}
