//! One test for each variable; `identity` holds those that say who we are, `mistakes` one line for each mistake.

mod identity;
mod mistakes;

use std::{collections::HashMap, path::PathBuf, time::Duration};

use super::*;
use crate::{
    mqtt::{Qos, VersionPreference},
    registry::{Credentials, Reference},
    tls::TlsOptions,
};

/// What the files are called and hold.
type Files<'a> = &'a [(&'a str, &'a str)];

/// The least that a worker needs.
const LEAST: [(&str, &str); 2] = [("PROXY_REGISTRY_URL", "registry.example"), ("PROXY_CHANNEL_ID", "9b1c")];

fn read_with(variables: &[(&str, &str)], files: Files<'_>) -> Result<Settings, SettingsError> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let files: HashMap<PathBuf, &str> = files.iter().map(|(path, content)| (path.into(), *content)).collect();
    let read = |path: &Path| match files.get(path) {
        Some(&"a folder") => Err(io::ErrorKind::IsADirectory.into()),
        Some(content) => Ok(content.as_bytes().to_vec()),
        None => Err(io::ErrorKind::NotFound.into()),
    };
    Settings::read(&Surroundings { variables: &variables, hostname: "edge-4", read: &read })
}

/// The settings by the least environment and these variables, which may say something else.
fn with(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    read_with(&[&LEAST, variables].concat(), &[])
}

fn settings(variables: &[(&str, &str)]) -> Settings {
    with(variables).unwrap()
}

#[test]
fn the_least_environment_is_enough() {
    let Settings { worker, cache, http, log_level, instance_id, warnings } = settings(&[]);
    assert_eq!(worker.broker.url.to_string(), "mqtt://localhost:1883");
    assert_eq!(worker.broker.credentials, None);
    assert_eq!(worker.broker.tls, TlsOptions::default());
    assert_eq!(worker.broker.version, VersionPreference::Auto);
    assert_eq!(worker.broker.qos, Qos::AtLeastOnce);
    assert_eq!(worker.broker.timeout, Duration::from_secs(30));
    assert_eq!((worker.registry.host.as_str(), worker.registry.plain_http), ("registry.example", false));
    assert_eq!(worker.registry.credentials, Credentials::Anonymous);
    assert_eq!(worker.prefix.as_str(), "channels/9b1c/messages");
    assert_eq!(worker.artifacts, []);
    assert_eq!(worker.requests.unwrap().patterns(), ["registry.example/**"]);
    assert_eq!(worker.chunk_size.get(), 512_000);
    assert_eq!(worker.pace, Some(50_000_000));
    assert_eq!((cache, worker.registry.cache), (None, None));
    assert_eq!(http, Some(HttpAddress { host: None, port: 9191 }));
    assert_eq!((log_level, instance_id), (None, None));
    assert_eq!(warnings, [""; 0]);
}

#[test]
fn an_empty_value_means_unset() {
    let names = [
        "PROXY_CACHE_DIR PROXY_CACHE_SIZE",
        "PROXY_API_KEY PROXY_AUTHENTICATE PROXY_CHUNK_SIZE PROXY_CLIENT_ID PROXY_CLIENT_KEY PROXY_DOMAIN_ID",
        "PROXY_ENTITY_ID PROXY_HTTP_HOST PROXY_HTTP_PORT PROXY_INSTANCE_ID PROXY_LOG_LEVEL PROXY_MQTT_ADDRESS",
        "PROXY_MQTT_QOS PROXY_MQTT_TIMEOUT PROXY_MQTT_TLS_CA_CERT PROXY_MQTT_TLS_CLIENT_CERT",
        "PROXY_MQTT_TLS_CLIENT_KEY PROXY_MQTT_TLS_INSECURE_SKIP_VERIFY PROXY_OTEL_URL PROXY_PACE PROXY_PROPLET_ID",
        "PROXY_PROPLET_KEY PROXY_REGISTRY_PASSWORD PROXY_REGISTRY_TOKEN PROXY_REGISTRY_USERNAME",
        "PROXY_REQUESTS_ALLOW PROXY_TENANT_ID PROXY_TRACE_RATIO PROXY_WORKLOAD_KEY PROXY_OF_OLD",
    ];
    let empty: Vec<_> = names.iter().flat_map(|line| line.split(' ')).map(|name| (name, "")).collect();
    assert_eq!(settings(&empty), settings(&[]));
}

#[test]
fn the_pace_is_what_the_resource_may_say() {
    for (text, pace) in [("1k", 1_000), ("40M", 40_000_000), ("1T", 1_000_000_000_000)] {
        assert_eq!(settings(&[("PROXY_PACE", text)]).worker.pace, Some(pace), "{text}");
    }
}

