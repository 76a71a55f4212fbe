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

{{/* The Pod's network and names. */}}
{{- define "wasmproxy.network" -}}
{{- if .Values.hostNetwork }}
hostNetwork: true
{{- end }}
{{- with .Values.dnsPolicy | default (ternary "ClusterFirstWithHostNet" "" (not (not .Values.hostNetwork))) }}
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
  - {{- toYaml (merge (dict) . (dict "labelSelector" $selector)) | nindent 4 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* More than the cache may take up, an eighth and 64 MiB: a Pod that exceeds it is evicted. */}}
{{- define "wasmproxy.cacheRoom" -}}
{{- $size := .Values.workers.cache.size -}}
{{- $kibibytes := dict "Ki" 1 "Mi" 1024 "Gi" 1048576 "Ti" 1073741824 -}}
{{- $cache := mul (regexFind "^[0-9]+" $size | int64) (get $kibibytes (regexFind "[KMGT]i$" $size)) -}}
{{- printf "%dMi" (add (div (add $cache (div $cache 8) 1023) 1024) 64) -}}
{{- end -}}
