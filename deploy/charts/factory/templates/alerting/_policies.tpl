{{/* policies.yaml: what each line's table says. */}}
{{- define "factory.policies" -}}
{{- $lines := dict }}
{{- range $line, $table := .Values.lines }}
{{- $_ := set $lines $line (include "factory.stop" $table.stop | fromYaml) }}
{{- end }}
{{- toYaml (dict "defaults" (include "factory.stop" .Values.alerting.otherLines | fromYaml) "lines" $lines) }}
{{- end }}

{{/* One line's policy. `n` is called `of` in values: Helm's YAML takes a bare n for the word "no". */}}
{{- define "factory.stop" -}}
{{- $stop := include "factory.kOfN" . | fromYaml }}
{{- with .candidates }}
{{- $candidates := dict }}
{{- range $name, $candidate := . }}
{{- $_ := set $candidates $name (include "factory.kOfN" $candidate | fromYaml) }}
{{- end }}
{{- $_ := set $stop "candidates" $candidates }}
{{- end }}
{{- toYaml $stop }}
{{- end }}

{{- define "factory.kOfN" -}}
{{- $policy := omit . "of" }}
{{- if hasKey . "of" }}
{{- $_ := set $policy "n" .of }}
{{- end }}
{{- toYaml $policy }}
{{- end }}
