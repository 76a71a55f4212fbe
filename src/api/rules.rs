//! What the API server refuses, and the sentence it says then.
//!
//! Rules are in the Common Expression Language (CEL) rather than patterns in the schema, because a pattern's refusal
//! quotes a regular expression where a person needs to hear what to change. They are compiled into the resource's
//! definition; the API server evaluates them after it has checked types, lengths and ranges and filled in defaults.
//!
//! Each rule has an admission test of its own under `tests/it/admission/`; one of the tests there checks just that.

/// An expression that must hold, and what is said where it does not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    cel: &'static str,
    message: &'static str,
}

impl From<Rule> for kube::core::Rule {
    fn from(rule: Rule) -> Self {
        Self::new(rule.cel).message(rule.message)
    }
}

const fn rule(cel: &'static str, message: &'static str) -> Rule {
    Rule { cel, message }
}

/// Refuses a field that is in the schema before its behaviour is: silence would look like consent.
const fn refused(message: &'static str) -> Rule {
    rule("false", message)
}

/// Labels and the names of the worker's objects end at 63 characters; 11 are kept for suffixes.
pub(super) const NAME: Rule = rule(
    "size(self.metadata.name) <= 52",
    "metadata.name must be at most 52 characters: the worker's own objects are named after it",
);

pub(super) const SOMETHING_TO_DO: Rule = rule(
    "self.requests.enabled || (has(self.artifacts) && size(self.artifacts) > 0)",
    "there is nothing to do: list something in artifacts, or set requests.enabled to true",
);

/// DNS-1123 subdomains, as for every Secret.
pub(super) const SECRET_NAME: Rule = rule(
    r"self.matches(r'^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",
    "name must be that of a Secret: lower-case letters, digits, - and ., with a letter or digit at either end",
);

/// No port of 0, nor one from 65536 to 99999. As a pattern, since the API server reckons that reading numbers from a
/// text of unknown length might cost too much.
const PORT: &str = "!self.matches(r':(0[0-9]*|6553[6-9]|655[4-9][0-9]|65[6-9][0-9]{2}|6[6-9][0-9]{3}|[7-9][0-9]{4})$')";

// Channel. The characters are those that an MQTT topic level can hold in every dialect of it.

pub(super) const CHANNEL_ID: Rule = rule(
    r"self.matches(r'^[A-Za-z0-9_.:-]+$')",
    "channel.id must be 1 to 64 characters, each a letter, a digit, or one of _ . : -",
);

pub(super) const CHANNEL_TENANT: Rule = rule(
    r"self.matches(r'^[A-Za-z0-9_.:-]+$')",
    "channel.tenant must be 1 to 64 characters, each a letter, a digit, or one of _ . : -",
);

pub(super) const ONE_PREFIX: Rule = rule(
    "!(has(self.tenant) && has(self.topicPrefix))",
    "channel.topicPrefix replaces the topics that channel.tenant would give: set one of the two",
);

/// `m/{tenant}/c/{id}` within [`super::TOPIC_PREFIX_MAX`] bytes.
pub(super) const TENANT_LENGTH: Rule = rule(
    "!has(self.tenant) || size(self.tenant) + size(self.id) <= 97",
    "channel.tenant and channel.id must be at most 97 characters together: small devices hold topics of 127 bytes",
);

pub(super) const TOPIC_PREFIX_LENGTH: Rule = rule(
    "size(bytes(self)) <= 102",
    "channel.topicPrefix must be at most 102 bytes: small devices hold topics of 127 bytes",
);

pub(super) const TOPIC_PREFIX_CHARACTERS: Rule = rule(
    r"!self.matches(r'[+#\p{Cc}]')",
    "channel.topicPrefix must hold neither + nor # nor control characters: it is part of a topic, not a filter",
);

pub(super) const TOPIC_PREFIX_ENDS: Rule = rule(
    "!self.matches(r'^[$/]') && !self.endsWith('/')",
    "channel.topicPrefix must not start with $ or /, nor end with /",
);

// Broker.

pub(super) const BROKER_SCHEME: Rule =
    rule("self.matches(r'^(mqtts?|wss?)://')", "broker.url must start with mqtt:// or mqtts://");

