//! The schema, field by field.

use serde_json::Value;

/// Fields of Kubernetes' own types, which Kubernetes documents.
const NOT_OURS: [&str; 4] =
    [".spec.worker.affinity", ".spec.worker.resources", ".spec.worker.tolerations", ".status.conditions"];

/// A field, as documents name it: `.spec.artifacts[].reference`.
pub struct Field {
    pub path: String,
    pub schema: Value,
    /// Whether the object that holds it must hold it.
    pub is_required: bool,
}

/// The schema of the resource as a whole.
pub fn root() -> Value {
    let crd = serde_json::to_value(wasmproxy::api::crd()).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// Every field of ours, those of objects after the object.
pub fn fields() -> Vec<Field> {
    let mut fields = Vec::new();
    collect(&root(), "", &mut fields);
    fields
}

fn collect(schema: &Value, path: &str, fields: &mut Vec<Field>) {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let is_required = required.contains(&name.as_str().into());
        fields.push(Field { path: path.clone(), schema: property.clone(), is_required });
        if !NOT_OURS.contains(&path.as_str()) && !is_reference(property) && !is_reference(&property["items"]) {
            collect(property, &path, fields);
            collect(&property["items"], &format!("{path}[]"), fields);
        }
    }
}

/// Whether an object is but the name of another.
pub fn is_reference(schema: &Value) -> bool {
    let properties = schema["properties"].as_object();
    properties.is_some_and(|properties| properties.keys().eq(["name"]))
}

/// The sentences with which the API server refuses a value for what is said of `schema`, but not of a field in it.
pub fn sentences(schema: &Value) -> Vec<&str> {
    let rules = [schema, &schema["items"]].map(|schema| schema["x-kubernetes-validations"].as_array());
    rules.into_iter().flatten().flatten().map(|rule| rule["message"].as_str().unwrap()).collect()
}

impl Field {
    /// What there is to know in a line, as in "`integer`, 1 to 65536, default `1024`".
    pub fn facts(&self) -> String {
        let parts = [kind(&self.schema)].into_iter().chain(bounds(&self.schema)).chain(bounds_of_each(&self.schema));
        parts.chain(self.presence()).collect::<Vec<_>>().join(", ")
    }

    /// Whether it has to be there. Of a status that says nothing: who reads it does not fill it in.
    fn presence(&self) -> Option<String> {
        match &self.schema["default"] {
            _ if self.path.starts_with(".status") => None,
            _ if self.is_required => Some("required".to_owned()),
            Value::Null | Value::Object(_) => Some("optional".to_owned()),
            Value::String(default) => Some(format!("default `{default}`")),
            default => Some(format!("default `{default}`")),
        }
    }
}

fn kind(schema: &Value) -> String {
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<_> = words.iter().map(|word| format!("`{}`", word.as_str().unwrap())).collect();
        return match words.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => words.concat(),
        };
    }
    match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("string"), Some("date-time")) => "time".to_owned(),
        (Some("array"), _) if is_reference(&schema["items"]) => "list of names of Secrets".to_owned(),
        (Some("array"), _) => format!("list of {}s", kind(&schema["items"])),
        (Some("object"), _) if is_reference(schema) => "`name` of a Secret".to_owned(),
        (Some("object"), _) if schema["additionalProperties"].is_object() => {
            format!("map of {}s", kind(&schema["additionalProperties"]))
        }
        (Some(kind), _) => kind.to_owned(),
        (None, _) if schema["x-kubernetes-int-or-string"] == true => "quantity".to_owned(),
        (None, _) => panic!("a type that cannot be told: {schema}"),
    }
}

fn bounds(schema: &Value) -> Vec<String> {
    let bound = |least: &str, most: &str, unit: &str| match (whole(&schema[least]), whole(&schema[most])) {
        (None, None) => None,
        (Some(least), None) => Some(format!("at least {least}{unit}")),
        (None, Some(most)) => Some(format!("at most {most}{unit}")),
        (Some(least), Some(most)) => Some(format!("{least} to {most}{unit}")),
    };
    let keys = schema["x-kubernetes-list-map-keys"][0].as_str().map(|key| format!("one for each `{key}`"));
    let all = [
        bound("minimum", "maximum", ""),
        bound("minLength", "maxLength", " characters"),
        bound("minItems", "maxItems", ""),
        bound("minProperties", "maxProperties", ""),
        keys,
    ];
    all.into_iter().flatten().collect()
}

fn bounds_of_each(schema: &Value) -> Option<String> {
    let bounds = ["items", "additionalProperties"].map(|values| bounds(&schema[values])).concat();
    (!bounds.is_empty()).then(|| format!("each {}", bounds.join(", ")))
}

/// Bounds are floating-point numbers to Kubernetes.
fn whole(number: &Value) -> Option<String> {
    let text = (!number.is_null()).then(|| number.to_string())?;
    Some(text.strip_suffix(".0").unwrap_or(&text).to_owned())
}
