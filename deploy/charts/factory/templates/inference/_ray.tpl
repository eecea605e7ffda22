{{/* Of head and workers alike. */}}
{{- define "factory.rayEnv" -}}
# Ray lowers the priority of its workers, and so of scoring.
- name: RAY_worker_niceness
  value: "0"
- name: RAY_USAGE_STATS_ENABLED
  value: "0"
# Logs lie in /tmp, three of each replica. Ray would let each grow to 3 GiB, and a pod whose /tmp is full is evicted.
- name: RAY_ROTATION_MAX_BYTES
  value: "8388608"
- name: RAY_ROTATION_BACKUP_COUNT
  value: "1"
- name: HOME
  value: /tmp
{{- end }}

{{- define "factory.headPorts" -}}
- {name: gcs-server, containerPort: 6379}
- {name: dashboard, containerPort: 8265}
- {name: client, containerPort: 10001}
- {name: serve, containerPort: 8000}
- {name: metrics, containerPort: 8080}
{{- end }}

{{- define "factory.workerPorts" -}}
- {name: serve, containerPort: 8000}
- {name: metrics, containerPort: 8080}
{{- end }}

{{- define "factory.rayMounts" -}}
- name: shared-memory
  mountPath: /dev/shm
{{- end }}

{{- define "factory.rayVolumes" -}}
- name: shared-memory
  emptyDir:
    medium: Memory
    sizeLimit: {{ .Values.inference.worker.sharedMemoryMib }}Mi
{{- end }}

{{/* Fits into the shared memory, or Ray would put it on disk. */}}
{{- define "factory.objectStore" -}}
object-store-memory: {{ mul (int .Values.inference.worker.sharedMemoryMib) 900000 | quote }}
{{- end }}

{{/* CPU and memory, and the GPUs of a pod. Call with inference.worker. */}}
{{- define "factory.workerResources" -}}
{{- $resources := include "factory.resources" .resources | fromYaml }}
{{- if .gpus }}
{{- $limits := get $resources "limits" | default dict }}
{{- $_ := set $limits .gpuResource (int .gpus) }}
{{- $_ := set $resources "limits" $limits }}
{{- end }}
{{- toYaml $resources }}
{{- end }}

{{- define "factory.bundleVolume" -}}
{{- $bundles := .Values.bundles }}
{{- if eq $bundles.source "claim" }}
- name: bundles
  persistentVolumeClaim:
    claimName: {{ $bundles.claim.existingClaim | quote }}
    readOnly: true
{{- else if eq $bundles.source "volume" }}
- name: bundles
  image:
    reference: {{ $bundles.volume.reference }}
    pullPolicy: {{ $bundles.volume.pullPolicy }}
{{- else if eq $bundles.source "fetch" }}
- name: bundles
  emptyDir:
    sizeLimit: {{ $bundles.fetch.sizeLimit }}
{{- with $bundles.fetch.caSecret }}
- name: bundles-ca
  secret:
    secretName: {{ . | quote }}
    items: [{key: {{ $bundles.fetch.caKey | quote }}, path: ca.crt}]
{{- end }}
{{- end }}
{{- end }}
