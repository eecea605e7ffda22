{{/* Where a browser or a proxy in front finds the page: the sidecar that logs people in, or the page itself. */}}
{{- define "factory.consoleDoor" -}}
{{ ternary "login" "http" .Values.console.proxy.enabled }}
{{- end }}

{{- define "factory.consoleArguments" -}}
{{- $values := .Values.console -}}
- console
- --host
- 0.0.0.0
- --port
- "8484"
- --data
- /data
- --policies
- /etc/andon/policies.yaml
- --metrics-port
- "9100"
- --stale-after-s
- {{ $values.staleAfterS | quote }}
- --time-zone
- {{ $values.timeZone | quote }}
- --feedback-mib
- {{ int64 $values.data.feedbackMib | quote }}
{{- with $values.notice }}
- --notice
- {{ . | quote }}
{{- end }}
{{- if $values.users.existingSecret }}
- --users
- /run/secrets/console/users/users.json
{{- end }}
{{- if $values.session.existingSecret }}
- --session-key
- /run/secrets/console/session/session.key
{{- end }}
{{- if $values.proxy.enabled }}
- --proxy-from
- 127.0.0.1
- --proxy-user-header
- {{ $values.proxy.userHeader }}
- --proxy-role-header
- {{ $values.proxy.roleHeader }}
{{- end }}
{{- range $values.hosts }}
- --allow-host
- {{ . | quote }}
{{- end }}
{{- if $values.tls.existingSecret }}
- --tls-certificate
- /run/secrets/console/tls/tls.crt
- --tls-key
- /run/secrets/console/tls/tls.key
{{- end }}
{{- if $values.behindTls }}
- --behind-tls
{{- end }}
{{- end }}

{{/* The Secrets that only the page reads: name → {secret, items}, as YAML. */}}
{{- define "factory.consoleSecrets" -}}
{{- $found := dict }}
{{- with .Values.console.users }}
{{- if .existingSecret }}
{{- $_ := set $found "users" (dict "secret" .existingSecret "items" (list (dict "key" .key "path" "users.json"))) }}
{{- end }}
{{- end }}
{{- with .Values.console.session }}
{{- if .existingSecret }}
{{- $_ := set $found "session" (dict "secret" .existingSecret "items" (list (dict "key" .key "path" "session.key"))) }}
{{- end }}
{{- end }}
{{- with .Values.console.tls }}
{{- if .existingSecret }}
{{- $items := list (dict "key" .certKey "path" "tls.crt") (dict "key" .keyKey "path" "tls.key") }}
{{- $_ := set $found "tls" (dict "secret" .existingSecret "items" $items) }}
{{- end }}
{{- end }}
{{- toYaml $found }}
{{- end }}
