//! The options of `wasmproxy fetch`, and what they mean.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, ValueEnum, ValueHint, builder::BoolishValueParser};

use super::values;
use crate::{
    device::{FetchOptions, Listen, Reference},
    digest::Digest,
    mqtt::{BrokerUrl, Credentials, Qos, VersionPreference},
    protocol::{
        DeviceName, TopicPrefix, Topics,
        request::Wanted,
        topics::{InvalidTopic, MAX_TOPIC},
    },
    tls::{Identity, TlsOptions},
};

/// Where a password may be, so that no process list shows it.
const PASSWORD: &str = "WASMPROXY_PASSWORD";

const AFTER_HELP: &str = "\
Examples:
  wasmproxy fetch wasm/add:1.2 -o add.wasm --channel line-1
  wasmproxy fetch wasm/add:1.2 -o - --channel line-1 --quiet | sha256sum
  wasmproxy fetch wasm/add:1.2 -o add.wasm --channel line-1 --own-topic \\
      --broker mqtts://broker.example --username press-4 \\
      --password-file password.txt

The password is read from --password-file, or from WASMPROXY_PASSWORD.
FILE is written whole and verified, or not at all.

Exit codes:
  0    the module is there
  1    it is not, and the last line says why
  2    an option is wrong, or FILE cannot be written there: nothing was asked
  130  interrupted (143: by SIGTERM); nothing is left behind";

/// Fetch a module as a device does, over MQTT alone.
///
/// Asks for the module on a channel, gathers its chunks, asks again for those that did not arrive, verifies the digest,
/// writes the file and sends the receipt.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct FetchArgs {
    /// The module: wasm/add:1.2 in the channel's own registry, or with a host in front. @sha256:… at its end means the
    /// artifact whose manifest has that digest.
    pub reference: Reference,

    /// Where to write it; `-` for standard output, once it is verified.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: PathBuf,

    /// The broker; mqtts:// for TLS.
    #[arg(long, value_name = "URL", env = "WASMPROXY_BROKER", default_value = "mqtt://localhost:1883", value_parser = values::broker)]
    broker: BrokerUrl,

    /// The channel to ask on.
    #[arg(long, value_name = "ID", env = "WASMPROXY_CHANNEL", required_unless_present = "topic_prefix")]
    channel: Option<String>,

    /// The channel's tenant, if any: topics begin with m/TENANT/c/ID then.
    #[arg(long, env = "WASMPROXY_TENANT")]
    tenant: Option<String>,

    /// What all topics begin with, in place of --channel and --tenant.
    #[arg(long, value_name = "PREFIX", env = "WASMPROXY_TOPIC_PREFIX")]
    topic_prefix: Option<String>,

    /// The user name at the broker.
    #[arg(short, long, env = "WASMPROXY_USERNAME")]
    username: Option<String>,

    /// A file with the password; a line break at its end does not count.
    #[arg(long, value_name = "FILE", env = "WASMPROXY_PASSWORD_FILE", value_hint = ValueHint::FilePath)]
    password_file: Option<PathBuf>,

    /// The certificate authorities to trust, in PEM, in place of the system's.
    #[arg(long, value_name = "FILE", env = "WASMPROXY_CA_FILE", value_hint = ValueHint::FilePath)]
    ca_file: Option<PathBuf>,

    /// Our certificate, in PEM, for mutual TLS.
    #[arg(long, value_name = "FILE", env = "WASMPROXY_CERT_FILE", value_hint = ValueHint::FilePath, requires = "key_file")]
    cert_file: Option<PathBuf>,

    /// Its private key, in PEM.
    #[arg(long, value_name = "FILE", env = "WASMPROXY_KEY_FILE", value_hint = ValueHint::FilePath, requires = "cert_file")]
    key_file: Option<PathBuf>,

    /// Trust whoever answers. For trials only.
    #[arg(long, env = "WASMPROXY_INSECURE_SKIP_VERIFY", value_parser = BoolishValueParser::new())]
    insecure_skip_verify: bool,

    /// The version of MQTT to speak.
    #[arg(long, value_name = "VERSION", env = "WASMPROXY_PROTOCOL", default_value = "auto")]
    protocol: Protocol,

    /// The client id at the broker [default: a random one].
    #[arg(long, value_name = "ID", env = "WASMPROXY_CLIENT_ID")]
    client_id: Option<String>,

    /// The name to ask under, of letters, digits, `_` or `-` [default: this machine's, and a random end].
    #[arg(long, value_name = "NAME", env = "WASMPROXY_DEVICE")]
    device: Option<DeviceName>,

    /// How chunks should come; raw takes a quarter less, and needs MQTT 5.
    #[arg(long, env = "WASMPROXY_FORMAT", default_value = "json")]
    format: Format,

    /// Ask for everything by number, and take nothing that is sent to everyone.
    ///
    /// For a device that is slow or sleeps, and where others may publish on the channel.
    #[arg(long, env = "WASMPROXY_OWN_TOPIC", value_parser = BoolishValueParser::new())]
    own_topic: bool,

    /// The quality of service to subscribe with: 0, 1 or 2.
    #[arg(long, value_name = "LEVEL", env = "WASMPROXY_QOS", default_value = "1", value_parser = values::qos)]
    qos: Qos,

    /// Give up after so long without progress, as in 90s or 5m.
    #[arg(long, value_name = "TIME", env = "WASMPROXY_TIMEOUT", default_value = "2m", value_parser = values::time)]
    timeout: Duration,

    /// Accept no other module than the one with this SHA-256, as sha256:….
    #[arg(long, value_name = "DIGEST", env = "WASMPROXY_DIGEST")]
    digest: Option<Digest>,

    /// The largest module to accept, in bytes or with a unit, as in 500M or 1Gi.
    #[arg(long, value_name = "SIZE", env = "WASMPROXY_MAX_SIZE", default_value = "1Gi", value_parser = values::size)]
    max_size: u64,

    /// Say nothing unless it fails.
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Protocol {
    /// 5 where the broker speaks it, else 3.1.1
    Auto,
    /// MQTT 3.1.1
    #[value(name = "3.1.1")]
    V311,
    /// MQTT 5
    #[value(name = "5")]
    V5,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// JSON
    Json,
    /// Binary
    Raw,
}

