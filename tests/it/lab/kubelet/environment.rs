//! A container's environment, command and arguments, as its Pod says.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{Container, EnvVar, Pod};

/// Variables in the order in which they are defined.
pub type Variables = Vec<(String, String)>;

/// The environment of a container: these, and what its Pod says.
///
/// # Errors
/// Where a value comes from somewhere that the stand-in does not know.
pub fn environment(pod: &Pod, container: &Container, address: Ipv4Addr, given: Variables) -> Result<Variables, String> {
    let mut variables = given;
    for variable in container.env.iter().flatten() {
        let value = value(pod, variable, address, &variables)?;
        variables.retain(|(name, _)| *name != variable.name);
        variables.push((variable.name.clone(), value));
    }
    Ok(variables)
}

fn value(pod: &Pod, variable: &EnvVar, address: Ipv4Addr, known: &Variables) -> Result<String, String> {
    let Some(source) = &variable.value_from else {
        return Ok(expand(variable.value.as_deref().unwrap_or_default(), known));
    };
    match &source.field_ref {
        Some(selector) => field(pod, address, &selector.field_path),
        None => Err(format!("variable {}: the stand-in for the kubelet knows only fieldRef", variable.name)),
    }
}

/// A field of a Pod, by the path that the downward API knows it by.
///
/// # Errors
/// Where it knows none of that path.
pub fn field(pod: &Pod, address: Ipv4Addr, path: &str) -> Result<String, String> {
    let metadata = &pod.metadata;
    let spec = pod.spec.as_ref();
    let known = match path {
        "metadata.name" => metadata.name.clone(),
        "metadata.namespace" => metadata.namespace.clone(),
        "metadata.uid" => metadata.uid.clone(),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()),
        "status.podIP" | "status.podIPs" => Some(address.to_string()),
        "status.hostIP" | "status.hostIPs" => Some(Ipv4Addr::LOCALHOST.to_string()),
        _ => {
            let key = |map| path.strip_prefix(map)?.strip_prefix("['")?.strip_suffix("']");
            let maps = [("metadata.labels", &metadata.labels), ("metadata.annotations", &metadata.annotations)];
            let found = maps.into_iter().find_map(|(name, map)| Some((key(name)?, map)));
            let (key, map) = found.ok_or_else(|| format!("the stand-in for the kubelet knows no field {path}"))?;
            map.as_ref().and_then(|map| map.get(key).cloned())
        }
    };
    Ok(known.unwrap_or_default())
}

/// Replaces `$(NAME)` where the variable is known, and `$$` by `$`; leaves everything else as it is.
pub fn expand(text: &str, known: &Variables) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        let reference = after.strip_prefix('(').and_then(|after| after.split_once(')'));
        rest = match reference {
            _ if after.starts_with('$') => {
                expanded.push('$');
                &after[1..]
            }
            Some((name, behind)) => {
                match known.iter().find(|(known, _)| known == name) {
                    Some((_, value)) => expanded.push_str(value),
                    None => expanded.push_str(&format!("$({name})")),
                }
                behind
            }
            None => {
                expanded.push('$');
                after
            }
        };
    }
    expanded + rest
}

/// What a container runs: its command, or else that of the image, and its arguments.
pub fn command(container: &Container, variables: &Variables) -> Vec<String> {
    let image = || vec!["wasmproxy".to_owned()];
    let command = container.command.clone().filter(|command| !command.is_empty()).unwrap_or_else(image);
    let words = command.into_iter().chain(container.args.clone().unwrap_or_default());
    words.map(|word| expand(&word, variables)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(container: Value) -> Pod {
        let metadata = json!({"name": "line-1", "namespace": "floor", "uid": "u-1", "labels": {"app/name": "line"}});
        serde_json::from_value(json!({"metadata": metadata, "spec": {"nodeName": "n-1", "containers": [container]}}))
            .unwrap()
    }

    fn variables(container: Value, given: &[(&str, &str)]) -> Result<Variables, String> {
        let pod = pod(container);
        let owned = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        environment(&pod, &pod.spec.as_ref().unwrap().containers[0], Ipv4Addr::new(127, 1, 2, 3), owned)
    }

    #[test]
    fn references_to_variables_are_replaced_where_they_are_known() {
        let known = vec![("A".to_owned(), "1".to_owned()), ("B".to_owned(), "2".to_owned())];
        for (text, expanded) in [
            ("$(A)-$(B)", "1-2"),
            ("$(C)", "$(C)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$A $( costs 5$", "$A $( costs 5$"),
        ] {
            assert_eq!(expand(text, &known), expanded, "{text}");
        }
    }

    #[test]
    fn a_variable_knows_those_before_it_and_overrides_what_was_given() {
        let env =
            json!([{"name": "LATE", "value": "$(EARLY) $(HOST)"}, {"name": "EARLY", "value": "1"}, {"name": "HOST"}]);
        let variables = variables(json!({"name": "c", "env": env}), &[("HOST", "h")]).unwrap();
        let expected = [("LATE", "$(EARLY) h"), ("EARLY", "1"), ("HOST", "")];
        assert_eq!(variables, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn fields_of_the_pod_are_told() {
        for (path, value) in [
            ("metadata.name", "line-1"),
            ("metadata.namespace", "floor"),
            ("metadata.uid", "u-1"),
            ("metadata.labels['app/name']", "line"),
            ("metadata.annotations['none']", ""),
            ("spec.nodeName", "n-1"),
            ("status.podIP", "127.1.2.3"),
        ] {
            let env = json!([{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": path}}}]);
            assert_eq!(variables(json!({"name": "c", "env": env}), &[]).unwrap()[0].1, value, "{path}");
        }
        let secret = json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]);
        assert!(variables(json!({"name": "c", "env": secret}), &[]).is_err());
    }

    #[test]
    fn arguments_follow_the_command_or_else_that_of_the_image() {
        let command = |container: Value| {
            let pod = pod(container);
            command(&pod.spec.unwrap().containers[0], &vec![("A".to_owned(), "1".to_owned())])
        };
        assert_eq!(command(json!({"name": "c", "args": ["worker", "$(A)"]})), ["wasmproxy", "worker", "1"]);
        assert_eq!(command(json!({"name": "c", "command": ["sh", "-c"], "args": ["true"]})), ["sh", "-c", "true"]);
    }
}
