//! What is missing or wrong, and what is said about it.

use proptest::{prelude::*, sample::select};

use super::{LEAST, read_with, with};

#[test]
fn each_mistake_is_one_line_that_names_its_variable() {
    for (variables, message) in [
        (
            &[("PROXY_REGISTRY_URL", "")][..],
            "PROXY_REGISTRY_URL is not set: say where modules are found, for example PROXY_REGISTRY_URL=registry.example",
        ),
        (
            &[("PROXY_CHANNEL_ID", "")],
            "PROXY_CHANNEL_ID is not set: say which channel the devices are on, here or as channel_id in config.toml",
        ),
        (
            &[("PROXY_API_KEY", "s3cret")],
            "PROXY_ENTITY_ID is not set: a password needs its user name: say whom PROXY_API_KEY belongs to",
        ),
        (
            &[("PROXY_CHANNEL_ID", "a/b")],
            r#"PROXY_CHANNEL_ID cannot be used: "a/b" is not 1 to 64 letters, digits or any of `_ . : -`"#,
        ),
        (
            &[("PROXY_DOMAIN_ID", "+")],
            r#"PROXY_DOMAIN_ID cannot be used: "+" is not 1 to 64 letters, digits or any of `_ . : -`"#,
        ),
        (
            &[("PROXY_TENANT_ID", "#")],
            r##"PROXY_TENANT_ID cannot be used: "#" is not 1 to 64 letters, digits or any of `_ . : -`"##,
        ),
        (
            &[("PROXY_MQTT_ADDRESS", "http://broker")],
            r#"PROXY_MQTT_ADDRESS cannot be used: scheme "http" is not supported: use mqtt, mqtts, tcp or ssl"#,
        ),
        (
            &[("PROXY_MQTT_ADDRESS", "tcp://user:s3cret@broker")],
            "PROXY_MQTT_ADDRESS cannot be used: credentials do not belong into a broker's address: give user name and password separately",
        ),
        (&[("PROXY_CACHE_SIZE", "1 GB")], r#"PROXY_CACHE_SIZE is "1 GB": say bytes, such as 512Mi or 1Gi"#),
        (&[("PROXY_MQTT_QOS", "3")], r#"PROXY_MQTT_QOS is "3": say 0, 1 or 2"#),
        (&[("PROXY_MQTT_QOS", "one")], r#"PROXY_MQTT_QOS is "one": say 0, 1 or 2"#),
        (
            &[("PROXY_MQTT_TIMEOUT", "30")],
            r#"PROXY_MQTT_TIMEOUT is "30": say a time with its unit, such as 30s or 1m30s"#,
        ),
        (
            &[("PROXY_MQTT_TIMEOUT", "0s")],
            r#"PROXY_MQTT_TIMEOUT is "0s": say a time with its unit, such as 30s or 1m30s"#,
        ),
        (
            &[("PROXY_MQTT_TLS_CA_CERT", "/ca")],
            r#"PROXY_MQTT_TLS_CA_CERT names the file "/ca", which cannot be read: entity not found"#,
        ),
        (
            &[("PROXY_MQTT_TLS_INSECURE_SKIP_VERIFY", "yes")],
            r#"PROXY_MQTT_TLS_INSECURE_SKIP_VERIFY is "yes": say true or false"#,
        ),
        (
            &[("PROXY_REGISTRY_URL", "ftp://a")],
            "PROXY_REGISTRY_URL cannot be used: say host[:port], with http:// in front for plain HTTP",
        ),
        (
            &[("PROXY_REGISTRY_URL", "a.example/team")],
            "PROXY_REGISTRY_URL cannot be used: a registry is host[:port]: what follows belongs into references",
        ),
        (
            &[("PROXY_REGISTRY_URL", "https://user:s3cret@a")],
            "PROXY_REGISTRY_URL cannot be used: credentials belong in PROXY_REGISTRY_USERNAME and PROXY_REGISTRY_PASSWORD",
        ),
        (&[("PROXY_AUTHENTICATE", "yes")], r#"PROXY_AUTHENTICATE is "yes": say true or false"#),
        (
            &[("PROXY_AUTHENTICATE", "1")],
            "PROXY_REGISTRY_USERNAME is not set: PROXY_AUTHENTICATE wants user name and password, or PROXY_REGISTRY_TOKEN",
        ),
        (
            &[("PROXY_AUTHENTICATE", "1"), ("PROXY_REGISTRY_USERNAME", "a")],
            "PROXY_REGISTRY_PASSWORD is not set: PROXY_REGISTRY_USERNAME needs its password",
        ),
        (&[("PROXY_CHUNK_SIZE", "10")], r#"PROXY_CHUNK_SIZE is "10": a chunk is 256 to 16777216 bytes"#),
        (
            &[("PROXY_CHUNK_SIZE", "99999999999")],
            r#"PROXY_CHUNK_SIZE is "99999999999": a chunk is 256 to 16777216 bytes"#,
        ),
        (&[("PROXY_CHUNK_SIZE", "1k")], r#"PROXY_CHUNK_SIZE is "1k": a chunk is 256 to 16777216 bytes"#),
        (&[("PROXY_PACE", "0")], r#"PROXY_PACE is "0": say bytes a second between 1k and 1T, such as 500k or 50M"#),
        (&[("PROXY_HTTP_PORT", "70000")], r#"PROXY_HTTP_PORT is "70000": say a port, or 0 for no probes"#),
        (&[("PROXY_HTTP_HOST", "localhost")], r#"PROXY_HTTP_HOST is "localhost": say an IP address of this machine"#),
        (&[("PROXY_LOG_LEVEL", "loud")], r#"PROXY_LOG_LEVEL is "loud": say error, warn, info, debug or trace"#),
    ] {
        assert_eq!(with(variables).unwrap_err().to_string(), message);
    }
}

#[test]
fn a_certificate_and_its_key_come_together() {
    let missing = |present| {
        let error = read_with(&[LEAST[0], LEAST[1], (present, "file")], &[("file", "pem")]).unwrap_err();
        error.to_string()
    };
    assert!(missing("PROXY_MQTT_TLS_CLIENT_CERT").starts_with("PROXY_MQTT_TLS_CLIENT_KEY is not set: "));
    assert!(missing("PROXY_MQTT_TLS_CLIENT_KEY").starts_with("PROXY_MQTT_TLS_CLIENT_CERT is not set: "));
}

#[test]
fn a_pattern_that_is_none_is_an_error() {
    let error = with(&[("PROXY_REQUESTS_ALLOW", "a[")]).unwrap_err().to_string();
    assert!(error.starts_with(r#"PROXY_REQUESTS_ALLOW cannot be used: the pattern "a[" cannot be read"#), "{error}");
}

#[test]
fn modules_that_should_be_encrypted_are_not_sent_as_they_are() {
    let error = with(&[("PROXY_WORKLOAD_KEY", "s3cret")]).unwrap_err().to_string();
    assert!(error.starts_with("PROXY_WORKLOAD_KEY cannot be used: encrypting modules is not supported"), "{error}");
    assert!(!error.contains("s3cret"));
    let file = [("config.toml", "[proxy]\nworkload_key = 's3cret'")];
    let error = read_with(&LEAST, &file).unwrap_err().to_string();
    assert!(error.starts_with("config.toml cannot be used: workload_key in [proxy]: encrypting"), "{error}");
}

proptest! {
    #[test]
    fn any_value_is_taken_or_refused_in_one_line(
        name in select(vec![
            "PROXY_API_KEY", "PROXY_AUTHENTICATE", "PROXY_CHANNEL_ID", "PROXY_CHUNK_SIZE", "PROXY_DOMAIN_ID",
            "PROXY_ENTITY_ID", "PROXY_HTTP_HOST", "PROXY_HTTP_PORT", "PROXY_LOG_LEVEL", "PROXY_MQTT_ADDRESS",
            "PROXY_MQTT_QOS", "PROXY_MQTT_TIMEOUT", "PROXY_MQTT_TLS_CA_CERT", "PROXY_PACE", "PROXY_REGISTRY_URL",
            "PROXY_REQUESTS_ALLOW", "PROXY_TENANT_ID",
        ]),
        value in "(?s).{0,40}",
    ) {
        if let Err(error) = with(&[(name, &value)]) {
            let said = error.to_string();
            prop_assert!(said.starts_with("PROXY_") && !said.contains('\n'), "{said}");
        }
    }

    #[test]
    fn any_file_is_taken_or_refused_in_one_line(text in "(?s).{0,60}", section in "(?s).{0,60}") {
        for file in [text, format!("[proxy]\n{section}")] {
            if let Err(error) = read_with(&LEAST[..1], &[("config.toml", &file)]) {
                prop_assert!(!error.to_string().contains('\n'), "{error}");
            }
        }
    }
}
