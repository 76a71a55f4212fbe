//! A real mosquitto.

use std::{
    fs,
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;
use tempfile::TempDir;

use super::{certificates::Certificates, free_port};

/// A running broker; gone when dropped.
pub struct Mosquitto {
    child: Option<Child>,
    folder: TempDir,
    port: u16,
    tls: bool,
}

/// What to configure beyond a listener on loopback.
#[derive(Default)]
pub struct Config<'a> {
    /// The only user who may connect, with a password; none: anybody may.
    pub user: Option<(&'a str, &'a str)>,
    /// Speak TLS, as the server of these certificates, and ask clients for one of theirs.
    pub tls: Option<&'a Certificates>,
    /// Refuse clients without a certificate.
    pub require_certificate: bool,
    /// Keep sessions and messages across an orderly restart.
    pub persistent: bool,
    /// Lines of an ACL file. It grants every subscription, whatever it says; messages do not arrive.
    pub acl: Option<&'a str>,
    /// A topic filter that nobody may subscribe to.
    pub denied: Option<&'a str>,
    /// Further lines of `mosquitto.conf`.
    pub lines: &'a str,
}

impl Mosquitto {
    /// One that anybody may use.
    pub fn start() -> Self {
        Self::with(&Config::default())
    }

    pub fn with(config: &Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        fs::write(folder.path().join("mosquitto.conf"), text(config, &folder, port)).unwrap();
        let mut broker = Self { child: None, folder, port, tls: config.tls.is_some() };
        broker.run();
        broker
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", if self.tls { "mqtts" } else { "mqtt" }, self.port)
    }

    /// Starts it, again if it was ended, on the same port.
    pub fn run(&mut self) {
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        let child = Command::new("/usr/sbin/mosquitto")
            .args(["-v", "-c"])
            .arg(self.folder.path().join("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("mosquitto is installed");
        self.child = Some(child);
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let exited = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(exited.is_none() && Instant::now() < deadline, "mosquitto does not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Waits until it has said something so many times since it was started last.
    pub async fn has_said(&self, what: &str, times: usize) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.log().matches(what).count() < times {
            assert!(Instant::now() < deadline, "mosquitto does not say {what:?}: {}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends it without giving it a chance to say goodbye or to save anything.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Ends it as an administrator would.
    pub fn terminate(&mut self) {
        if let Some(mut child) = self.child.take() {
            Command::new("kill").arg(child.id().to_string()).status().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.kill();
    }
}

fn text(config: &Config, folder: &TempDir, port: u16) -> String {
    let path = |name: &str| folder.path().join(name).display().to_string();
    // As root it would become another user, who may not read the folder.
    let mut text = format!("user root\nlog_dest stderr\nlistener {port} 127.0.0.1\n{}\n", config.lines);
    match config.user {
        None => text.push_str("allow_anonymous true\n"),
        Some((user, password)) => {
            let made = Command::new("mosquitto_passwd")
                .args(["-c", "-b", &path("passwords"), user, password])
                .stderr(Stdio::null())
                .status();
            assert!(made.unwrap().success());
            text.push_str(&format!("allow_anonymous false\npassword_file {}\n", path("passwords")));
        }
    }
    if let Some(certificates) = config.tls {
        let file = |name: &str| certificates.path(name).display().to_string();
        text.push_str(&format!(
            "cafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate {}\n",
            file("ca.crt"),
            file("server.crt"),
            file("server.key"),
            config.require_certificate
        ));
    }
    if config.persistent {
        text.push_str(&format!("persistence true\npersistence_location {}/\n", folder.path().display()));
    }
    if let Some(acl) = config.acl {
        fs::write(folder.path().join("acl"), acl).unwrap();
        text.push_str(&format!("acl_file {}\n", path("acl")));
    }
    if let Some(filter) = config.denied {
        let deny = json!({ "acltype": "subscribeLiteral", "topic": filter, "allow": false });
        let rules = json!({
            "defaultACLAccess": { "publishClientSend": true, "publishClientReceive": true, "subscribe": true },
            "roles": [{ "rolename": "anybody", "acls": [deny] }],
            "groups": [{ "groupname": "anybody", "roles": [{ "rolename": "anybody" }] }],
            "anonymousGroup": "anybody",
        });
        fs::write(folder.path().join("rules"), rules.to_string()).unwrap();
        let plugin = dynamic_security().display().to_string();
        text.push_str(&format!("plugin {plugin}\nplugin_opt_config_file {}\n", path("rules")));
    }
    text
}

/// The plugin that mosquitto comes with for finer rules; its folder is called after the machine's architecture.
fn dynamic_security() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let mut plugins = folders.map(|folder| folder.join("mosquitto_dynamic_security.so"));
    plugins.find(|plugin| plugin.exists()).expect("mosquitto comes with its plugin for dynamic security")
}
