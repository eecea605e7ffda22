{{/* extraEnv of all, and of a component. Call with (list $ component-values). */}}
{{- define "factory.extraEnv" -}}
{{- with concat ((index . 0).Values.extraEnv | default list) ((index . 1).extraEnv | default list) }}
{{- toYaml . }}
{{- end }}
{{- end }}

{{/* Kafka and Redis as a process sees them: settings in the environment, secrets as files (pipeline/settings.py). */}}

{{- define "factory.usesPassword" -}}
{{- if or (hasPrefix "scram" .Values.kafka.auth.type) (eq .Values.kafka.auth.type "plain") }}yes{{ end }}
{{- end }}

{{/* Call with (list $ user), user being a key of kafka.users. */}}
{{- define "factory.kafkaEnv" -}}
{{- $root := index . 0 -}}
{{- $kafka := $root.Values.kafka -}}
{{- $user := index $kafka.users (index . 1) -}}
- name: KAFKA_BOOTSTRAP
  value: {{ $kafka.bootstrap | quote }}
- name: ANDON_FRAME_PARTITIONS
  value: {{ $kafka.framePartitions | int | quote }}
- name: ANDON_LINE_PARTITIONS
  value: {{ $kafka.linePartitions | int | quote }}
{{- with $kafka.topicPrefix }}
- name: ANDON_TOPIC_PREFIX
  value: {{ . | quote }}
{{- end }}
{{- $sasl := include "factory.usesPassword" $root }}
{{- if or $sasl $kafka.tls.enabled }}
- name: KAFKA_SECURITY_PROTOCOL
  value: {{ if and $sasl $kafka.tls.enabled }}SASL_SSL{{ else if $sasl }}SASL_PLAINTEXT{{ else }}SSL{{ end }}
{{- end }}
{{- if and $kafka.tls.enabled $kafka.tls.existingSecret }}
- name: KAFKA_SSL_CAFILE
  value: /etc/andon/kafka-ca/ca.crt
{{- end }}
{{- if eq $kafka.auth.type "mtls" }}
- name: KAFKA_SSL_CERTFILE
  value: /run/secrets/andon/kafka-user.crt
- name: KAFKA_SSL_KEYFILE
  value: /run/secrets/andon/kafka-user.key
{{- end }}
{{- if $sasl }}
- name: KAFKA_SASL_MECHANISM
  value: {{ $kafka.auth.type | upper }}
- name: KAFKA_SASL_USERNAME
  value: {{ $user.username | default $user.existingSecret | quote }}
{{- end }}
{{- end }}

{{- define "factory.redisEnv" -}}
- name: REDIS_URL
  {{- if .Values.redis.bundled.enabled }}
  value: redis://{{ include "factory.fullname" . }}-redis:6379/0
  {{- else if .Values.redis.caSecret }}
  value: {{ printf "%s?ssl_ca_certs=/etc/andon/redis-ca/ca.crt" .Values.redis.url | quote }}
  {{- else }}
  value: {{ .Values.redis.url | quote }}
  {{- end }}
{{- end }}

{{- define "factory.mounts" -}}
{{- $root := index . 0 -}}
{{- if include "factory.secretSources" . }}
- name: secrets
  mountPath: /run/secrets/andon
  readOnly: true
{{- end }}
{{- if and $root.Values.kafka.tls.enabled $root.Values.kafka.tls.existingSecret }}
- name: kafka-ca
  mountPath: /etc/andon/kafka-ca
  readOnly: true
{{- end }}
{{- if and $root.Values.redis.caSecret (has "redis" .) }}
- name: redis-ca
  mountPath: /etc/andon/redis-ca
  readOnly: true
{{- end }}
- name: tmp
  mountPath: /tmp
{{- end }}

{{/* Call with (list $ user), and "redis" behind them for a process that needs it. */}}
{{- define "factory.volumes" -}}
{{- $root := index . 0 -}}
{{- with include "factory.secretSources" . }}
- name: secrets
  projected:
    # Its owner and group may read, nobody else.
    defaultMode: 0440
    sources:
      {{- . | nindent 6 }}
{{- end }}
{{- with $root.Values.kafka.tls }}
{{- if and .enabled .existingSecret }}
- name: kafka-ca
  secret:
    secretName: {{ .existingSecret | quote }}
    items: [{key: {{ .caKey | quote }}, path: ca.crt}]
{{- end }}
{{- end }}
{{- if and $root.Values.redis.caSecret (has "redis" .) }}
- name: redis-ca
  secret:
    secretName: {{ $root.Values.redis.caSecret | quote }}
    items: [{key: {{ $root.Values.redis.caKey | quote }}, path: ca.crt}]
{{- end }}
- name: tmp
  emptyDir:
    sizeLimit: 1Gi
{{- end }}

{{/* The files of /run/secrets/andon: a file named like a setting stands for it. */}}
{{- define "factory.secretSources" -}}
{{- $root := index . 0 -}}
{{- $kafka := $root.Values.kafka -}}
{{- $secret := (index $kafka.users (index . 1)).existingSecret -}}
{{- if eq $kafka.auth.type "mtls" }}
- secret:
    name: {{ $secret | quote }}
    items:
      - {key: {{ $kafka.auth.certKey | quote }}, path: kafka-user.crt}
      - {key: {{ $kafka.auth.keyKey | quote }}, path: kafka-user.key}
{{- else if include "factory.usesPassword" $root }}
- secret:
    name: {{ $secret | quote }}
    items: [{key: {{ $kafka.auth.passwordKey | quote }}, path: KAFKA_SASL_PASSWORD}]
{{- end }}
{{- if and (has "redis" .) $root.Values.redis.existingSecret }}
- secret:
    name: {{ $root.Values.redis.existingSecret | quote }}
    items:
      - {key: {{ $root.Values.redis.passwordKey | quote }}, path: REDIS_PASSWORD}
      {{- with $root.Values.redis.usernameKey }}
      - {key: {{ . | quote }}, path: REDIS_USERNAME}
      {{- end }}
{{- end }}
{{- end }}