#[test]
fn the_broker_is_named_in_all_the_forms_that_proxies_before_us_took() {
    for (text, url) in [
        ("tcp://broker.example:1884", "mqtt://broker.example:1884"),
        ("mqtt://broker.example", "mqtt://broker.example:1883"),
        ("broker.example:1884", "mqtt://broker.example:1884"),
        ("broker.example", "mqtt://broker.example:1883"),
        (":1884", "mqtt://127.0.0.1:1884"),
        ("ssl://broker.example", "mqtts://broker.example:8883"),
        ("tls://broker.example:443", "mqtts://broker.example:443"),
        ("mqtts://broker.example", "mqtts://broker.example:8883"),
        ("tcps://broker.example", "mqtts://broker.example:8883"),
        ("mqtt+ssl://broker.example", "mqtts://broker.example:8883"),
    ] {
        assert_eq!(settings(&[("PROXY_MQTT_ADDRESS", text)]).worker.broker.url.to_string(), url, "{text}");
    }
}

#[test]
fn the_registry_is_a_host_with_or_without_a_scheme() {
    for (text, host, plain_http) in [
        ("registry.example:5000", "registry.example:5000", false),
        ("https://registry.example/", "registry.example", false),
        ("http://localhost:5000", "localhost:5000", true),
        ("registry", "registry", false),
        ("Registry.Example", "registry.example", false),
        ("registry-1.docker.io", "docker.io", false),
    ] {
        let worker = settings(&[("PROXY_REGISTRY_URL", text)]).worker;
        assert_eq!((worker.registry.host.as_str(), worker.registry.plain_http), (host, plain_http), "{text}");
        let reference = Reference::parse("wasm/add:1", &worker.registry.host).unwrap();
        assert!(worker.requests.unwrap().allows(&reference), "{text}");
    }
}

#[test]
fn credentials_are_shown_to_the_registry_only_where_that_is_said() {
    let pair = [("PROXY_REGISTRY_USERNAME", "user"), ("PROXY_REGISTRY_PASSWORD", "pass")];
    let basic = Credentials::Basic { username: "user".into(), password: "pass".into() };
    for yes in ["TRUE", "true", "1", "t"] {
        let settings = settings(&[&pair[..], &[("PROXY_AUTHENTICATE", yes)]].concat());
        assert_eq!((settings.worker.registry.credentials, settings.warnings), (basic.clone(), vec![]), "{yes}");
    }
    for no in ["FALSE", "false", "0", "f", ""] {
        let settings = settings(&[&pair[..], &[("PROXY_AUTHENTICATE", no)]].concat());
        assert_eq!(settings.worker.registry.credentials, Credentials::Anonymous, "{no}");
        let warning = "the registry's credentials have no effect: PROXY_AUTHENTICATE is not true";
        assert_eq!(settings.warnings, [warning], "{no}");
    }
}

#[test]
fn a_token_is_used_where_there_is_no_password() {
    let token = [("PROXY_AUTHENTICATE", "1"), ("PROXY_REGISTRY_TOKEN", "t0ken")];
    assert_eq!(settings(&token).worker.registry.credentials, Credentials::Token("t0ken".into()));
    let pair = [("PROXY_REGISTRY_USERNAME", "user"), ("PROXY_REGISTRY_PASSWORD", "pass")];
    let both = settings(&[&token[..], &pair].concat());
    assert!(matches!(both.worker.registry.credentials, Credentials::Basic { .. }));
    assert_eq!(both.warnings.len(), 1, "{:?}", both.warnings);
}

#[test]
fn chunks_have_the_size_that_is_said() {
    assert_eq!(settings(&[("PROXY_CHUNK_SIZE", "65536")]).worker.chunk_size.get(), 65_536);
}

#[test]
fn requests_may_ask_for_the_patterns_that_are_said() {
    let text = "registry.example/wasm/**, other.example/*:1\n";
    let requests = settings(&[("PROXY_REQUESTS_ALLOW", text)]).worker.requests.unwrap();
    assert_eq!(requests.patterns(), ["registry.example/wasm/**", "other.example/*:1"]);
}

#[test]
fn chunks_have_the_quality_of_service_that_is_said() {
    for (text, qos) in [("0", Qos::AtMostOnce), ("1", Qos::AtLeastOnce), ("2", Qos::ExactlyOnce)] {
        assert_eq!(settings(&[("PROXY_MQTT_QOS", text)]).worker.broker.qos, qos);
    }
}

#[test]
fn a_timeout_is_written_as_in_go() {
    for (text, milliseconds) in [("30s", 30_000), ("1m30s", 90_000), ("500ms", 500), ("1.5s", 1500), ("1h", 3_600_000)]
    {
        let timeout = settings(&[("PROXY_MQTT_TIMEOUT", text)]).worker.broker.timeout;
        assert_eq!(timeout, Duration::from_millis(milliseconds), "{text}");
    }
}

