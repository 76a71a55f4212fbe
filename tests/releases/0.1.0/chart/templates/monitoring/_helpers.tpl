{{/* How a target is scraped. Labels that say whose worker it is are ours, and not the target's. */}}
{{- define "wasmproxy.scrape" -}}
port: http
path: /metrics
honorLabels: true
{{- with .interval }}
interval: {{ . }}
{{- end }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with .relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Metadata of an object that some other program looks for, perhaps in a namespace of its own. (list ROOT VALUES FURTHER...) */}}
{{- define "wasmproxy.monitoringMetadata" -}}
{{- $values := index . 1 -}}
{{- include "wasmproxy.metadata" (merge (dict "root" (index . 0) "namespace" $values.namespace "labels" $values.labels "annotations" $values.annotations) (slice . 2 | first | default dict)) -}}
{{- end -}}
