//! What the process makes of its environment and its command line.

use std::{fs, path::Path, process::Stdio};

use serde_json::Value;

use super::{
    Process,
    process::{complaint, output, program, worker},
};
use crate::{
    lab::{Broker, BrokerConfig, Pki, Registry, RegistryConfig, Transport, free_port},
    modules::module,
    old_device::{Access, OldDevice},
};

const LEAST: [(&str, &str); 2] = [("PROXY_REGISTRY_URL", "registry.example"), ("PROXY_CHANNEL_ID", "floor")];

#[tokio::test]
async fn a_missing_variable_is_one_line_and_exit_code_2() {
    let said = complaint(&mut worker(&[]), 2).await;
    assert!(said.starts_with("wasmproxy: PROXY_REGISTRY_URL is not set: "), "{said}");
}

#[tokio::test]
async fn a_wrong_value_is_one_line_and_exit_code_2() {
    let said = complaint(worker(&LEAST).env("PROXY_MQTT_QOS", "3"), 2).await;
    assert_eq!(said, r#"wasmproxy: PROXY_MQTT_QOS is "3": say 0, 1 or 2"#);
}

#[tokio::test]
async fn tls_material_that_cannot_be_used_is_one_line_and_exit_code_2() {
    let variables = [("PROXY_MQTT_ADDRESS", "ssl://localhost"), ("PROXY_MQTT_TLS_CA_CERT", "/dev/null")];
    let said = complaint(worker(&LEAST).envs(variables), 2).await;
    assert!(said.starts_with("wasmproxy: PROXY_MQTT_TLS_CA_CERT cannot be used: "), "{said}");
}

#[tokio::test]
async fn an_unknown_subcommand_is_exit_code_2() {
    assert_eq!(output(&mut program(&["wrker"])).await.status.code(), Some(2));
}

#[tokio::test]
async fn whoever_stops_reading_is_no_error() {
    for arguments in [&["crd"][..], &["--help"], &["worker", "--help"], &["--version"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = program(arguments);
        let ended = output(command.stdout(writer).stderr(Stdio::piped())).await;
        assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &b""[..]), "{arguments:?}");
    }
}

#[tokio::test]
async fn a_port_in_use_names_its_variable() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ended = output(worker(&LEAST).env("PROXY_HTTP_PORT", &port)).await;
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.lines().last().unwrap().starts_with(&format!("wasmproxy: PROXY_HTTP_PORT: port {port} ")), "{said}");
}

