//! What a newer definition refuses that an older one admitted.

use serde_json::Value;

/// A difference that may cost somebody their resource.
#[derive(Debug, PartialEq, Eq)]
pub enum Finding {
    /// A field is gone or is another, a bound is closer, a word is missing.
    Narrowed(String),
    /// A rule that was not there. Whether it refuses what was in use only a person can tell.
    Rule { field: String, message: String },
}

/// What `new` refuses of that which `old` admitted, each a schema of `path`.
pub fn narrowed(old: &Value, new: &Value, path: &str) -> Vec<Finding> {
    // Nobody has it, so it may become anything.
    if rules(old).any(|(rule, _)| rule == "false") {
        return Vec::new();
    }
    if new.is_null() {
        return vec![Finding::Narrowed(format!("{path}: the field is gone"))];
    }
    let mut findings = new_rules(old, new, path);
    findings.extend(keywords(old, new).filter_map(|keyword| narrower(keyword, &old[keyword], &new[keyword], path)));
    for (name, property) in old["properties"].as_object().into_iter().flatten() {
        findings.extend(narrowed(property, &new["properties"][name], &format!("{path}.{name}")));
    }
    for values in ["items", "additionalProperties"].into_iter().filter(|values| old[values].is_object()) {
        findings.extend(narrowed(&old[values], &new[values], &format!("{path}[]")));
    }
    findings
}

fn rules(schema: &Value) -> impl Iterator<Item = (&str, &str)> {
    let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    rules.map(|rule| (rule["rule"].as_str().unwrap(), rule["message"].as_str().unwrap()))
}

fn new_rules(old: &Value, new: &Value, path: &str) -> Vec<Finding> {
    let is_new = |(rule, _): &(&str, &str)| rules(old).all(|(old, _)| old != *rule);
    let finding = |(_, message): (&str, &str)| Finding::Rule { field: path.to_owned(), message: message.to_owned() };
    rules(new).filter(is_new).map(finding).collect()
}

/// Every keyword of either, each once.
fn keywords<'a>(old: &'a Value, new: &'a Value) -> impl Iterator<Item = &'a str> {
    let keywords =
        |schema: &'a Value| schema.as_object().into_iter().flat_map(|fields| fields.keys().map(String::as_str));
    keywords(old).chain(keywords(new).filter(|keyword| old.get(keyword).is_none()))
}

fn narrower(keyword: &str, old: &Value, new: &Value, path: &str) -> Option<Finding> {
    let is_fine = match keyword {
        "description" | "properties" | "items" | "additionalProperties" | "x-kubernetes-validations" => true,
        "maximum" | "maxLength" | "maxItems" | "maxProperties" => {
            new.is_null() || old.as_f64().is_some_and(|old| new.as_f64() >= Some(old))
        }
        "minimum" | "minLength" | "minItems" | "minProperties" => {
            new.is_null() || new.as_f64() <= Some(old.as_f64().unwrap_or(f64::NEG_INFINITY))
        }
        "enum" => new.is_null() || old.as_array().is_some_and(|old| old.iter().all(|word| contains(new, word))),
        "required" => new.as_array().into_iter().flatten().all(|field| contains(old, field)),
        // What it means that a field is left out is a promise, too; and of the rest (type, format, pattern, the keys of a
        // list) any change is one too many.
        _ => old == new,
    };
    (!is_fine).then(|| Finding::Narrowed(format!("{path}: {keyword} was {old} and is {new}")))
}

fn contains(list: &Value, value: &Value) -> bool {
    list.as_array().is_some_and(|list| list.contains(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({
            "type": "object",
            "required": ["a"],
            "properties": {
                "a": {"type": "string", "minLength": 1, "maxLength": 9, "enum": ["x", "y"]},
                "b": {"type": "integer", "default": 5, "maximum": 7.0},
                "c": {"x-kubernetes-int-or-string": true, "x-kubernetes-validations": [{"rule": "false", "message": "no"}]},
                "d": {"type": "array", "items": {"type": "string", "maxLength": 4}},
            },
        })
    }

    /// What is found where the schema at `pointer` is changed so.
    fn found(pointer: &str, change: Value) -> Vec<Finding> {
        let mut new = schema();
        *new.pointer_mut(pointer).unwrap() = change;
        narrowed(&schema(), &new, "spec")
    }

    #[test]
    fn what_admits_no_less_is_fine() {
        assert_eq!(narrowed(&schema(), &schema(), "spec"), []);
        assert_eq!(found("/properties/a", json!({"type": "string", "maxLength": 10, "enum": ["z", "y", "x"]})), []);
        assert_eq!(found("/properties/b", json!({"type": "integer", "default": 5, "description": "B."})), []);
        assert_eq!(found("/properties/c", json!({"type": "string", "maxLength": 1})), [], "nobody could have it");
        assert_eq!(found("/required", json!([])), []);
    }

    #[test]
    fn what_admits_less_is_found() {
        for (pointer, change, finding) in [
            ("/required", json!(["a", "b"]), r#"spec: required was ["a"] and is ["a","b"]"#),
            ("/properties/a/maxLength", json!(8), "spec.a: maxLength was 9 and is 8"),
            ("/properties/a/minLength", json!(2), "spec.a: minLength was 1 and is 2"),
            ("/properties/a/enum", json!(["x", "z"]), r#"spec.a: enum was ["x","y"] and is ["x","z"]"#),
            ("/properties/a/type", json!("integer"), r#"spec.a: type was "string" and is "integer""#),
            ("/properties/b/default", json!(6), "spec.b: default was 5 and is 6"),
            ("/properties/b", json!(null), "spec.b: the field is gone"),
            ("/properties/d/items/maxLength", json!(3), "spec.d[]: maxLength was 4 and is 3"),
        ] {
            assert_eq!(found(pointer, change), [Finding::Narrowed(finding.to_owned())]);
        }
        let bounded = json!({"type": "integer", "default": 5, "maximum": 7.0, "minimum": 0.0});
        assert_eq!(
            found("/properties/b", bounded),
            [Finding::Narrowed("spec.b: minimum was null and is 0.0".to_owned())]
        );
    }

    #[test]
    fn a_new_rule_is_found_by_its_expression() {
        let with = |rule: &str| {
            json!({"type": "integer", "default": 5, "maximum": 7.0,
            "x-kubernetes-validations": [{"rule": rule, "message": "b must be even"}]})
        };
        let mut old = schema();
        old["properties"]["b"] = with("self % 2 == 0");
        assert_eq!(narrowed(&old, &old, "spec"), []);
        let rule = Finding::Rule { field: "spec.b".to_owned(), message: "b must be even".to_owned() };
        assert_eq!(narrowed(&schema(), &old, "spec"), [rule]);
    }
}
