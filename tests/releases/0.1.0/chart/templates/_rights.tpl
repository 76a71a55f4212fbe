{{/* What the controller must be allowed to do in each namespace whose resources it serves. */}}
{{- define "wasmproxy.rightsToResources" -}}
{{- $pods := eq (include "wasmproxy.mode" .) "pods" -}}
- apiGroups: [wasmproxy.io]
  resources: [wasmproxies]
  verbs: [get, list, watch]
- apiGroups: [wasmproxy.io]
  resources: [wasmproxies/status]
  verbs: [patch]
- apiGroups: [wasmproxy.io]
  resources: [wasmproxies/finalizers]
  verbs: [update]
{{- if not $pods }}
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
{{- end }}
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: {{ ternary "[get, list, watch, create, patch, delete]" "[list, watch, delete]" $pods }}
# Nobody may grant what they do not hold: of what follows, only what is above reaches a worker.
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [rolebindings]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: {{ ternary "[get, list, watch, create, patch, delete]" "[list, watch, delete]" $pods }}
{{- if $pods }}
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
{{- end }}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{/* What it must be allowed to do in its own namespace; may be nothing. */}}
{{- define "wasmproxy.rightsToItself" -}}
{{- if (.Values.leaderElection).enabled }}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get, list, watch, create, update]
{{- end }}
{{- if eq (include "wasmproxy.mode" .) "pods" }}
- apiGroups: [""]
  resources: [pods]
  verbs: [get]
{{- end }}
{{- end -}}

{{/* A role and its binding to the controller. (dict "root" ROOT "kind" "Role" "name" NAME "namespace" NAMESPACE "rules" RULES) */}}
{{- define "wasmproxy.grant" -}}
{{- $cluster := eq .kind "ClusterRole" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}
metadata:
  {{- include "wasmproxy.metadata" (dict "root" .root "name" .name "namespace" .namespace "cluster" $cluster) | nindent 2 }}
rules:
  {{- .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}Binding
metadata:
  {{- include "wasmproxy.metadata" (dict "root" .root "name" .name "namespace" .namespace "cluster" $cluster) | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ include "wasmproxy.serviceAccountName" .root }}
    namespace: {{ .root.Release.Namespace }}
{{- end -}}
