//! `examples/full.yaml`, first as it stands, with hosts that nobody has, and then as somebody makes it real.

use std::{fs, path::Path};

use tempfile::TempDir;

use crate::{
    harness::{
        Cluster, Namespace, PASSWORD,
        shell::{attempt, bash_in, kubectl, read, run},
    },
    status::is_ready,
};

/// The example's resource.
const RESOURCE: &str = "wp/factory-floor";

/// A folder with the files that the comments of the example name: an authority, what it has signed for broker and registry,
/// and what it has signed for the worker.
fn certificates(namespace: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    let new = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    let signed = format!("{new} -CA ca.crt -CAkey ca.key -addext basicConstraints=critical,CA:false");
    let names = format!("DNS:broker.{namespace},DNS:registry.{namespace},IP:127.0.0.1");
    let typed = format!(
        "{new} -subj /CN=authority -keyout ca.key -out ca.crt
        {signed} -subj /CN=servers -addext subjectAltName={names} -keyout server.key -out server.crt
        {signed} -subj /CN=wasmproxy -keyout tls.key -out tls.crt"
    );
    bash_in(folder.path(), &typed);
    folder
}

/// The playground behind TLS: its comments say what to change.
fn playground(namespace: &Namespace, certificates: &Path) {
    let name = namespace.name();
    let server = certificates.join("server").display().to_string();
    let authority = format!("--from-file=ca.crt={}", certificates.join("ca.crt").display());
    let [certificate, key] = ["crt", "key"].map(|end| format!("--from-file=tls.{end}={server}.{end}"));
    namespace.kubectl(&["create", "secret", "generic", "servers", &authority, &certificate, &key]);
    customize("playground.yaml", name, PLAYGROUND);
    for deployment in ["deployment/broker", "deployment/registry"] {
        namespace.kubectl(&["rollout", "status", deployment, "--timeout=2m"]);
    }
}

const PLAYGROUND: &str = r"
patches:
  - target: {kind: Job}
    patch: |
      {$patch: delete, apiVersion: batch/v1, kind: Job, metadata: {name: push}}
  - target: {kind: Secret, name: broker-server}
    patch: |
      - op: replace
        path: /stringData/mosquitto.conf
        value: |
          listener 1883
          listener 8883
          cafile /etc/tls/ca.crt
          certfile /etc/tls/tls.crt
          keyfile /etc/tls/tls.key
          require_certificate true
          allow_anonymous false
          password_file /etc/mosquitto/users
          log_dest stderr
  - target: {kind: Secret, name: registry-server}
    patch: |
      - op: replace
        path: /stringData/config.yaml
        value: |
          version: 0.1
          storage:
            filesystem: {rootdirectory: /var/lib/registry}
          http:
            addr: :5000
            tls: {certificate: /etc/tls/tls.crt, key: /etc/tls/tls.key}
          auth:
            htpasswd: {realm: playground, path: /etc/registry/users}
  - target: {kind: Deployment}
    patch: |
      - {op: add, path: /spec/template/spec/volumes/-, value: {name: tls, secret: {secretName: servers}}}
      - {op: add, path: /spec/template/spec/containers/0/volumeMounts/-, value: {name: tls, mountPath: /etc/tls}}
  - target: {kind: Deployment, name: registry}
    patch: |
      - {op: add, path: /spec/template/spec/containers/0/startupProbe/httpGet/scheme, value: HTTPS}
  - target: {kind: Service, name: broker}
    patch: |
      - {op: add, path: /spec/ports/-, value: {name: mqtts, port: 8883}}
";

/// Applies an example as `kubectl apply -k` does, in this namespace.
fn customize(example: &str, namespace: &str, with: &str) {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join(example), read(&format!("examples/{example}"))).unwrap();
    let kustomization = format!("namespace: {namespace}\nresources: [{example}]\n{with}");
    fs::write(folder.path().join("kustomization.yaml"), kustomization).unwrap();
    kubectl(&["apply", "-k", folder.path().to_str().unwrap()]);
}

