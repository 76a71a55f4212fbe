{{/* Refuses what the schema cannot: values that do not go together. */}}
{{- define "wasmproxy.validate" -}}
{{- $election := .Values.leaderElection | default dict -}}
{{- if and (not $election.enabled) (gt (int .Values.replicas) 1) -}}
{{- fail (printf "replicas is %d and leaderElection.enabled is false: all of them would lead, and take each other's channels. Set replicas to 1, or leaderElection.enabled to true." (int .Values.replicas)) -}}
{{- end -}}
{{- $seconds := dict -}}
{{- range $term, $usual := dict "leaseDuration" "15s" "renewDeadline" "10s" "retryPeriod" "2s" -}}
{{- $_ := set $seconds $term (get $election $term | default $usual | trimSuffix "s" | int) -}}
{{- end -}}
{{- if ge $seconds.renewDeadline $seconds.leaseDuration -}}
{{- fail (printf "leaderElection.renewDeadline (%ds) must be shorter than leaderElection.leaseDuration (%ds): a leader has to end before another one begins." $seconds.renewDeadline $seconds.leaseDuration) -}}
{{- end -}}
{{- if gt (mul 2 $seconds.retryPeriod) (int64 $seconds.renewDeadline) -}}
{{- fail (printf "leaderElection.retryPeriod (%ds) must be at most half of leaderElection.renewDeadline (%ds)." $seconds.retryPeriod $seconds.renewDeadline) -}}
{{- end -}}
{{- end -}}

{{/*
Refuses to take the definition from a release that lives on. A definition that a release has left behind is Helm's to refuse,
or to take with --take-ownership, of which templates know nothing.
*/}}
{{- define "wasmproxy.validateOwner" -}}
{{- $found := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" "wasmproxies.wasmproxy.io" | default dict -}}
{{- $owner := dig "metadata" "annotations" "meta.helm.sh/release-name" "" $found -}}
{{- $home := dig "metadata" "annotations" "meta.helm.sh/release-namespace" "" $found -}}
{{- if and $owner (ne (printf "%s/%s" $home $owner) (printf "%s/%s" .Release.Namespace .Release.Name)) -}}
{{- range (lookup "apps/v1" "Deployment" $home "").items -}}
{{- if eq (dig "metadata" "annotations" "meta.helm.sh/release-name" "" .) $owner -}}
{{- fail (printf "The definition wasmproxies.wasmproxy.io belongs to release %s in namespace %s, which runs. A cluster has one definition: install this release with crds.enabled=false, and with namespaces that no other release serves." $owner $home) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What works, and may not be meant: a YAML list of sentences. */}}
{{- define "wasmproxy.warnings" -}}
{{- $pods := eq (include "wasmproxy.mode" .) "pods" -}}
{{- $replicas := int .Values.replicas -}}
{{- $budget := .Values.podDisruptionBudget | default dict -}}
{{- if eq $replicas 0 }}
- "replicas is 0: no resource is looked at."
{{- end }}
{{- if not (.Values.leaderElection).enabled }}
- "leaderElection.enabled is false: there must be no other controller of these namespaces, and nobody takes over while this one is away."
{{- end }}
{{- if and .Values.hostNetwork (ne (.Values.strategy).type "Recreate") }}
- "hostNetwork is true: no node has room for two Pods with port {{ include "wasmproxy.httpPort" . }}. Each replica needs a node, and an upgrade one more, unless strategy.type is Recreate."
{{- end }}
{{- if and $budget.enabled (gt $replicas 1) (regexMatch "^[0-9]+$" (toString $budget.minAvailable)) (ge (int $budget.minAvailable) $replicas) }}
- "podDisruptionBudget.minAvailable leaves none of the {{ $replicas }} replicas to be evicted: nodes with one of them cannot be drained."
{{- end }}
{{- if not (.Values.rbac).create }}
- "rbac.create is false: grant service account {{ include "wasmproxy.serviceAccountName" . }} what docs/operations.md lists, or nothing is served."
{{- else if and (not (.Values.serviceAccount).create) (eq (include "wasmproxy.serviceAccountName" .) "default") }}
- "The controller's rights went to the service account default: every Pod of {{ .Release.Namespace }} that names no other has them."
{{- end }}
{{- if and $pods .Values.imagePullSecrets }}
- "imagePullSecrets are for the controller: workers in other namespaces need spec.worker.imagePullSecrets in their resource."
{{- end }}
{{- if and $pods (.Values.workers).image }}
- "workers.image is set: workers stay at {{ .Values.workers.image }} when the controller is upgraded."
{{- end }}
{{- if and (not $pods) (not ((.Values.workers).cache).enabled) }}
- "workers.cache.enabled is false: modules in container images are not served, and others come from their registry each time."
{{- end }}
{{- end -}}
