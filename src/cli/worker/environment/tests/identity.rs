//! Who we are on which channel.

use super::{LEAST, Settings, read_with, settings};
use crate::mqtt::Credentials;

fn settings_from_file(variables: &[(&str, &str)], file: &str) -> Settings {
    let url = ("PROXY_REGISTRY_URL", "registry.example");
    read_with(&[&[url], variables].concat(), &[("config.toml", file)]).unwrap()
}

fn prefix(variables: &[(&str, &str)]) -> String {
    settings(variables).worker.prefix.to_string()
}

fn login(settings: &Settings) -> (&str, Option<&str>) {
    let Credentials { username, password } = settings.worker.broker.credentials.as_ref().unwrap();
    (username, password.as_deref())
}

#[test]
fn the_entity_has_had_three_names_and_is_the_client_id_too() {
    for name in ["PROXY_PROPLET_ID", "PROXY_CLIENT_ID", "PROXY_ENTITY_ID"] {
        let settings = settings(&[(name, "proxy-4")]);
        assert_eq!(login(&settings), ("proxy-4", None), "{name}");
        assert_eq!(settings.worker.broker.client_id, "proxy-4", "{name}");
        assert_eq!(settings.warnings, [""; 0]);
    }
}

#[test]
fn the_key_has_had_three_names() {
    for name in ["PROXY_PROPLET_KEY", "PROXY_CLIENT_KEY", "PROXY_API_KEY"] {
        assert_eq!(login(&settings(&[("PROXY_ENTITY_ID", "a"), (name, "s3cret")])), ("a", Some("s3cret")), "{name}");
    }
}

#[test]
fn the_newest_name_wins_and_one_that_disagrees_is_warned_about() {
    let agreeing = settings(&[("PROXY_CLIENT_ID", "a"), ("PROXY_ENTITY_ID", "a")]);
    assert_eq!(agreeing.warnings, [""; 0]);
    let disagreeing = settings(&[("PROXY_CLIENT_ID", "old"), ("PROXY_ENTITY_ID", "new")]);
    assert_eq!(login(&disagreeing).0, "new");
    assert_eq!(disagreeing.warnings, ["PROXY_CLIENT_ID has no effect: PROXY_ENTITY_ID says something else"]);
}

#[test]
fn a_worker_without_an_entity_has_a_client_id_of_its_machine_and_channel() {
    let id = |channel| settings(&[("PROXY_CHANNEL_ID", channel)]).worker.broker.client_id;
    assert_eq!(id("a"), id("a"));
    assert_ne!(id("a"), id("b"));
    assert!(id("a").starts_with("wp") && id("a").len() == 22, "{}", id("a"));
}

#[test]
fn the_topics_are_those_of_the_naming_that_the_devices_know() {
    assert_eq!(prefix(&[]), "channels/9b1c/messages");
    assert_eq!(prefix(&[("PROXY_DOMAIN_ID", "acme")]), "m/acme/c/9b1c/messages");
    assert_eq!(prefix(&[("PROXY_TENANT_ID", "acme")]), "m/acme/c/9b1c");
}

#[test]
fn a_domain_in_a_later_environment_is_warned_about_since_the_devices_may_know_other_topics() {
    let domain = ("PROXY_DOMAIN_ID", "acme");
    assert_eq!(settings(&[domain]).warnings, [""; 0]);
    let later = settings(&[domain, ("PROXY_HTTP_PORT", "9191")]);
    assert_eq!(later.worker.prefix.as_str(), "m/acme/c/9b1c/messages");
    assert!(matches!(&later.warnings[..], [warning] if warning.contains("set PROXY_TENANT_ID in its place")));
    assert_eq!(settings(&[("PROXY_TENANT_ID", "acme"), ("PROXY_HTTP_PORT", "9191")]).warnings, [""; 0]);
}

#[test]
fn a_tenant_hides_a_domain() {
    let settings = settings(&[("PROXY_DOMAIN_ID", "old"), ("PROXY_TENANT_ID", "acme")]);
    assert_eq!(settings.worker.prefix.as_str(), "m/acme/c/9b1c");
    assert_eq!(settings.warnings, ["PROXY_DOMAIN_ID has no effect beside PROXY_TENANT_ID"]);
}

#[test]
fn the_identity_may_be_in_a_file_by_all_its_names() {
    for (file, prefix) in [
        ("[proxy]\ntenant_id='t'\nentity_id='e'\napi_key='k'\nchannel_id='c'", "m/t/c/c"),
        ("[proxy]\ndomain_id='t'\nclient_id='e'\nclient_key='k'\nchannel_id='c'", "m/t/c/c/messages"),
        ("[manager]\nclient_id='x'\n[proxy]\nproplet_id='e'\nproplet_key='k'\nchannel_id='c'", "channels/c/messages"),
    ] {
        let settings = settings_from_file(&[], file);
        assert_eq!((login(&settings), settings.worker.prefix.as_str()), (("e", Some("k")), prefix), "{file}");
    }
}

#[test]
fn the_environment_goes_before_the_file() {
    let file = "[proxy]\ntenant_id='t'\nentity_id='e'\napi_key='k'\nchannel_id='c'";
    let settings = settings_from_file(&[("PROXY_ENTITY_ID", "mine")], file);
    assert_eq!((login(&settings), settings.worker.prefix.as_str()), (("mine", Some("k")), "m/t/c/c"));
}

#[test]
fn a_channel_of_the_environment_is_not_moved_below_a_tenant_of_the_file() {
    let file = "[proxy]\ntenant_id='t'\ndomain_id='t'\nchannel_id='c'";
    let prefix = |variables: &[_]| settings_from_file(variables, file).worker.prefix.to_string();
    assert_eq!(prefix(&[("PROXY_CHANNEL_ID", "mine")]), "channels/mine/messages");
    assert_eq!(prefix(&[("PROXY_DOMAIN_ID", "mine")]), "m/mine/c/c/messages");
}

#[test]
fn the_file_is_not_looked_at_where_the_environment_says_it_all() {
    let all = [LEAST[0], LEAST[1], ("PROXY_ENTITY_ID", "e"), ("PROXY_API_KEY", "k")];
    assert!(read_with(&all, &[("config.toml", "a folder")]).is_ok());
}

#[test]
fn a_file_of_no_use_is_named_and_its_secrets_are_not_quoted() {
    for (file, message) in [
        ("a folder", "config.toml cannot be used: is a directory"),
        ("[proxy]\napi_key = s3cret", "config.toml cannot be used: line 2 is not TOML"),
        ("proxy = 's3cret'", "config.toml cannot be used: proxy is not a section"),
        ("[proxy]\nchannel_id = 5", "config.toml cannot be used: channel_id in [proxy] is not a string"),
        (
            "[proxy]\nchannel_id = ''",
            "PROXY_CHANNEL_ID is not set: say which channel the devices are on, here or as channel_id in config.toml",
        ),
    ] {
        let error = read_with(&LEAST[..1], &[("config.toml", file)]).unwrap_err().to_string();
        assert_eq!(error, message);
    }
}
