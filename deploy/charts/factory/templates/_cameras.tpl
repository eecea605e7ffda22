{{/* Cameras by the worker that serves them, as YAML: slug → [{camera_id, line_id, ...}]. */}}
{{- define "factory.cameraWorkers" -}}
{{- $workers := dict }}
{{- range $line, $table := .Values.lines }}
{{- range $id, $camera := $table.cameras }}
{{- $slug := $camera.worker | default (include "factory.slug" $id) }}
{{- $entry := merge (dict "camera_id" $id "line_id" $line) $camera }}
{{- $known := get $workers $slug | default list }}
{{- $_ := set $workers $slug (append $known $entry) }}
{{- end }}
{{- end }}
{{- toYaml $workers }}
{{- end }}

{{/* cameras.yaml of one worker. Call with (list $ cameras). */}}
{{- define "factory.cameraConfig" -}}
{{- $root := index . 0 }}
{{- $values := $root.Values.cameras }}
{{- $cameras := list }}
{{- range index . 1 }}
{{- $camera := omit . "worker" "existingSecret" "imagesClaim" }}
{{- if .existingSecret }}
{{- $_ := set $camera "source" (merge (dict "login" (printf "/run/secrets/cameras/%s" .camera_id)) .source) }}
{{- end }}
{{- $cameras = append $cameras $camera }}
{{- end }}
{{- $config := dict "buffer_mib" (int $values.bufferMib) "when_full" $values.whenFull "cameras" $cameras }}
{{- if $values.spool.enabled }}
{{- $_ := set $config "spool" (dict "folder" "/spool/frames" "max_mib" (int $values.spool.maxMib)) }}
{{- end }}
{{- toYaml $config }}
{{- end }}