#[tokio::test]
async fn probes_say_how_it_is() {
    let mut broker = Broker::start().await;
    let port = free_port().to_string();
    let url = broker.url();
    let worker = Process::run(worker(&LEAST).envs([
        ("PROXY_MQTT_ADDRESS", url.as_str()),
        ("PROXY_HTTP_PORT", &port),
        ("PROXY_INSTANCE_ID", "line 4"),
    ]));
    worker.line("connected").await;
    let get = async |path| {
        let answer = reqwest::get(format!("http://127.0.0.1:{port}{path}")).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let version = env!("CARGO_PKG_VERSION");
    let health = format!(r#"{{"status":"ok","service":"proxy","version":"{version}","instance_id":"line 4"}}"#);
    assert_eq!(get("/health").await, (200, health));
    assert_eq!(get("/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(get("/readyz").await, (200, "ok\n".to_owned()));
    broker.stop();
    worker.line("the connection to").await;
    assert_eq!(get("/readyz").await, (503, "not connected to the broker\n".to_owned()));
    assert_eq!(get("/healthz").await.0, 200);
}

#[tokio::test]
async fn the_log_level_of_the_environment_holds() {
    let broker = Broker::start().await;
    let url = broker.url();
    let variables = [("PROXY_MQTT_ADDRESS", url.as_str()), ("PROXY_LOG_LEVEL", "WARN"), ("PROXY_OTEL_URL", "http://a")];
    let worker = Process::run(worker(&variables).envs(LEAST));
    let first = worker.line("").await;
    assert_eq!(first["message"], "PROXY_OTEL_URL has no effect: traces are not supported yet");
}

#[tokio::test]
async fn a_connection_that_is_lost_is_one_line_however_often_it_is_tried_again() {
    let mut broker = Broker::start().await;
    let url = broker.url();
    let worker =
        Process::run(worker(&[("PROXY_MQTT_ADDRESS", url.as_str()), ("PROXY_LOG_LEVEL", "debug")]).envs(LEAST));
    worker.line("connected").await;
    broker.stop();
    let complaints = worker.lines_until(|lines| lines.iter().filter(|line| unreachable(line)).count() == 3).await;
    let loud = complaints.iter().filter(|line| unreachable(line) && line["level"] == "WARN").count();
    assert_eq!(loud, 1);
}

fn unreachable(line: &Value) -> bool {
    line["kind"] == "Unreachable"
}

#[tokio::test]
async fn a_request_for_what_is_not_allowed_is_logged_with_the_value_to_set() {
    let broker = Broker::start().await;
    let url = broker.url();
    let worker = Process::run(worker(&[("PROXY_MQTT_ADDRESS", url.as_str())]).envs(LEAST));
    worker.line("connected").await;
    let access = Access { port: broker.port(), ..Access::default() };
    let device = OldDevice::connect(&access, "device", "channels/floor/messages").await;
    device.ask("other.example/add:1").await;
    let line = worker.line("a device asked for what is not allowed").await;
    assert!(line["message"].as_str().unwrap().contains("PROXY_REQUESTS_ALLOW"), "{line}");
    assert_eq!(line["reference"], "other.example/add:1");
}

/// Servers that want a password, behind TLS, and a file that holds both their authorities.
struct Guarded {
    broker: Broker,
    registry: Registry,
    dir: tempfile::TempDir,
}

impl Guarded {
    async fn start() -> Self {
        let broker =
            BrokerConfig::default().transport(Transport::Tls).user("proxy-4", "s3cret").user("device", "other");
        let registry = RegistryConfig::default().transport(Transport::Tls).user("puller", "pa55");
        let (broker, registry) = tokio::join!(broker.start(), registry.start());
        let dir = tempfile::tempdir().unwrap();
        let authorities = [broker.tls().ca.unwrap(), registry.tls().ca.unwrap()].concat();
        fs::write(dir.path().join("authorities.pem"), authorities).unwrap();
        Self { broker, registry, dir }
    }

    fn authorities(&self) -> std::path::PathBuf {
        self.dir.path().join("authorities.pem")
    }

    /// A worker that has all it needs but an identity and somebody to trust.
    fn worker(&self, directory: &Path, authorities: &Path) -> tokio::process::Command {
        let mut command = worker(&[
            ("PROXY_MQTT_ADDRESS", &format!("ssl://127.0.0.1:{}", self.broker.port())),
            ("PROXY_REGISTRY_URL", &self.registry.host()),
            ("PROXY_AUTHENTICATE", "TRUE"),
            ("PROXY_REGISTRY_USERNAME", "puller"),
            ("PROXY_REGISTRY_PASSWORD", "pa55"),
            ("PROXY_CHUNK_SIZE", "1000"),
        ]);
        command.current_dir(directory).env("SSL_CERT_FILE", authorities);
        command
    }

    /// A device of old gets a module from it.
    async fn delivers(&self, prefix: &str) {
        let bytes = module(2500);
        self.registry.push("wasm/add:latest", bytes.clone()).await;
        let tls = Some(self.broker.tls().client_config().unwrap());
        let access = Access { port: self.broker.port(), user: Some(("device", "other")), tls };
        let mut device = OldDevice::connect(&access, "device", prefix).await;
        device.ask("wasm/add").await;
        assert_eq!(device.gather("wasm/add").await, bytes);
    }
}

#[tokio::test]
async fn the_authorities_of_ssl_cert_file_are_trusted_for_the_broker_and_the_registry() {
    let servers = Guarded::start().await;
    let mut command = servers.worker(servers.dir.path(), &servers.authorities());
    let worker = Process::run(command.envs([
        ("PROXY_ENTITY_ID", "proxy-4"),
        ("PROXY_API_KEY", "s3cret"),
        ("PROXY_TENANT_ID", "acme"),
        ("PROXY_CHANNEL_ID", "floor"),
    ]));
    worker.line("connected").await;
    servers.delivers("m/acme/c/floor").await;
}

#[tokio::test]
async fn the_identity_of_config_toml_is_used() {
    let servers = Guarded::start().await;
    let config = "[proxy]\ndomain_id = 'acme'\nclient_id = 'proxy-4'\nclient_key = 's3cret'\nchannel_id = 'floor'\n";
    fs::write(servers.dir.path().join("config.toml"), config).unwrap();
    let worker = Process::run(&mut servers.worker(servers.dir.path(), &servers.authorities()));
    assert_eq!(worker.line("starting").await["client"], "proxy-4");
    worker.line("connected").await;
    servers.delivers("m/acme/c/floor/messages").await;
}

#[tokio::test]
async fn a_broker_of_an_unknown_authority_is_not_trusted() {
    let servers = Guarded::start().await;
    let stranger = servers.dir.path().join("stranger.pem");
    fs::write(&stranger, Pki::new().ca()).unwrap();
    let worker = Process::run(servers.worker(servers.dir.path(), &stranger).env("PROXY_CHANNEL_ID", "floor"));
    let line = worker.line("no TLS connection").await;
    assert!(line["message"].as_str().unwrap().contains("certificate"), "{line}");
}

#[tokio::test]
async fn a_registry_over_plain_http_needs_no_authorities() {
    let (broker, registry) = tokio::join!(Broker::start(), Registry::start());
    let bytes = module(2500);
    registry.push("wasm/add:latest", bytes.clone()).await;
    let nobody = tempfile::tempdir().unwrap();
    let (broker_url, registry_url) = (broker.url(), format!("http://{}", registry.host()));
    let mut command = worker(&[
        ("PROXY_MQTT_ADDRESS", &broker_url),
        ("PROXY_REGISTRY_URL", &registry_url),
        ("PROXY_CHANNEL_ID", "floor"),
    ]);
    command.env("SSL_CERT_FILE", "/dev/null").env("SSL_CERT_DIR", nobody.path());
    let worker = Process::run(&mut command);
    worker.line("connected").await;
    let access = Access { port: broker.port(), ..Access::default() };
    let mut device = OldDevice::connect(&access, "device", "channels/floor/messages").await;
    device.ask("wasm/add").await;
    assert_eq!(device.gather("wasm/add").await, bytes);
}
