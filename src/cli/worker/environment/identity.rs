//! Who we are on which channel, from the environment or the file that Propeller's provisioning leaves.

use std::{io, path::Path};

use toml::Table;

use super::{
    SettingsError, Surroundings,
    variables::{Named, Variables},
};
use crate::{
    digest::Hasher,
    mqtt::Credentials,
    protocol::topics::{InvalidTopic, TopicPrefix},
};

/// Where the identity is, in the working directory, where it is not in the environment.
const CONFIG_FILE: &str = "config.toml";

/// Why a key for encryption is an error.
pub(super) const NO_ENCRYPTION: &str = "encrypting modules is not supported, and they would be sent as they are: unset it, or stay with a proxy that encrypts";

/// One thing by all its names, the newest first, in the environment and in the file.
struct Names<const N: usize> {
    variables: [&'static str; N],
    keys: [&'static str; N],
}

const ENTITY: Names<3> = Names {
    variables: ["PROXY_ENTITY_ID", "PROXY_CLIENT_ID", "PROXY_PROPLET_ID"],
    keys: ["entity_id", "client_id", "proplet_id"],
};
const KEY: Names<3> = Names {
    variables: ["PROXY_API_KEY", "PROXY_CLIENT_KEY", "PROXY_PROPLET_KEY"],
    keys: ["api_key", "client_key", "proplet_key"],
};
const CHANNEL: Names<1> = Names { variables: ["PROXY_CHANNEL_ID"], keys: ["channel_id"] };
const TENANT: Names<1> = Names { variables: ["PROXY_TENANT_ID"], keys: ["tenant_id"] };
const DOMAIN: Names<1> = Names { variables: ["PROXY_DOMAIN_ID"], keys: ["domain_id"] };

/// Variables that Propeller's proxy has had only since its topics with a domain end without `messages`.
const LATER: [&str; 5] =
    ["PROXY_HTTP_PORT", "PROXY_OTEL_URL", "PROXY_TRACE_RATIO", "PROXY_MQTT_TLS_CA_CERT", "PROXY_MQTT_TLS_CLIENT_CERT"];

/// Who we are on which channel.
#[derive(Debug)]
pub(super) struct Identity {
    pub client_id: String,
    pub credentials: Option<Credentials>,
    pub prefix: TopicPrefix,
}

/// What the channel's topics begin with depends on which of three namings the devices know.
#[derive(Debug, Clone, Copy)]
struct Channel<'a> {
    channel: Named<'a>,
    tenant: Option<Named<'a>>,
    domain: Option<Named<'a>>,
}

impl Identity {
    /// Reads it; from the file only what the environment does not say. A channel and its tenant belong together: where
    /// the environment says one of them, the file's tenant is not looked at.
    pub(super) fn read(variables: &mut Variables<'_>, surroundings: &Surroundings<'_>) -> Result<Self, SettingsError> {
        let entity = variables.first_of(&ENTITY.variables);
        let key = variables.first_of(&KEY.variables);
        let channel = variables.first_of(&CHANNEL.variables);
        let complete = entity.is_some() && key.is_some() && channel.is_some();
        let file = if complete { Table::new() } else { section(surroundings)? };

        let entity = either(entity, &ENTITY, &file)?;
        let key = either(key, &KEY, &file)?;
        let tenant = variables.first_of(&TENANT.variables);
        let domain = variables.first_of(&DOMAIN.variables);
        let nowhere = Table::new();
        let around = if channel.or(tenant).or(domain).is_some() { &nowhere } else { &file };
        let channel = Channel {
            channel: either(channel, &CHANNEL, &file)?.ok_or(SettingsError::Missing {
                variable: CHANNEL.variables[0],
                hint: "say which channel the devices are on, here or as channel_id in config.toml",
            })?,
            tenant: either(tenant, &TENANT, around)?,
            domain: either(domain, &DOMAIN, around)?,
        };
        let prefix = channel.prefix(variables)?;
        let credentials = credentials(entity, key)?;
        let client_id = entity.map_or_else(|| client_id(surroundings.hostname, &prefix), |id| id.value.to_owned());
        Ok(Self { client_id, credentials, prefix })
    }
}

impl Channel<'_> {
    fn prefix(self, variables: &mut Variables<'_>) -> Result<TopicPrefix, SettingsError> {
        let (channel, tenant, domain) = (self.channel, self.tenant, self.domain);
        if let (Some(tenant), Some(domain)) = (tenant, domain) {
            variables.warn(format!("{} has no effect beside {}", domain.name, tenant.name));
        }
        if tenant.is_none() && domain.is_some() && LATER.iter().any(|name| variables.get(name).is_some()) {
            variables.warn(
                "with PROXY_DOMAIN_ID the topics are m/{domain}/c/{channel}/messages/...: for devices that know them \
                 without messages/, as Propeller's do since December 2025, set PROXY_TENANT_ID in its place"
                    .to_owned(),
            );
        }
        let prefix = match (tenant, domain) {
            (Some(tenant), _) => TopicPrefix::of_tenant(tenant.value, channel.value),
            (None, Some(domain)) => TopicPrefix::of_domain(domain.value, channel.value),
            (None, None) => TopicPrefix::of_channel(channel.value),
        };
        prefix.map_err(|error| {
            let of_channel = matches!(&error, InvalidTopic::Name(name) if name == channel.value);
            let wrong = tenant.or(domain).filter(|_| !of_channel).unwrap_or(channel);
            SettingsError::wrong(wrong.name, error)
        })
    }
}

