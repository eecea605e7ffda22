{{/* What objects are called, and the labels that they carry. */}}

{{- define "factory.fullname" -}}
{{- .Values.fullnameOverride | default .Release.Name -}}
{{- end }}

{{/* Labels to select by. They never change, and Ray's pods carry no others: a version among them would make KubeRay
build a new GPU cluster at each chart bump; nor app.kubernetes.io/name, which KubeRay sets itself. Call with (list $ component). */}}
{{- define "factory.selectorLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/part-of: andon
app.kubernetes.io/instance: {{ include "factory.fullname" $root | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* Labels of everything but pods. Call with (list $ component). */}}
{{- define "factory.labels" -}}
{{- $root := index . 0 -}}
{{ include "factory.selectorLabels" . }}
app.kubernetes.io/name: andon
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The pod selector of the whole release. */}}
{{- define "factory.everyPod" -}}
app.kubernetes.io/part-of: andon
app.kubernetes.io/instance: {{ include "factory.fullname" . | quote }}
{{- end }}

{{- define "factory.rayService" -}}
{{ include "factory.fullname" . }}-inference
{{- end }}

{{/* host:port/name:tag or @digest. Call with (list $ .Values.images.worker). */}}
{{- define "factory.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- $tag := $image.tag | default $root.Chart.AppVersion -}}
{{ kindIs "string" $image.registry | ternary $image.registry $root.Values.images.registry }}{{ $image.repository }}{{ if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $tag }}{{ end }}
{{- end }}

{{/* A camera or worker id as part of a Kubernetes name. */}}
{{- define "factory.slug" -}}
{{ . | lower | replace "_" "-" | replace "." "-" | trimAll "-" }}
{{- end }}
