{{/* How the Deployment replaces its Pods: one by one, unless no two may run at the same time. */}}
{{- define "wasmproxy.strategy" -}}
{{- $strategy := .Values.strategy | default dict -}}
{{- if or (not (.Values.leaderElection).enabled) (eq $strategy.type "Recreate") -}}
type: Recreate
{{- else -}}
type: RollingUpdate
{{- with $strategy.rollingUpdate }}
rollingUpdate:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The controller's command line. Of a value that is missing the program has the default. */}}
{{- define "wasmproxy.args" -}}
{{- $workers := .Values.workers | default dict -}}
{{- $election := .Values.leaderElection | default dict -}}
- controller
- --workers={{ include "wasmproxy.mode" . }}
{{- range .Values.namespaces }}
- --namespace={{ . }}
{{- end }}
{{- if include "wasmproxy.hasCache" . }}
- --cache-dir=/var/cache/wasmproxy
- --cache-size={{ include "wasmproxy.cacheSize" . }}
{{- end }}
{{- if eq (include "wasmproxy.mode" .) "pods" }}
{{- with $workers.image }}
- --worker-image={{ . }}
{{- end }}
{{- with $workers.rollout }}
- --worker-rollout={{ . }}
{{- end }}
{{- end }}
- --leader-election={{ $election.enabled | default false }}
{{- if $election.enabled }}
- --leader-election-name={{ $election.name | default (include "wasmproxy.fullname" .) }}
{{- with $election.leaseDuration }}
- --leader-election-lease-duration={{ . }}
{{- end }}
{{- with $election.renewDeadline }}
- --leader-election-renew-deadline={{ . }}
{{- end }}
{{- with $election.retryPeriod }}
- --leader-election-retry-period={{ . }}
{{- end }}
{{- end }}
- --http-port={{ include "wasmproxy.httpPort" . }}
{{- with (.Values.logs).level }}
- --log-level={{ . }}
{{- end }}
{{- with (.Values.logs).format }}
- --log-format={{ . }}
{{- end }}
{{- with .Values.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "wasmproxy.httpPort" -}}
{{- .Values.httpPort | default 9191 -}}
{{- end -}}

{{/* Whether workers in the controller's process keep modules: true, or nothing. */}}
{{- define "wasmproxy.hasCache" -}}
{{- if and (eq (include "wasmproxy.mode" .) "in-process") ((.Values.workers).cache).enabled -}}true{{- end -}}
{{- end -}}

{{- define "wasmproxy.cacheSize" -}}
{{- ((.Values.workers).cache).size | default "1Gi" -}}
{{- end -}}

{{/* The Pod's network and names. */}}
{{- define "wasmproxy.network" -}}
{{- if .Values.hostNetwork }}
hostNetwork: true
{{- end }}
{{- with .Values.dnsPolicy | default (ternary "ClusterFirstWithHostNet" "" (.Values.hostNetwork | default false)) }}
dnsPolicy: {{ . }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Where the Pod may run. */}}
{{- define "wasmproxy.placement" -}}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- $selector := dict "matchLabels" (include "wasmproxy.selectorLabels" (list $ "controller") | fromYaml) }}
  {{- range . }}
  - {{ toYaml (merge (dict) . (dict "labelSelector" $selector)) | nindent 4 | trim }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* More than the cache may take up, an eighth and 64 MiB: a Pod that exceeds it is evicted. */}}
{{- define "wasmproxy.cacheRoom" -}}
{{- $size := include "wasmproxy.cacheSize" . -}}
{{- $kibibytes := dict "Ki" 1 "Mi" 1024 "Gi" 1048576 "Ti" 1073741824 -}}
{{- $cache := mul (regexFind "^[0-9]+" $size | int64) (get $kibibytes (regexFind "[KMGT]i$" $size)) -}}
{{- printf "%dMi" (add (div (add $cache (div $cache 8) 1023) 1024) 64) -}}
{{- end -}}