/// A value of the environment, or by the first of its names that the file has. The file's values are named by their
/// variables' names in messages, so that there is one way to speak of them.
fn either<'a, const N: usize>(
    said: Option<Named<'a>>,
    names: &Names<N>,
    file: &'a Table,
) -> Result<Option<Named<'a>>, SettingsError> {
    if said.is_some() {
        return Ok(said);
    }
    for (key, name) in names.keys.iter().zip(names.variables) {
        match file.get(*key) {
            Some(toml::Value::String(value)) if !value.is_empty() => return Ok(Some(Named { name, value })),
            Some(toml::Value::String(_)) | None => {}
            Some(_) => return Err(SettingsError::ConfigFile(format!("{key} in [proxy] is not a string"))),
        }
    }
    Ok(None)
}

fn credentials(entity: Option<Named<'_>>, key: Option<Named<'_>>) -> Result<Option<Credentials>, SettingsError> {
    match (entity, key) {
        (Some(entity), key) => {
            let password = key.map(|key| key.value.to_owned());
            Ok(Some(Credentials { username: entity.value.to_owned(), password }))
        }
        (None, None) => Ok(None),
        (None, Some(_)) => Err(SettingsError::Missing {
            variable: ENTITY.variables[0],
            hint: "a password needs its user name: say whom PROXY_API_KEY belongs to",
        }),
    }
}

/// A name for a worker that is given none: the same again on the same machine and channel, so that its session is found
/// again, and another on another, since a second client of the same name throws the first one out. 22 characters: every
/// server takes 23 (MQTT 3.1.1, section 3.1.3.1).
fn client_id(hostname: &str, prefix: &TopicPrefix) -> String {
    let mut hasher = Hasher::new();
    hasher.update(format!("{hostname}\n{prefix}").as_bytes());
    let mut hex = hasher.finish().hex();
    hex.truncate(20);
    format!("wp{hex}")
}

/// The section of the file that is ours; empty where there is no such file.
fn section(surroundings: &Surroundings<'_>) -> Result<Table, SettingsError> {
    let bytes = match (surroundings.read)(Path::new(CONFIG_FILE)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Table::new()),
        Err(error) => return Err(SettingsError::ConfigFile(error.to_string())),
    };
    let text = String::from_utf8(bytes).map_err(|_| SettingsError::ConfigFile("it is not UTF-8".to_owned()))?;
    let mut file: Table = text.parse().map_err(|error| unreadable(&text, &error))?;
    let section = match file.remove("proxy") {
        None => Table::new(),
        Some(toml::Value::Table(section)) => section,
        Some(_) => return Err(SettingsError::ConfigFile("proxy is not a section".to_owned())),
    };
    match section.get("workload_key") {
        Some(toml::Value::String(key)) if key.is_empty() => Ok(section),
        None => Ok(section),
        Some(_) => Err(SettingsError::ConfigFile(format!("workload_key in [proxy]: {NO_ENCRYPTION}"))),
    }
}

/// The error without the line that the library shows, which may hold a key.
fn unreadable(text: &str, error: &toml::de::Error) -> SettingsError {
    let line =
        error.span().and_then(|span| text.get(..span.start)).map_or(1, |before| before.matches('\n').count() + 1);
    SettingsError::ConfigFile(format!("line {line} is not TOML"))
}