/// Options that do not fit together, or name files that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// The channel, the tenant, the prefix, or the device's name below it.
    #[error("{option}: {error}")]
    Topic {
        /// Which of them.
        option: &'static str,
        /// What is wrong with it.
        error: InvalidTopic,
    },
    /// A file that an option names.
    #[error("cannot read {}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        error: io::Error,
    },
    /// MQTT 3.1.1 knows no password without a user name, and brokers want both.
    #[error("a password needs a user name: add --username or WASMPROXY_USERNAME")]
    PasswordAlone,
}

impl FetchArgs {
    /// Reads the files that are named, and makes options of it all.
    ///
    /// # Errors
    /// See [`UsageError`].
    pub fn options(&self) -> Result<FetchOptions, UsageError> {
        let prefix = self.prefix()?;
        let device = self.device(&prefix)?;
        let defaults = FetchOptions::new(self.broker.clone(), prefix, device);
        Ok(FetchOptions {
            credentials: self.credentials()?,
            tls: self.tls()?,
            version: match self.protocol {
                Protocol::Auto => VersionPreference::Auto,
                Protocol::V311 => VersionPreference::V311,
                Protocol::V5 => VersionPreference::V5,
            },
            client_id: self.client_id.clone().unwrap_or(defaults.client_id),
            format: match self.format {
                Format::Json => Wanted::Json,
                Format::Raw => Wanted::Raw,
            },
            listen: if self.own_topic { Listen::OwnTopic } else { Listen::Everything },
            qos: self.qos,
            timeout: self.timeout,
            digest: self.digest,
            max_size: self.max_size,
            ..defaults
        })
    }

    /// What to call the channel when speaking to a person: by what that person has said.
    pub fn place(&self) -> String {
        match &self.topic_prefix {
            Some(prefix) => format!("topic prefix {prefix}"),
            None => format!("channel {}", self.channel()),
        }
    }

