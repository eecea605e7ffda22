{{/* The Serve config: the one of workers/local/serve.yaml, with what a cluster and the values change. KubeRay hands it to
Serve while it runs; it is no part of rayClusterConfig, so a change rolls no pod. */}}
{{- define "factory.serveConfig" -}}
{{- $serve := .Files.Get "files/serve.yaml" | fromYaml }}
{{- $values := .Values.inference }}
{{- $app := first $serve.applications }}
{{- $deployment := omit (first $app.deployments) "num_replicas" }}
{{- $gpus := float64 $values.replica.gpus }}
{{- $_ := set $deployment "ray_actor_options" (dict "num_cpus" $values.replica.cpus "num_gpus" $values.replica.gpus) }}
{{- /* Ray places by cores alone, and cores left over would draw replicas into a pod that has no memory for them. */}}
{{- $_ := set $deployment "max_replicas_per_node" (int $values.worker.replicas) }}
{{- if $values.autoscaling.enabled }}
{{- $scaling := $values.autoscaling }}
{{- $kwargs := dict "catch_up_s" $scaling.catchUpS "target_busy" $scaling.targetBusy }}
{{- $policy := dict "policy_function" "pipeline.autoscaling:ByBacklog" "policy_kwargs" $kwargs }}
{{- $config := dict "min_replicas" (int $scaling.minReplicas) "max_replicas" (int $scaling.maxReplicas) }}
{{- $_ := set $config "upscale_delay_s" $scaling.upscaleDelayS }}
{{- $_ := set $config "downscale_delay_s" $scaling.downscaleDelayS }}
{{- $_ := set $config "policy" $policy }}
{{- $_ := set $deployment "autoscaling_config" $config }}
{{- else }}
{{- $_ := set $deployment "num_replicas" (int $values.replicas) }}
{{- end }}
{{- $config := dict "device" $values.device "max_batch" (int $values.maxBatch) "map_ttl_s" (int $values.mapTtlS) }}
{{- $_ := set $config "stuck_after_s" $values.stuckAfterS }}
{{- $_ := set $config "shadow_within_ms" (int $values.shadowWithinMs) }}
{{- $_ := set $config "recipes" (include "factory.recipes" . | fromYaml) }}
{{- $_ := set $deployment "user_config" $config }}
{{- $_ := set $app "deployments" (list $deployment) }}
{{- /* KubeRay asks the proxy of every pod whether it is well, and a Service leads to them. */}}
{{- $_ := set $serve "proxy_location" "EveryNode" }}
{{- $_ := set $serve.http_options "host" "0.0.0.0" }}
{{- $_ := set $serve "applications" (list $app) }}
{{- toYaml $serve }}
{{- end }}

{{/* Each recipe with the cameras that name it. */}}
{{- define "factory.recipes" -}}
{{- $recipes := dict }}
{{- range $name, $recipe := .Values.recipes }}
{{- $cameras := list }}
{{- range $.Values.lines }}
{{- range $id, $camera := .cameras }}
{{- if eq $camera.recipe $name }}
{{- $cameras = append $cameras $id }}
{{- end }}
{{- end }}
{{- end }}
{{- if and $.Values.tests.enabled (eq $name (include "factory.checkRecipe" $)) }}
{{- $cameras = append $cameras "andon-check" }}
{{- end }}
{{- $cameras = concat $cameras ($recipe.moreCameras | default list) | uniq | sortAlpha }}
{{- $_ := set $recipes $name (merge (dict "cameras" $cameras) (omit $recipe "moreCameras")) }}
{{- end }}
{{- toYaml $recipes }}
{{- end }}

{{/* The recipe that `helm test` tries: of those that cameras use, the first. */}}
{{- define "factory.checkRecipe" -}}
{{- $used := list }}
{{- range .Values.lines }}
{{- range .cameras }}
{{- $used = append $used .recipe }}
{{- end }}
{{- end }}
{{- .Values.tests.recipe | default (concat (sortAlpha $used) (keys (.Values.recipes | default dict) | sortAlpha) | first) }}
{{- end }}

{{/* Worker pods that so many replicas need. Call with (list $ replicas). */}}
{{- define "factory.workerPods" -}}
{{- $each := (index . 0).Values.inference.worker.replicas | int }}
{{- div (add (int (index . 1)) (sub $each 1)) $each }}
{{- end }}

{{/* What tells a Ray cluster that runs how many pods it may have: KubeRay takes that from the RayService for a new one alone.
Where Ray's autoscaler is on, their number is its own. */}}
{{- define "factory.newNumberOfPods" -}}
{{- $changes := list }}
{{- $least := include "factory.minWorkerPods" . | int }}
{{- $numbers := dict "minReplicas" $least "maxReplicas" (include "factory.maxWorkerPods" . | int) }}
{{- if not .Values.inference.autoscaling.enabled }}{{ $_ := set $numbers "replicas" $least }}{{ end }}
{{- range $key, $number := $numbers }}
{{- $changes = append $changes (dict "op" "add" "path" (printf "/spec/workerGroupSpecs/0/%s" $key) "value" $number) }}
{{- end }}
{{- $kubectl := printf "kubectl -n %s" .Release.Namespace }}
{{- $cluster := printf "$(%s get rayservice %s -o jsonpath='{.status.activeServiceStatus.rayClusterName}')" $kubectl (include "factory.rayService" .) }}
{{ $kubectl }} patch raycluster "{{ $cluster }}" --type=json -p '{{ toJson $changes }}'
{{- end }}

{{- define "factory.minWorkerPods" -}}
{{- $values := .Values.inference }}
{{- include "factory.workerPods" (list . (ternary $values.autoscaling.minReplicas $values.replicas $values.autoscaling.enabled)) }}
{{- end }}

{{- define "factory.maxWorkerPods" -}}
{{- $values := .Values.inference }}
{{- include "factory.workerPods" (list . (ternary $values.autoscaling.maxReplicas $values.replicas $values.autoscaling.enabled)) }}
{{- end }}
