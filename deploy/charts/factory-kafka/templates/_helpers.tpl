{{/* The Kafka that topics and users belong to. */}}
{{- define "kafka.cluster" -}}
{{ .Values.existingCluster | default .Values.clusterName | default .Release.Name }}
{{- end }}

{{/* The beginning of all names of this release. */}}
{{- define "kafka.name" -}}
{{ ternary .Release.Name (include "kafka.cluster" .) (ne .Values.existingCluster "") }}
{{- end }}

{{/* No version of the chart: Strimzi hands labels of a Kafka on to its pods, and restarts all of them when one changes. Call with
(list $ component). */}}
{{- define "kafka.labels" -}}
{{- $root := index . 0 -}}
strimzi.io/cluster: {{ include "kafka.cluster" $root | quote }}
app.kubernetes.io/part-of: andon
app.kubernetes.io/instance: {{ include "kafka.name" $root | quote }}
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{- end }}

{{/* Kafka outlives every release: `helm uninstall` leaves it and its data. */}}
{{- define "kafka.keep" -}}
helm.sh/resource-policy: keep
{{- end }}

{{- define "kafka.podSecurity" -}}
runAsNonRoot: true
{{- if not (kindIs "invalid" .Values.podSecurity.fsGroup) }}
fsGroup: {{ int64 .Values.podSecurity.fsGroup }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* Call with (list $ tolerations-of-its-own). */}}
{{- define "kafka.tolerations" -}}
{{- with index . 1 | default (index . 0).Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Each on a node of its own, of those that take it, so that one node away is one pod away; in zones of their own where
that can be. Where there are fewer nodes than pods, they share them evenly. Call with the name of the pool. */}}
{{- define "kafka.spread" -}}
topologySpreadConstraints:
  {{- range $key, $otherwise := dict "kubernetes.io/hostname" "DoNotSchedule" "topology.kubernetes.io/zone" "ScheduleAnyway" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: {{ $otherwise }}
    nodeTaintsPolicy: Honor
    labelSelector:
      matchLabels:
        strimzi.io/pool-name: {{ $ }}
  {{- end }}
{{- end }}

{{- define "kafka.containerSecurity" -}}
allowPrivilegeEscalation: false
runAsNonRoot: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* Resources without the amounts that are left empty. */}}
{{- define "kafka.resources" -}}
{{- range $kind := list "requests" "limits" }}
{{- $amounts := index $ $kind }}
{{- if or $amounts.cpu $amounts.memory }}
{{ $kind }}:
  {{- with $amounts.cpu }}
  cpu: {{ . | quote }}
  {{- end }}
  {{- with $amounts.memory }}
  memory: {{ . | quote }}
  {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Bytes or cores of a quantity such as 512Mi or 250m; 0 where there is none. */}}
{{- define "kafka.amount" -}}
{{- $number := regexFind "^[0-9.]+" (toString .) | default "0" | float64 }}
{{- $small := dict "" 1.0 "m" 0.001 "k" 1000.0 "M" 1000000.0 "G" 1000000000.0 "T" 1000000000000.0 }}
{{- $factors := merge $small (dict "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0) }}
{{- mulf $number (get $factors (regexFind "[A-Za-z]*$" (toString .))) }}
{{- end }}

{{/* A name of Kafka as part of a Kubernetes name. */}}
{{- define "kafka.slug" -}}
{{ . | lower | replace "_" "-" | trimSuffix "." | trimSuffix "-" }}
{{- end }}
