{{/* Pieces of network policies. A direction that no piece names is shut. */}}

{{/* OpenShift's pods listen at 5353, and a policy goes by the port of the pod. */}}
{{- define "factory.toDns" -}}
- ports:
    {{- range $port := list 53 5353 }}
    - {port: {{ $port }}, protocol: UDP}
    - {port: {{ $port }}, protocol: TCP}
    {{- end }}
  {{- with .Values.networkPolicy.dns.to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* An empty list of networks opens nothing: Kubernetes would take it for all of them. Call with (list cidrs ports). */}}
{{- define "factory.toNetworks" -}}
{{- $ports := index . 1 | uniq }}
{{- if and (index . 0) $ports -}}
- to:
    {{- range index . 0 }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
  ports:
    {{- range $ports }}
    - {port: {{ int . }}, protocol: TCP}
    {{- end }}
{{- end }}
{{- end }}

{{/* Nobody, where the list is empty: Kubernetes would take it for everybody. Call with (list peers ports). */}}
{{- define "factory.fromPeers" -}}
{{- with index . 0 -}}
- from:
    {{- toYaml . | nindent 4 }}
  ports:
    {{- range index $ 1 }}
    - {port: {{ int . }}, protocol: TCP}
    {{- end }}
{{- end }}
{{- end }}

{{/* networkPolicy.extraEgress. */}}
{{- define "factory.toOthers" -}}
{{- range .Values.networkPolicy.extraEgress }}
- ports:
    {{- range .ports }}
    - {port: {{ int . }}, protocol: TCP}
    {{- end }}
  {{- with .to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Host and port of an address, as YAML; no host for a path of a file. Call with (list "rtsp://10.1.2.3/s" 554). */}}
{{- define "factory.endpoint" -}}
{{- $url := urlParse (index . 0) }}
{{- $standard := dict "rtsp" 554 "rtsps" 322 "http" 80 "https" 443 "redis" 6379 "rediss" 6379 "opc.tcp" 4840 }}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (get $standard $url.scheme | default "0") }}
{{- dict "host" $url.hostname "port" (int $port) | toYaml }}
{{- end }}

{{/* Where the cameras of the table are, as YAML: camera id → {host, port, line}. */}}
{{- define "factory.cameraEndpoints" -}}
{{- $found := dict }}
{{- range $line, $table := .Values.lines }}
{{- range $id, $camera := $table.cameras }}
{{- if and (eq $camera.source.type "video") (contains "://" $camera.source.url) }}
{{- $place := include "factory.endpoint" (list $camera.source.url) | fromYaml }}
{{- $_ := set $found $id (set $place "line" $line) }}
{{- end }}
{{- end }}
{{- end }}
{{- toYaml $found }}
{{- end }}

{{/* Where the PLCs of the lines are, as YAML: line → {host, port}. */}}
{{- define "factory.plcEndpoints" -}}
{{- $found := dict }}
{{- range $line, $table := .Values.lines }}
{{- with $table.stop.actuator }}
{{- if .url }}
{{- $_ := set $found $line (include "factory.endpoint" (list .url) | fromYaml) }}
{{- else }}
{{- $_ := set $found $line (dict "host" .host "port" (.port | default (ternary 1883 502 (eq .type "mqtt")) | int)) }}
{{- end }}
{{- end }}
{{- end }}
{{- toYaml $found }}
{{- end }}

{{/* Call with (list endpoints more), endpoints as YAML: all ports, as YAML. */}}
{{- define "factory.portsOf" -}}
{{- $ports := list }}
{{- range $_, $place := index . 0 | fromYaml }}
{{- $ports = append $ports (int $place.port) }}
{{- end }}
{{- range index . 1 }}
{{- $ports = append $ports (int .) }}
{{- end }}
{{- sortAlpha (uniq $ports) | toYaml }}
{{- end }}

{{- define "factory.toKafka" -}}
- ports:
    {{- range .Values.kafka.bootstrap | default "" | splitList "," | concat (.Values.networkPolicy.kafka.morePorts | default list) | uniq }}
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
    - {port: {{ (include "factory.endpoint" (list (.Values.redis.url | default "")) | fromYaml).port }}, protocol: TCP}
  {{- with .Values.networkPolicy.redis.to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Call with (list $ port). */}}
{{- define "factory.fromMonitoring" -}}
{{- include "factory.fromPeers" (list (index . 0).Values.networkPolicy.monitoring.from (list (index . 1))) }}
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
