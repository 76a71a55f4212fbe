{{/* The chart's name in labels. */}}
{{- define "wasmproxy.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The Deployment's name, and that of most other objects: the release's, and the chart's where that is not in it. */}}
{{- define "wasmproxy.fullname" -}}
{{- $name := include "wasmproxy.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The same with something after it, in no more than 63 characters. (list ROOT "end") */}}
{{- define "wasmproxy.nameWith" -}}
{{- $end := index . 1 -}}
{{- $room := sub 62 (len $end) | int -}}
{{- printf "%s-%s" (include "wasmproxy.fullname" (index . 0) | trunc $room | trimSuffix "-") $end -}}
{{- end -}}

{{/* A name for what is in no namespace: releases of the same name in two namespaces must not meet. Such names may be longer. */}}
{{- define "wasmproxy.clusterName" -}}
{{- printf "%s-%s" (include "wasmproxy.fullname" .) .Release.Namespace -}}
{{- end -}}

{{- define "wasmproxy.serviceAccountName" -}}
{{- $account := .Values.serviceAccount | default dict -}}
{{- $account.name | default (ternary (include "wasmproxy.fullname" .) "default" ($account.create | default false)) -}}
{{- end -}}

{{/* The image: its digest says more than its tag. */}}
{{- define "wasmproxy.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Where workers run. */}}
{{- define "wasmproxy.mode" -}}
{{- (.Values.workers).mode | default "pods" -}}
{{- end -}}

{{- define "wasmproxy.servicePort" -}}
{{- (.Values.service).port | default 9191 -}}
{{- end -}}

{{/* What selects Pods of a component; it can never change. (list ROOT "component") */}}
{{- define "wasmproxy.selectorLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "wasmproxy.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* The labels of Pods of a component: ours win. (list ROOT "component" FURTHER...) */}}
{{- define "wasmproxy.podLabels" -}}
{{- $root := index . 0 -}}
{{- $labels := include "wasmproxy.selectorLabels" . | fromYaml -}}
{{- $_ := set $labels "app.kubernetes.io/version" ($root.Chart.AppVersion | replace "+" "_" | trunc 63) -}}
{{- $_ := set $labels "app.kubernetes.io/part-of" "wasmproxy" -}}
{{- $_ := set $labels "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- range slice . 2 -}}
{{- $labels = merge $labels (. | default dict) -}}
{{- end -}}
{{- toYaml (merge $labels ($root.Values.commonLabels | default dict)) -}}
{{- end -}}

{{/*
Metadata of an object, with all labels and annotations that are due.
  root: the root; name: without it, that of the Deployment; component: without it, the controller;
  cluster: whether it is in no namespace; namespace: without it, the release's; labels, annotations: its own
*/}}
{{- define "wasmproxy.metadata" -}}
{{- $root := .root -}}
name: {{ .name | default (include "wasmproxy.fullname" $root) }}
{{- if not .cluster }}
namespace: {{ .namespace | default $root.Release.Namespace }}
{{- end }}
labels:
  helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
  {{- include "wasmproxy.podLabels" (list $root (.component | default "controller") (omit (.labels | default dict) "helm.sh/chart")) | nindent 2 }}
{{- with merge (dict) (.annotations | default dict) ($root.Values.commonAnnotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