    fn channel(&self) -> &str {
        self.channel.as_deref().unwrap_or_default()
    }

    fn prefix(&self) -> Result<TopicPrefix, UsageError> {
        let blame = |option| move |error| UsageError::Topic { option, error };
        if let Some(prefix) = &self.topic_prefix {
            return TopicPrefix::new(prefix).map_err(blame("--topic-prefix"));
        }
        let of_channel = TopicPrefix::of_channel(self.channel()).map_err(blame("--channel"))?;
        match &self.tenant {
            Some(tenant) => TopicPrefix::of_tenant(tenant, self.channel()).map_err(blame("--tenant")),
            None => Ok(of_channel),
        }
    }

    fn device(&self, prefix: &TopicPrefix) -> Result<DeviceName, UsageError> {
        let (option, device) = match &self.device {
            Some(device) => ("--device", Ok(device.clone())),
            None if self.topic_prefix.is_some() => ("--topic-prefix", default_device(prefix)),
            None => ("--channel", default_device(prefix)),
        };
        let fits = |device: DeviceName| Topics::new(prefix).receipt(&device).map(|_| device);
        device.and_then(fits).map_err(|error| UsageError::Topic { option, error })
    }

    fn credentials(&self) -> Result<Option<Credentials>, UsageError> {
        let password = match &self.password_file {
            Some(path) => {
                Some(read(path, |path| std::fs::read_to_string(path))?.trim_end_matches(['\r', '\n']).to_owned())
            }
            None => std::env::var(PASSWORD).ok(),
        };
        match (&self.username, password) {
            (Some(username), password) => Ok(Some(Credentials { username: username.clone(), password })),
            (None, Some(_)) => Err(UsageError::PasswordAlone),
            (None, None) => Ok(None),
        }
    }

    fn tls(&self) -> Result<TlsOptions, UsageError> {
        let pem = |path: &PathBuf| read(path, |path| std::fs::read(path));
        let identity = match (&self.cert_file, &self.key_file) {
            (Some(certificate), Some(key)) => Some(Identity { certificate: pem(certificate)?, key: pem(key)? }),
            _ => None,
        };
        Ok(TlsOptions {
            ca: self.ca_file.as_ref().map(pem).transpose()?,
            identity,
            insecure_skip_verify: self.insecure_skip_verify,
            ..TlsOptions::default()
        })
    }
}

fn read<T>(path: &Path, how: impl FnOnce(&Path) -> io::Result<T>) -> Result<T, UsageError> {
    how(path).map_err(|error| UsageError::File { path: path.to_owned(), error })
}

