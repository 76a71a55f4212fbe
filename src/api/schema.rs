//! Schemas of types that are Kubernetes' own.
//!
//! `k8s-openapi` can derive these, but its schemas carry neither bounds nor the size one wants in a resource definition
//! (a Pod's affinity alone is larger than everything here).

use schemars::{Schema, SchemaGenerator, json_schema};

/// `metav1.Condition`, with the bounds that Kubernetes documents for it.
pub(super) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "items": {
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "type": {
                    "description": "What this is about.",
                    "type": "string",
                    "maxLength": 316,
                    "pattern": "^[A-Za-z]([A-Za-z0-9.-]*[A-Za-z0-9])?(/[A-Za-z][A-Za-z0-9]*)?$",
                },
                "status": {
                    "description": "True, False or Unknown.",
                    "type": "string",
                    "enum": ["True", "False", "Unknown"],
                },
                "reason": {
                    "description": "Why, in one word for programs.",
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                },
                "message": {
                    "description": "Why and what to do about it, in a sentence for people.",
                    "type": "string",
                    "maxLength": 32768,
                },
                "observedGeneration": {
                    "description": "The metadata.generation that this was said of.",
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0,
                },
                "lastTransitionTime": {
                    "description": "When the status last changed.",
                    "type": "string",
                    "format": "date-time",
                },
            },
        },
    })
}

/// A point in time, as RFC 3339 writes it.
pub(super) fn time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time"})
}

/// A number of things. Kubernetes knows no unsigned formats.
pub(super) fn count(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int64", "minimum": 0})
}

/// A number with bounds of its own.
pub(super) fn int32(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int32"})
}

/// A `resource.Quantity`: a string with a unit, or a bare number.
pub(super) fn quantity(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"x-kubernetes-int-or-string": true})
}

/// `corev1.ResourceRequirements`, without claims.
pub(super) fn resources(_: &mut SchemaGenerator) -> Schema {
    let quantities = json_schema!({
        "type": "object",
        "maxProperties": 6,
        "additionalProperties": {"x-kubernetes-int-or-string": true},
    });
    json_schema!({"type": "object", "properties": {"limits": quantities, "requests": quantities}})
}

/// A list of `corev1.Toleration`.
pub(super) fn tolerations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 64,
        "items": {
            "type": "object",
            "properties": {
                "key": {"type": "string", "maxLength": 316},
                "operator": {"type": "string", "maxLength": 16},
                "value": {"type": "string", "maxLength": 316},
                "effect": {"type": "string", "maxLength": 32},
                "tolerationSeconds": {"type": "integer", "format": "int64"},
            },
        },
    })
}

/// `corev1.Affinity`, whose parts are left for the Pod's own admission to check.
pub(super) fn affinity(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// Labels: short values.
pub(super) fn labels(_: &mut SchemaGenerator) -> Schema {
    string_map(63)
}

/// Annotations: long ones.
pub(super) fn annotations(_: &mut SchemaGenerator) -> Schema {
    string_map(4096)
}

fn string_map(max_length: u32) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {"type": "string", "maxLength": max_length},
    })
}
