//! Brokers: mosquitto, and for what depends on the broker those of other makers.

use std::{
    fs,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
};

use serde_json::json;
use tokio::sync::OnceCell;
use wasmproxy::mqtt::{Qos, VersionPreference};

use super::{Service, Transport, User, change_password, user_options};

/// Whose broker it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Maker {
    /// mosquitto, which knows whatever a test may want.
    #[default]
    Mosquitto,
    /// mochi-mqtt, in Go. It lets anybody in over plain TCP, and keeps sessions until it ends.
    Mochi,
    /// RabbitMQ with its plugin, in Erlang, as Debian has it: MQTT 3.1.1 alone. It lets anybody in over plain TCP, and
    /// takes ten seconds to start.
    RabbitMq,
}

impl Maker {
    /// The versions of MQTT that it speaks, and the one that is found where none is said.
    pub fn versions(self) -> &'static [VersionPreference] {
        match self {
            Self::RabbitMq => &[VersionPreference::V311, VersionPreference::Auto],
            Self::Mosquitto | Self::Mochi => &[VersionPreference::V311, VersionPreference::V5],
        }
    }

    /// The qualities of service at which it brings everything to a client that stays connected.
    pub fn qualities(self, version: VersionPreference) -> &'static [Qos] {
        match (self, version) {
            // Version 2.7.9 loses count of what a client of MQTT 5 has acknowledged, once as many messages are under way
            // as the client takes; in the end it waits for acknowledgements that it has had.
            (Self::Mochi, VersionPreference::V5 | VersionPreference::Auto) => &[Qos::AtMostOnce],
            _ => &[Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce],
        }
    }

    fn script(self) -> &'static str {
        match self {
            Self::Mosquitto => "broker.sh",
            Self::Mochi => "mochi.sh",
            Self::RabbitMq => "rabbitmq.sh",
        }
    }
}

/// What kind of broker a test wants. The default is mosquitto, lets anybody in, over plain TCP, and forgets all when it
/// ends.
#[derive(Clone, Debug, Default)]
pub struct BrokerConfig {
    maker: Maker,
    users: Vec<User>,
    transport: Transport,
    lines: Vec<String>,
}

impl BrokerConfig {
    /// Another maker's; the rest must be as it is by default then.
    pub fn made_by(mut self, maker: Maker) -> Self {
        self.maker = maker;
        self
    }

    /// Lets this user in, and of those not named nobody.
    pub fn user(mut self, name: &'static str, password: &'static str) -> Self {
        self.users.push((name, password));
        self
    }

    /// How clients connect.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// A line in mosquitto.conf, after the listener: `max_packet_size 1000`, `protocol websockets`, `acl_file …`.
    pub fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// Lets nobody subscribe to this filter, and says so. Its rules are kept in `folder`.
    ///
    /// An ACL file would not do: with one, subscriptions are granted, and messages do not arrive.
    pub fn denying(self, filter: &str, folder: &Path) -> Self {
        let deny = json!({ "acltype": "subscribeLiteral", "topic": filter, "allow": false });
        let rules = json!({
            "defaultACLAccess": { "publishClientSend": true, "publishClientReceive": true, "subscribe": true },
            "roles": [{ "rolename": "anybody", "acls": [deny] }],
            "groups": [{ "groupname": "anybody", "roles": [{ "rolename": "anybody" }] }],
            "anonymousGroup": "anybody",
        });
        let file = folder.join("rules.json");
        fs::write(&file, rules.to_string()).unwrap();
        self.line(format!("plugin {}", dynamic_security().display()))
            .line(format!("plugin_opt_config_file {}", file.display()))
    }

    /// Keeps sessions and messages where it is stopped and started again; not where it is killed.
    pub fn persistent(self) -> Self {
        // In the folder that it runs in: its own.
        self.line("persistence true")
    }

    /// Starts it on a free port.
    pub async fn start(self) -> Broker {
        let service = Service::start(self.maker.script(), self.transport, self.options()).await;
        Broker { config: self, service }
    }

    fn options(&self) -> Vec<String> {
        let lines = self.lines.iter().flat_map(|line| ["--config".to_owned(), line.clone()]);
        user_options(&self.users).into_iter().chain(lines).collect()
    }
}

/// A broker of a test's own. It ends when dropped.
pub struct Broker {
    config: BrokerConfig,
    service: Service,
}

impl Broker {
    /// One that lets anybody in, over plain TCP.
    pub async fn start() -> Self {
        BrokerConfig::default().start().await
    }

    /// The one of this maker for all tests that do it no harm, on channels of their own.
    pub async fn shared(maker: Maker) -> &'static Self {
        static SHARED: [OnceCell<Broker>; 3] = [const { OnceCell::const_new() }; 3];
        let start = async || {
            let config = BrokerConfig::default().made_by(maker);
            // It is never dropped, so its script clears up.
            let options = vec!["--temporary".to_owned()];
            let service = Service::start(maker.script(), config.transport, options).await;
            Self { config, service }
        };
        SHARED[maker as usize].get_or_init(start).await
    }

    /// `mqtt://127.0.0.1:port`, or `mqtts`.
    pub fn url(&self) -> String {
        let scheme = if self.transport() == Transport::Plain { "mqtt" } else { "mqtts" };
        format!("{scheme}://{}", self.host())
    }

    /// The first of those whom it lets in, where it does not let in anybody.
    pub fn user(&self) -> Option<User> {
        self.config.users.first().copied()
    }

    /// Changes a user's password, or lets another user in, without ending the connections of others. Who is connected with a
    /// password that is none any more is thrown out.
    pub fn change_password(&mut self, name: &'static str, password: &'static str) {
        change_password("mosquitto_passwd", &["-b"], &self.dir().join("passwords"), (name, password));
        self.server().signal("HUP");
        match self.config.users.iter_mut().find(|user| user.0 == name) {
            Some(user) => user.1 = password,
            None => self.config.users.push((name, password)),
        }
    }

    /// [`Service::start_again`] with another configuration: a password that was changed, say.
    pub async fn start_again_as(&mut self, config: BrokerConfig) {
        self.service.start_again_with(config.transport, config.options()).await;
        self.config = config;
    }
}

impl Deref for Broker {
    type Target = Service;

    fn deref(&self) -> &Service {
        &self.service
    }
}

impl DerefMut for Broker {
    fn deref_mut(&mut self) -> &mut Service {
        &mut self.service
    }
}

/// The plugin for rules that mosquitto comes with, in a folder called after the machine's architecture.
fn dynamic_security() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let mut plugins = folders.map(|folder| folder.join("mosquitto_dynamic_security.so"));
    plugins.find(|plugin| plugin.exists()).expect("mosquitto comes with its plugin for dynamic security")
}