pub(super) const BROKER_WEBSOCKET: Rule =
    rule("!self.matches(r'^wss?://')", "broker.url: MQTT over WebSocket (ws://, wss://) is not supported yet");

pub(super) const BROKER_USER_INFO: Rule = rule(
    "!self.contains('@')",
    "broker.url must hold no user name or password: put them into the Secret that broker.secretRef names",
);

/// Where there is a scheme and no user information, which have sentences of their own.
pub(super) const BROKER_AUTHORITY: Rule = rule(
    concat!(
        "!self.contains('://') || self.contains('@') || ",
        r"self.matches(r'^[^:]*://([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$')"
    ),
    "broker.url must end after the host or its port, as in mqtts://broker.example:8883: no path, query or fragment",
);

pub(super) const BROKER_PORT: Rule = rule(PORT, "broker.url: the port must be between 1 and 65535");

pub(super) const BROKER_CERTIFICATES_NEED_TLS: Rule = rule(
    "!has(self.certSecretRef) || !self.url.startsWith('mqtt://')",
    "broker.certSecretRef needs a TLS connection: use mqtts:// in broker.url, or remove it",
);

pub(super) const BROKER_SKIP_VERIFY_NEEDS_TLS: Rule = rule(
    "!self.insecureSkipVerify || !self.url.startsWith('mqtt://')",
    "broker.insecureSkipVerify needs a TLS connection: use mqtts:// in broker.url, or remove it",
);

// Registry and artifacts. The grammar is the OCI distribution specification's ("Pulling manifests"), with hosts as
// container tools tell them from repositories: by a dot, a port, or being `localhost`.

pub(super) const REGISTRY_HOST: Rule = rule(
    r"self.matches(r'^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?$')",
    "registry.host must be a host or host:port, as in registry.example:5000, without scheme or path",
);

pub(super) const REGISTRY_PORT: Rule = rule(PORT, "registry.host: the port must be between 1 and 65535");

pub(super) const REGISTRY_INSECURE: Rule = rule(
    "!(self.insecure && has(self.certSecretRef))",
    "registry.insecure means plain HTTP, which uses no certificates: remove it or registry.certSecretRef",
);

pub(super) const REFERENCE: Rule = rule(
    concat!(
        "self.matches(r'^",
        r"((localhost|[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+)(:[0-9]{1,5})?/|[A-Za-z0-9-]+:[0-9]{1,5}/)?",
        r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*",
        "(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?",
        "(@sha256:[a-f0-9]{64})?",
        "$')"
    ),
    "reference must be an OCI reference without a scheme, as in wasm/add:1.2 or registry.example/add@sha256:…",
);

/// Go's durations without fractions and without units below a second. The bounds keep `duration()` from overflowing.
pub(super) const INTERVAL: Rule = rule(
    concat!(
        "self.matches(r'^([0-9]{1,5}h)?([0-9]{1,7}m)?([0-9]{1,9}s)?$') && self != '' ",
        "&& duration(self) >= duration('10s')"
    ),
    "interval must be a duration of at least 10s, as in 5m, 90s or 1h30m",
);

pub(super) const INTERVAL_OF_DIGEST: Rule = rule(
    "!has(self.interval) || !self.reference.contains('@')",
    "interval is for tags, and this reference names a digest, which never changes: remove interval or the digest",
);

pub(super) const ALLOW: Rule = rule(
    "self.all(pattern, pattern.matches(r'^[A-Za-z0-9._:@/*-]+$'))",
    "requests.allow holds references in which * and ** are wildcards, as in registry.example/wasm/**",
);

// Quantities. `string()` because a bare number is welcome too.

pub(super) const MODULE_SIZE: Rule = rule(
    concat!(
        "string(self).matches(r'^[0-9]{1,15}([kMGT]|[KMGT]i)?$') ",
        "&& quantity(string(self)).compareTo(quantity('1Ki')) >= 0 ",
        "&& quantity(string(self)).compareTo(quantity('1Ti')) <= 0"
    ),
    "limits.moduleSize must be a whole number of bytes between 1Ki and 1Ti, as in 512Mi or 1Gi",
);