#[test]
fn tls_material_comes_from_files() {
    let variables = [
        LEAST[0],
        LEAST[1],
        ("PROXY_MQTT_ADDRESS", "ssl://broker.example"),
        ("PROXY_MQTT_TLS_CA_CERT", "/tls/ca.crt"),
        ("PROXY_MQTT_TLS_CLIENT_CERT", "/tls/tls.crt"),
        ("PROXY_MQTT_TLS_CLIENT_KEY", "/tls/tls.key"),
        ("PROXY_MQTT_TLS_INSECURE_SKIP_VERIFY", "true"),
    ];
    let files = [("/tls/ca.crt", "the ca"), ("/tls/tls.crt", "the certificate"), ("/tls/tls.key", "the key")];
    let settings = read_with(&variables, &files).unwrap();
    let tls = &settings.worker.broker.tls;
    assert_eq!(tls.ca.as_deref(), Some(&b"the ca"[..]));
    let identity = tls.identity.as_ref().unwrap();
    assert_eq!((&identity.certificate[..], &identity.key[..]), (&b"the certificate"[..], &b"the key"[..]));
    assert!(tls.insecure_skip_verify);
    assert_eq!(settings.warnings, [""; 0]);
}

#[test]
fn tls_material_that_cannot_be_used_is_named_by_its_variable() {
    let variables = |address| [LEAST[0], LEAST[1], ("PROXY_MQTT_ADDRESS", address), ("PROXY_MQTT_TLS_CA_CERT", "ca")];
    let secure = read_with(&variables("ssl://broker"), &[("ca", "no pem")]).unwrap();
    let error = secure.check_tls().unwrap_err().to_string();
    assert_eq!(error, "PROXY_MQTT_TLS_CA_CERT cannot be used: the CA certificate is not a PEM certificate");

    let plain = read_with(&variables("tcp://broker"), &[("ca", "no pem")]).unwrap();
    plain.check_tls().unwrap();
    let warning = "PROXY_MQTT_TLS_* have no effect: PROXY_MQTT_ADDRESS says no TLS, which ssl://host:8883 does";
    assert_eq!(plain.warnings, [warning]);
}

#[test]
fn probes_are_answered_where_it_is_said() {
    let http = |variables: &[_]| settings(variables).http;
    assert_eq!(http(&[("PROXY_HTTP_PORT", "8080")]), Some(HttpAddress { host: None, port: 8080 }));
    assert_eq!(http(&[("PROXY_HTTP_PORT", "0")]), None);
    let loopback = "127.0.0.1".parse().ok();
    assert_eq!(http(&[("PROXY_HTTP_HOST", "127.0.0.1")]), Some(HttpAddress { host: loopback, port: 9191 }));
}

#[test]
fn the_log_level_is_read_in_any_case() {
    for (text, level) in [("debug", LogLevel::Debug), ("INFO", LogLevel::Info), ("Warn", LogLevel::Warn)] {
        assert_eq!(settings(&[("PROXY_LOG_LEVEL", text)]).log_level, Some(level));
    }
}

#[test]
fn the_instance_has_the_name_that_is_said() {
    assert_eq!(settings(&[("PROXY_INSTANCE_ID", "line 4")]).instance_id.as_deref(), Some("line 4"));
}

#[test]
fn what_has_no_effect_yet_is_warned_about() {
    for name in ["PROXY_OTEL_URL", "PROXY_TRACE_RATIO"] {
        let warnings = settings(&[(name, "1")]).warnings;
        assert_eq!(warnings, [format!("{name} has no effect: traces are not supported yet")]);
    }
}

#[test]
fn unknown_variables_are_listed_by_name_alone() {
    let settings = settings(&[("PROXY_SECRET", "s3cret"), ("PROXY_COLOUR", "red"), ("HTTP_PROXY", "x")]);
    assert_eq!(settings.warnings, ["not known, and without effect: PROXY_COLOUR, PROXY_SECRET"]);
}

#[test]
fn no_secret_is_shown_when_settings_are() {
    let secrets = [
        ("PROXY_ENTITY_ID", "e"),
        ("PROXY_API_KEY", "s3cret"),
        ("PROXY_AUTHENTICATE", "1"),
        ("PROXY_REGISTRY_USERNAME", "user"),
        ("PROXY_REGISTRY_PASSWORD", "s3cret"),
        ("PROXY_REGISTRY_TOKEN", "s3cret"),
    ];
    assert!(!format!("{:?}", settings(&secrets)).contains("s3cret"));
}

#[test]
fn a_cache_has_a_directory_and_a_size_in_bytes() {
    let cache = |size| settings(&[("PROXY_CACHE_DIR", "/cache"), ("PROXY_CACHE_SIZE", size)]).cache.unwrap();
    for (size, bytes) in [("", 1 << 30), ("512Mi", 512 << 20), ("1000000", 1_000_000)] {
        assert_eq!(cache(size), CacheSettings { dir: "/cache".into(), size: bytes });
    }
    let Settings { cache, warnings, .. } = settings(&[("PROXY_CACHE_SIZE", "1Gi")]);
    assert_eq!((cache, warnings.len()), (None, 1), "{warnings:?}");
}