/// This machine's name with a random end, as much of it as the channel's topics leave room for.
fn default_device(prefix: &TopicPrefix) -> Result<DeviceName, InvalidTopic> {
    const RANDOM: usize = 6;
    let host = hostname::get().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    // The machine's own name is enough: what comes after the first dot is its network's.
    let host = host.split('.').next().unwrap_or_default();
    let random: String = std::iter::repeat_with(fastrand::alphanumeric).take(RANDOM).collect();
    let probe: Result<DeviceName, _> = random.parse();
    // Letters and digits are a name.
    let Ok(random) = probe else { return Err(InvalidTopic::Empty) };
    let room = MAX_TOPIC.saturating_sub(Topics::new(prefix).receipt(&random)?.len() + 1).min(24);
    let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let host: String = host.chars().filter(allowed).take(room).collect();
    if host.is_empty() { Ok(random) } else { Ok(format!("{host}-{random}").parse().unwrap_or(random)) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        fetch: FetchArgs,
    }

    fn options(args: &[&str]) -> Result<FetchOptions, UsageError> {
        let args = ["fetch", "add:1", "-o", "add.wasm"].iter().chain(args);
        Cli::try_parse_from(args).unwrap().fetch.options()
    }

    #[test]
    fn the_channel_is_all_that_must_be_said() {
        let options = options(&["--channel", "9b1c"]).unwrap();
        assert_eq!(options.prefix.as_str(), "channels/9b1c/messages");
        assert_eq!(options.url.to_string(), "mqtt://localhost:1883");
        assert_eq!((options.timeout, options.max_size), (FetchOptions::TIMEOUT, FetchOptions::MAX_SIZE));
        assert_eq!((options.listen, options.silence), (Listen::Everything, FetchOptions::SILENCE));
    }

    #[test]
    fn a_prefix_stands_in_place_of_channel_and_tenant() {
        let prefix = |args: &[&str]| options(args).unwrap().prefix.to_string();
        assert_eq!(prefix(&["--channel", "c", "--tenant", "t"]), "m/t/c/c");
        assert_eq!(prefix(&["--topic-prefix", "site/a"]), "site/a");
        assert_eq!(prefix(&["--channel", "c", "--tenant", "t", "--topic-prefix", "site/a"]), "site/a");
    }

    #[test]
    fn what_is_wrong_is_called_by_the_option_that_said_it() {
        let long = "x".repeat(64);
        for (args, option) in [
            (&["--channel", "a/b"][..], "--channel: \"a/b\""),
            (&["--channel", "c", "--tenant", "a/b"], "--tenant: \"a/b\""),
            (&["--topic-prefix", "/a"], "--topic-prefix: "),
            (&["--topic-prefix", &long, "--device", &long], "--device: "),
        ] {
            let error = options(args).unwrap_err().to_string();
            assert!(error.starts_with(option), "{error}");
        }
    }

    #[test]
    fn a_prefix_is_not_called_a_channel() {
        let place = |args: &[&str]| {
            Cli::try_parse_from(["fetch", "add:1", "-o", "f"].iter().chain(args)).unwrap().fetch.place()
        };
        assert_eq!(place(&["--channel", "c", "--tenant", "t"]), "channel c");
        assert_eq!(place(&["--channel", "c", "--topic-prefix", "site/a"]), "topic prefix site/a");
    }

    #[test]
    fn the_examples_are_command_lines() {
        let examples = AFTER_HELP.replace("\\\n", " ");
        let commands: Vec<_> = examples.lines().filter_map(|line| line.trim().strip_prefix("wasmproxy ")).collect();
        assert_eq!(commands.len(), 3);
        for command in commands {
            let words = command.split('|').next().unwrap().split_whitespace();
            assert!(Cli::try_parse_from(words).is_ok(), "{command}");
        }
    }

    #[test]
    fn the_help_fits_a_terminal_of_80_columns() {
        assert!(AFTER_HELP.lines().all(|line| line.chars().count() <= 80), "{AFTER_HELP}");
    }

    #[test]
    fn without_a_channel_the_command_line_is_wrong() {
        assert!(Cli::try_parse_from(["fetch", "add:1", "-o", "add.wasm"]).is_err());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let error = options(&["--channel", "c", "--ca-file", "/nowhere/ca.crt"]).unwrap_err();
        assert!(error.to_string().contains("/nowhere/ca.crt"), "{error}");
    }

    #[test]
    fn a_password_may_be_a_file_but_not_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "secret\n").unwrap();
        let file = file.to_str().unwrap();
        let options_with_user = options(&["--channel", "c", "--username", "u", "--password-file", file]).unwrap();
        assert_eq!(options_with_user.credentials.unwrap().password.as_deref(), Some("secret"));
        let alone = options(&["--channel", "c", "--password-file", file]);
        assert!(matches!(alone, Err(UsageError::PasswordAlone)));
    }

    #[test]
    fn the_default_device_fits_into_every_topic_and_is_used_once() {
        for length in [1, 60, 90] {
            let prefix = TopicPrefix::new("x".repeat(length)).unwrap();
            let device = default_device(&prefix).unwrap();
            assert!(Topics::new(&prefix).receipt(&device).is_ok());
            assert_ne!(device, default_device(&prefix).unwrap());
        }
        assert!(default_device(&TopicPrefix::new("x".repeat(100)).unwrap()).is_err());
    }
}