pub(super) const CACHE_SIZE: Rule = rule(
    concat!(
        "string(self).matches(r'^[0-9]{1,15}([kMGT]|[KMGT]i)?$') ",
        "&& quantity(string(self)).compareTo(quantity('1Mi')) >= 0 ",
        "&& quantity(string(self)).compareTo(quantity('1Ti')) <= 0"
    ),
    "limits.cacheSize must be a whole number of bytes between 1Mi and 1Ti, as in 512Mi or 1Gi",
);

pub(super) const PACE: Rule = rule(
    concat!(
        "string(self).matches(r'^[0-9]{1,15}([kMGT]|[KMGT]i)?$') ",
        "&& quantity(string(self)).compareTo(quantity('1k')) >= 0 ",
        "&& quantity(string(self)).compareTo(quantity('1T')) <= 0"
    ),
    "pace must be a whole number of bytes a second between 1k and 1T, as in 500k or 50M",
);

// Worker.

pub(super) const WORKER_EXTERNAL_ACCOUNT: Rule = rule(
    "self.management != 'External' || has(self.serviceAccountName)",
    "worker.management External needs worker.serviceAccountName: the service account that your own worker runs as",
);

pub(super) const WORKER_MANAGED_ACCOUNT: Rule = rule(
    "self.management == 'External' || !has(self.serviceAccountName)",
    "worker.serviceAccountName is for management External: a Managed worker has a service account of its own",
);

pub(super) const WORKER_EXTERNAL_POD: Rule = rule(
    concat!(
        "self.management != 'External' || !(has(self.resources) || has(self.nodeSelector) || has(self.tolerations) ",
        "|| has(self.affinity) || has(self.podLabels) || has(self.podAnnotations) || has(self.imagePullSecrets))"
    ),
    "worker.management External means a Pod of your own: set resources, nodeSelector and the like there, not here",
);

/// DNS-1123 subdomains, as for every `ServiceAccount`.
pub(super) const WORKER_ACCOUNT_NAME: Rule = rule(
    r"self.matches(r'^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",
    concat!(
        "worker.serviceAccountName must be that of a ServiceAccount: lower-case letters, digits, - and ., ",
        "with a letter or digit at either end"
    ),
);

pub(super) const WORKER_QUANTITIES: Rule = rule(
    concat!(
        "(!has(self.requests) || self.requests.all(name, isQuantity(string(self.requests[name])))) ",
        "&& (!has(self.limits) || self.limits.all(name, isQuantity(string(self.limits[name]))))"
    ),
    "worker.resources holds quantities, as in cpu: 100m and memory: 128Mi",
);

/// The keys of labels and annotations, as Kubernetes defines them.
macro_rules! keys {
    () => {
        r"self.all(key, key.matches(r'^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))"
    };
}

pub(super) const WORKER_LABEL_KEYS: Rule = rule(
    keys!(),
    "worker.podLabels has a key that is none: as in example.com/team, at most 63 characters after the slash",
);

pub(super) const WORKER_LABEL_VALUES: Rule = rule(
    r"self.all(key, self[key].matches(r'^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$'))",
    "worker.podLabels has a value that is none: letters, digits, -, _ and ., with a letter or digit at either end",
);

/// The Deployment finds its Pods by some of these, and people find ours by the others.
pub(super) const WORKER_LABELS_OURS: Rule = rule(
    concat!(
        "self.all(key, !key.startsWith('wasmproxy.io/') && !(key in ['app.kubernetes.io/name', ",
        "'app.kubernetes.io/instance', 'app.kubernetes.io/component', 'app.kubernetes.io/managed-by']))"
    ),
    concat!(
        "worker.podLabels must leave wasmproxy.io/… and app.kubernetes.io/name, instance, component and managed-by ",
        "to the controller"
    ),
);

pub(super) const WORKER_ANNOTATION_KEYS: Rule = rule(
    keys!(),
    "worker.podAnnotations has a key that is none: as in example.com/team, at most 63 characters after the slash",
);

pub(super) const WORKER_ANNOTATIONS_OURS: Rule = rule(
    "self.all(key, !key.startsWith('wasmproxy.io/'))",
    "worker.podAnnotations must leave wasmproxy.io/… to the controller",
);

// What is in the schema, and in no worker yet.

pub(super) const VERIFY: Rule = refused("verify: signatures are not checked, because that is not supported yet");
pub(super) const REQUESTS_PER_SECOND: Rule =
    refused("limits.requestsPerSecond: a limit on the rate of requests is not supported yet");