/// Applies the example with these in place of its hosts and digests.
fn make_real(namespace: &str, broker: &str, registry: &str, sub: &str) {
    let patch = format!(
        "patches:
  - target: {{kind: WasmProxy}}
    patch: |
      - {{op: replace, path: /spec/broker/url, value: \"mqtts://{broker}:8883\"}}
      - {{op: replace, path: /spec/registry/host, value: \"{registry}:5000\"}}
      - {{op: replace, path: /spec/artifacts/1/reference, value: \"{registry}:5000/wasm/sub@{sub}\"}}
      - {{op: replace, path: /spec/requests/allow/0, value: \"{registry}:5000/wasm/**\"}}
"
    );
    customize("full.yaml", namespace, &patch);
}

/// What the example's comments say to type, with what they leave open.
fn commands(namespace: &str, registry: &str) -> String {
    let comments = read("examples/full.yaml");
    let typed = comments.lines().take_while(|line| line.starts_with('#')).filter_map(|line| line.strip_prefix("#   "));
    let typed: Vec<_> = typed.collect();
    assert!(typed.len() > 5, "{typed:#?}");
    let real = typed.join("\n").replace("-n edge", &format!("-n {namespace}"));
    real.replace('…', PASSWORD).replace("registry.example:5000", registry)
}

/// Pushes a module, and returns the digest of its manifest.
fn push(port: u16, reference: &str, certificates: &Path) -> String {
    let module = certificates.join("module.wasm");
    fs::write(&module, format!("\0asm\x01\0\0\0{reference}")).unwrap();
    let authority = certificates.join("ca.crt");
    let [target, layer] = [format!("127.0.0.1:{port}/{reference}"), format!("{}:application/wasm", module.display())];
    let user = ["--username=wasmproxy", "--password", PASSWORD, "--ca-file", authority.to_str().unwrap()];
    let said =
        run("oras", &[&["push", "--no-tty", "--disable-path-validation", &target, &layer], &user[..]].concat(), "");
    said.lines().find_map(|line| line.strip_prefix("Digest: ")).unwrap().to_owned()
}

/// Waits until `Ready` says this reason, and a sentence with these words.
fn until_it_says(namespace: &Namespace, reason: &str, words: &[&str]) {
    let is_said = format!("jsonpath={{.status.conditions[?(@.type==\"Ready\")].reason}}={reason}");
    namespace.wait(&is_said, RESOURCE);
    let described = namespace.kubectl(&["describe", RESOURCE]);
    for word in words {
        assert!(described.contains(word), "{word} is not in:\n{described}");
    }
}

#[test]
fn the_example_of_every_field_says_what_is_missing_until_it_brings_its_modules() {
    let cluster = Cluster::with_operator();
    let namespace = cluster.namespace("full");
    let name = namespace.name();
    let [broker, registry] = ["broker", "registry"].map(|service| format!("{service}.{name}"));
    let certificates = certificates(name);
    let certificates = certificates.path();

    customize("full.yaml", name, "");
    until_it_says(
        &namespace,
        "SecretNotFound",
        &["Secret broker does not exist", "with the keys username and password"],
    );
    bash_in(certificates, &commands(name, &format!("{registry}:5000")));
    until_it_says(&namespace, "BrokerUnreachable", &["broker.example:8883", "check its address"]);

    playground(&namespace, certificates);
    let nowhere = format!("sha256:{}", "0".repeat(64));
    make_real(name, &broker, "registry.example", &nowhere);
    until_it_says(&namespace, "RegistryUnreachable", &["registry.example:5000", "check the registry's address"]);

    let forward = namespace.forward("service/registry", 5000);
    push(forward.port, "wasm/add:1.2", certificates);
    let sub = push(forward.port, "wasm/sub:1", certificates);
    make_real(name, &broker, &registry, &sub);
    namespace.watch(RESOURCE).until("it is ready", is_ready);
    let status = &namespace.get(RESOURCE)["status"];
    assert_eq!((&status["published"], &status["broker"]["protocol"]), (&"2/2".into(), &"MQTT5".into()), "{status:#}");
    fetch(&namespace, certificates);
}

/// A device gets one of them, behind the same TLS.
fn fetch(namespace: &Namespace, certificates: &Path) {
    let broker = namespace.forward("service/broker", 8883);
    let file = |name: &str| certificates.join(name).display().to_string();
    fs::write(file("password"), PASSWORD).unwrap();
    let url = format!("mqtts://127.0.0.1:{}", broker.port);
    let tls = [("--ca-file", "ca.crt"), ("--cert-file", "tls.crt"), ("--key-file", "tls.key")];
    let files: Vec<_> = tls.iter().flat_map(|(option, name)| [(*option).to_owned(), file(name)]).collect();
    let (output, password) = (file("fetched.wasm"), file("password"));
    let channel = ["--tenant=acme", "--channel=9b1c7a52-4d0e-4c55-9f0a-2f6f2c1f7e11"];
    let user = ["--username=device", "--password-file", &password];
    let mut arguments = ["fetch", "wasm/add:1.2", "-o", &output, "--broker", &url].to_vec();
    arguments.extend(channel.iter().chain(&user).copied().chain(files.iter().map(String::as_str)));
    attempt(env!("CARGO_BIN_EXE_wasmproxy"), &arguments, "").unwrap();
    assert_eq!(fs::read(output).unwrap(), b"\0asm\x01\0\0\0wasm/add:1.2");
}
