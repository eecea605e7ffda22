{{/* What all pods share. Everything fits the Pod Security Standard "restricted". */}}

{{- define "factory.podSecurity" -}}
runAsNonRoot: true
{{- with .Values.podSecurity.runAsUser }}
runAsUser: {{ int64 . }}
runAsGroup: {{ int64 . }}
{{- end }}
{{- with .Values.podSecurity.fsGroup }}
fsGroup: {{ int64 . }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "factory.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* Resources without the amounts that are left empty. */}}
{{- define "factory.resources" -}}
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

{{/* Scheduling. Call with (list $ component-values). */}}
{{- define "factory.scheduling" -}}
{{- $all := (index . 0).Values }}
{{- $own := index . 1 }}
{{- with $all.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with $own.nodeSelector | default $all.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.tolerations | default $all.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* As whom a pod is there, and by what it gets its image. */}}
{{- define "factory.account" -}}
{{- with .Values.serviceAccountName }}
serviceAccountName: {{ . | quote }}
{{- end }}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Probes of a process that serves /healthz on its metrics port. Call with what says whether it is ready. */}}
{{- define "factory.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: metrics}
  periodSeconds: 2
  timeoutSeconds: 2
  # Kafka may come up after us: a process that waits for it answers as one that is well.
  failureThreshold: 90
livenessProbe:
  httpGet: {path: /healthz, port: metrics}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: {path: {{ . }}, port: metrics}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end }}
