{{/* Which fields of the WasmProxy name the Secret. (dict "wasmproxy" EXPRESSION "secret" EXPRESSION) */}}
{{- define "wasmproxy.credentialsPolicy.variables" -}}
- name: named
  expression: >-
    {
      'spec.broker.secretRef': {{ .wasmproxy }}.spec.broker.?secretRef.?name,
      'spec.broker.certSecretRef': {{ .wasmproxy }}.spec.broker.?certSecretRef.?name,
      'spec.registry.secretRef': {{ .wasmproxy }}.spec.registry.?secretRef.?name,
      'spec.registry.certSecretRef': {{ .wasmproxy }}.spec.registry.?certSecretRef.?name,
      'spec.verify.secretRef': {{ .wasmproxy }}.spec.?verify.?secretRef.?name,
      'spec.verify.trustedRootSecretRef': {{ .wasmproxy }}.spec.?verify.?trustedRootSecretRef.?name
    }
- name: fields
  # Keys of a map come in any order.
  expression: >-
    ['spec.broker.secretRef', 'spec.broker.certSecretRef', 'spec.registry.secretRef', 'spec.registry.certSecretRef',
    'spec.verify.secretRef', 'spec.verify.trustedRootSecretRef'].filter(field,
    variables.named[field].orValue('') == {{ .secret }}.metadata.name)
{{- end -}}

{{/* Selects Secrets without the label: NotIn is also true of those that have none of that name. */}}
{{- define "wasmproxy.credentialsPolicy.unlabelled" -}}
matchExpressions:
  - {key: wasmproxy.io/credentials, operator: NotIn, values: ["true"]}
{{- end -}}

{{/* What both bindings say: what happens, and in which namespaces. */}}
{{- define "wasmproxy.credentialsPolicy.binding" -}}
{{- $policy := .Values.credentialsPolicy -}}
validationActions:
  {{- toYaml ($policy.validationActions | default (list "Deny")) | nindent 2 }}
{{- $selector := deepCopy ($policy.namespaceSelector | default dict) -}}
{{- with .Values.namespaces -}}
{{- $served := dict "key" "kubernetes.io/metadata.name" "operator" "In" "values" . -}}
{{- $_ := set $selector "matchExpressions" (append ($selector.matchExpressions | default list) $served) -}}
{{- end }}
{{- with $selector }}
matchResources:
  namespaceSelector:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- end -}}
