{{/* Pieces of network policies. A direction that no piece names is shut. */}}

{{- define "factory.toDns" -}}
- to:
    {{- toYaml .Values.networkPolicy.dns.to | nindent 4 }}
  ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end }}

{{- define "factory.toKafka" -}}
- ports:
    {{- range splitList "," .Values.kafka.bootstrap | concat .Values.networkPolicy.kafka.morePorts | uniq }}
    - {port: {{ splitList ":" (toString .) | last | int }}, protocol: TCP}
    {{- end }}
  {{- with .Values.networkPolicy.kafka.to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "factory.toRedis" -}}
{{- if .Values.redis.bundled.enabled }}
- to:
    - podSelector:
        matchLabels:
          {{- include "factory.selectorLabels" (list . "redis") | nindent 10 }}
  ports:
    - {port: 6379, protocol: TCP}
{{- else }}
- ports:
    - {port: {{ regexFind ":[0-9]+" (trimPrefix "redis" .Values.redis.url | trimPrefix "s" | trimPrefix "://") | trimPrefix ":" | default "6379" }}, protocol: TCP}
  {{- with .Values.networkPolicy.redis.to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Call with (list $ port). */}}
{{- define "factory.fromMonitoring" -}}
- from:
    {{- toYaml (index . 0).Values.networkPolicy.monitoring.from | nindent 4 }}
  ports:
    - {port: {{ index . 1 }}, protocol: TCP}
{{- end }}

{{/* Ray's nodes talk to each other on many ports, also on random ones. Call with (list $ "from" or "to"). */}}
{{- define "factory.withinRay" -}}
{{- $root := index . 0 -}}
- {{ index . 1 }}:
    {{- range $node := list "inference-head" "inference-worker" }}
    - podSelector:
        matchLabels:
          {{- include "factory.selectorLabels" (list $root $node) | nindent 10 }}
    {{- end }}
{{- end }}

{{- define "factory.hasActuators" -}}
{{- range .Values.lines }}
{{- if .stop.actuator }}yes{{ end }}
{{- end }}
{{- end }}
