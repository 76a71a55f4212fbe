{{/* Refuses what the schema cannot: values that do not go together. */}}
{{- define "wasmproxy.validate" -}}
{{- $election := .Values.leaderElection | default dict -}}
{{- if and (not $election.enabled) (gt (int .Values.replicas) 1) -}}
{{- fail (printf "replicas is %d and leaderElection.enabled is false: all of them would lead, and take each other's channels. Set replicas to 1, or leaderElection.enabled to true." (int .Values.replicas)) -}}
{{- end -}}
{{- if $election.enabled -}}
{{- $lease := trimSuffix "s" $election.leaseDuration | int -}}
{{- $deadline := trimSuffix "s" $election.renewDeadline | int -}}
{{- $retry := trimSuffix "s" $election.retryPeriod | int -}}
{{- if ge $deadline $lease -}}
{{- fail (printf "leaderElection.renewDeadline (%ds) must be shorter than leaderElection.leaseDuration (%ds): a leader has to end before another one begins." $deadline $lease) -}}
{{- end -}}
{{- if gt (mul 2 $retry) $deadline -}}
{{- fail (printf "leaderElection.retryPeriod (%ds) must be at most half of leaderElection.renewDeadline (%ds)." $retry $deadline) -}}
{{- end -}}
{{- end -}}
{{- end -}}
