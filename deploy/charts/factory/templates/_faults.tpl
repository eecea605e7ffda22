{{/* Faults that validations.yaml tells, by theme: each prints one sentence a line, or nothing. */}}

{{/* Bytes or cores of a quantity such as 512Mi or 250m; 0 where there is none. */}}
{{- define "factory.amount" -}}
{{- $number := regexFind "^[0-9.]+" (toString .) | default "0" | float64 }}
{{- $unit := regexFind "[A-Za-z]*$" (toString .) }}
{{- $small := dict "" 1.0 "m" 0.001 "k" 1000.0 "M" 1000000.0 "G" 1000000000.0 "T" 1000000000000.0 }}
{{- $factors := merge $small (dict "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0) }}
{{- mulf $number (get $factors $unit) }}
{{- end }}

{{/* An IPv4 address as a number. */}}
{{- define "factory.ipNumber" -}}
{{- $parts := splitList "." . }}
{{- add (mul (index $parts 0 | atoi) 16777216) (mul (index $parts 1 | atoi) 65536) (mul (index $parts 2 | atoi) 256) (index $parts 3 | atoi) }}
{{- end }}

{{- define "factory.isIPv4" -}}
{{- if regexMatch "^([0-9]{1,3}\\.){3}[0-9]{1,3}$" . }}yes{{ end }}
{{- end }}

{{- define "factory.isIPv6" -}}
{{- if regexMatch "^[0-9A-Fa-f.]*(:[0-9A-Fa-f.]*){2,}$" . }}yes{{ end }}
{{- end }}

{{/* "yes" where a network holds the address. Call with (list "10.1.2.3" cidrs). IPv4 alone. */}}
{{- define "factory.inNetworks" -}}
{{- $address := include "factory.ipNumber" (index . 0) | int64 }}
{{- $held := false }}
{{- range index . 1 }}
{{- $parts := splitList "/" . }}
{{- if include "factory.isIPv4" (first $parts) }}
{{- $size := 1 }}
{{- range until (sub 32 (last $parts | atoi) | int) }}{{ $size = mul $size 2 }}{{ end }}
{{- if eq (div $address $size) (div (include "factory.ipNumber" (first $parts) | int64) $size) }}{{ $held = true }}{{ end }}
{{- end }}
{{- end }}
{{- if $held }}yes{{ end }}
{{- end }}

{{/* A sentence where no network holds the address, or there is none at all. Of an IPv6 address it asks only for a network of
its kind; of a name, nothing. Call with (list "camera 1" "10.1.2.3" "networkPolicy.camera.cidrs" cidrs). */}}
{{- define "factory.cutOff" -}}
{{- $who := index . 0 }}{{ $address := index . 1 }}{{ $value := index . 2 }}{{ $cidrs := index . 3 }}
{{- $isIPv6 := include "factory.isIPv6" $address | eq "yes" }}
{{- $hasIPv6 := contains ":" (join " " $cidrs) }}
{{- if not $cidrs }}
{{ $value }} is empty, so nobody reaches {{ $who }}: name its network
{{- else if ternary (not $hasIPv6) (and (include "factory.isIPv4" $address) (not (include "factory.inNetworks" (list $address $cidrs)))) $isIPv6 }}
{{ $who }} is at {{ $address }}, which no network of {{ $value }} holds: add {{ $address }}/{{ ternary 128 32 $isIPv6 }} or its network
{{- end }}
{{- end }}

{{/* What a network policy would cut off without a word. */}}
{{- define "factory.faults.network" -}}
{{- $policy := .Values.networkPolicy }}
{{- if $policy.enabled }}
{{- range $id, $place := include "factory.cameraEndpoints" . | fromYaml }}
{{- if not $place.port }}
lines.{{ $place.line }}.cameras.{{ $id }}.source.url names no port, and its protocol has no usual one: write it, as in rtsp://10.1.2.3:554/stream
{{- end }}
{{ include "factory.cutOff" (list (printf "camera %s" $id) $place.host "networkPolicy.camera.cidrs" $policy.camera.cidrs) }}
{{- end }}
{{- range $line, $place := include "factory.plcEndpoints" . | fromYaml }}
{{ include "factory.cutOff" (list (printf "the PLC of line %s" $line) $place.host "networkPolicy.plc.cidrs" $policy.plc.cidrs) }}
{{- end }}
{{- end }}
{{- $peers := dict "networkPolicy.kafka.to" $policy.kafka.to "networkPolicy.redis.to" $policy.redis.to "networkPolicy.kuberay.from" $policy.kuberay.from }}
{{- $_ := set $peers "networkPolicy.monitoring.from" $policy.monitoring.from }}
{{- $_ := set $peers "networkPolicy.dns.to" $policy.dns.to }}
{{- $_ := set $peers "console.allowFrom" .Values.console.allowFrom }}
{{- $_ := set $peers "inference.http.allowFrom" .Values.inference.http.allowFrom }}
{{- range $number, $rule := $policy.extraEgress }}
{{- $_ := set $peers (printf "networkPolicy.extraEgress[%d].to" $number) ($rule.to | default list) }}
{{- end }}
{{- range $where, $list := $peers }}
{{- range $list }}
{{- if and (hasKey . "ipBlock") (or (hasKey . "podSelector") (hasKey . "namespaceSelector")) }}
{{ $where }} has a peer with an ipBlock and a selector, and Kubernetes takes one of them: write two peers
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* What a table says. `stop: null` names no signal, as if it were left out. */}}
{{- define "factory.withoutNulls" -}}
{{- $found := dict }}
{{- range $key, $value := . }}
{{- if not (kindIs "invalid" $value) }}{{ $_ := set $found $key $value }}{{ end }}
{{- end }}
{{- toJson $found }}
{{- end }}

{{/* An actuator's signals that no other line may have, as place → key: workers/alerting/actuators/config.py, `places`. */}}
{{- define "factory.signals" -}}
{{- $found := dict }}
{{- if eq .type "modbus" }}
{{- $unit := printf "modbus %s %d %d" (lower .host) (int (.port | default 502)) (int (ternary .unit 1 (hasKey . "unit"))) }}
{{- if not (kindIs "invalid" .block) }}
{{- range untilStep (int .block) (int (add .block 5)) 1 }}{{ $_ := set $found (printf "%s register %d" $unit .) "block" }}{{ end }}
{{- end }}
{{- range $name, $coil := omit (include "factory.withoutNulls" .coils | fromJson) "held" }}
{{- $_ := set $found (printf "%s coil %d" $unit (int $coil)) (printf "coils.%s" $name) }}
{{- end }}
{{- else if eq .type "opcua" }}
{{- $url := .url }}
{{- range $name, $node := omit (include "factory.withoutNulls" .nodes | fromJson) "held" }}{{ $_ := set $found (printf "%s %s" $url $node) (printf "nodes.%s" $name) }}{{ end }}
{{- else if eq .type "mqtt" }}
{{- $_ := set $found (printf "mqtt %s %d %s" (lower .host) (int (.port | default 1883)) .topic) "topic" }}
{{- else }}
{{- $_ := set $found (printf "webhook %s" .url) "url" }}
{{- end }}
{{- toJson $found }}
{{- end }}

{{/* Not empty where nobody knows this time zone: Sprig then tells UTC. Where Helm's machine knows none, this knows of no fault. */}}
{{- define "factory.noTimezone" -}}
{{- $itself := regexMatch "^(Etc/)?(UTC|UCT|Universal|Zulu)$" . }}
{{- if and (eq (dateInZone "MST" now "Asia/Tokyo") "JST") (eq (dateInZone "MST" now .) "UTC") (not $itself) }}no{{ end }}
{{- end }}

{{/* What `andon alerting check` would say of the policies, and of what their Secrets are for. */}}
{{- define "factory.faults.policies" -}}
{{- $base := .Values.alerting.otherLines }}
{{- $tables := dict "alerting.otherLines" $base }}
{{- range $line, $table := .Values.lines }}
{{- $cameras := len ($table.cameras | default dict) }}
{{- if gt $cameras 64 }}
lines.{{ $line }}.cameras: {{ $cameras }} of them, and alerting watches 64 of a line: make two lines of it
{{- end }}
{{- $_ := set $tables (printf "lines.%s.stop" $line) (mergeOverwrite (deepCopy $base) (deepCopy $table.stop)) }}
{{- end }}
{{- $taken := dict }}
{{- range $where, $stop := $tables }}
{{- if gt (int $stop.k) (int $stop.of) }}
{{ $where }}: k is {{ int $stop.k }} of {{ int $stop.of }} parts, which is never reached: set k to at most {{ int $stop.of }}, or `of` to more
{{- end }}
{{- with $stop.not_decidable }}
{{- if gt (.limit | default 10 | int) (.of_last | default 20 | int) }}
{{ $where }}.not_decidable: limit is {{ .limit | default 10 | int }} of the last {{ .of_last | default 20 | int }} frames, which is never reached: set limit to at most of_last
{{- end }}
{{- end }}
{{- range $name, $candidate := $stop.candidates }}
{{- if gt ($candidate.k | default $stop.k | int) ($candidate.of | default $stop.of | int) }}
{{ $where }}.candidates.{{ $name }}: k is above `of`, which is never reached: set k to at most {{ $candidate.of | default $stop.of | int }}
{{- end }}
{{- end }}
{{- with $stop.stop_budget }}
{{- if include "factory.noTimezone" (.timezone | default "UTC") }}
{{ $where }}.stop_budget: there is no time zone {{ .timezone }}, and alerting would not start: a name is like Europe/Berlin
{{- end }}
{{- end }}
{{- with $stop.actuator }}
{{- if not $stop.on_loss }}
{{ $where }} has an actuator and no on_loss: write hold-on-loss (the line stops while Andon does not watch it) or run-with-alarm (it runs uninspected)
{{- end }}
{{- if and .host (not (or (include "factory.isIPv6" .host) (regexMatch "^[^\\s:/@\\[\\]]+$" .host))) }}
{{ $where }}.actuator.host is {{ .host }}, and alerting would not start: write the name or address alone, and its port in actuator.port
{{- end }}
{{- $isModbus := eq .type "modbus" }}
{{- $hasBlock := not (kindIs "invalid" .block) }}
{{- $inverted := .inverted | default list }}
{{- $kept := ternary "coils" "nodes" $isModbus }}
{{- $signals := include "factory.withoutNulls" (get . $kept | default dict) | fromJson }}
{{- if has .type (list "modbus" "opcua") }}
{{- if not (or (hasKey $signals "stop") (hasKey $signals "run_permit")) }}
{{ $where }}.actuator.{{ $kept }}: name at least one of stop and run_permit, or nothing could be read back
{{- end }}
{{- range $inverted }}
{{- if not (hasKey $signals .) }}
{{ $where }}.actuator.inverted has {{ . }}, which is not named under actuator.{{ $kept }}: name it there, or remove it
{{- end }}
{{- end }}
{{- end }}
{{- $codes := dict "RUN" 0 "HOLD" 1 "STOP" 2 "REJECT" 3 }}
{{- range $level, $code := .codes }}{{ $_ := set $codes $level (int $code) }}{{ end }}
{{- if lt (values $codes | uniq | len) 4 }}
{{ $where }}.actuator.codes are {{ range $level, $code := $codes }}{{ $level }} {{ $code }}, {{ end }}and the PLC could not tell two of them apart: give each its own
{{- end }}
{{- $rejects := has "REJECT" (list $stop.action ($stop.not_decidable | default dict).action) }}
{{- if and $isModbus $rejects (not (or $hasBlock (hasKey $signals "reject"))) }}
{{ $where }}: REJECT needs a signal for it: actuator.coils.reject, or actuator.block
{{- end }}
{{- $holdsAtZero := or (has "stop" $inverted) (and (hasKey $signals "run_permit") (not (has "run_permit" $inverted))) }}
{{- if eq ($stop.on_loss | default "") "hold-on-loss" }}
{{- if and $isModbus (not (or $hasBlock $holdsAtZero)) }}
{{ $where }}: hold-on-loss can't be kept by coils that all fall to 0 when Andon is lost: name actuator.coils.run_permit, not inverted, or a stop that is inverted (and so wired), or actuator.block
{{- else if and (eq .type "opcua") (not $signals.heartbeat) }}
{{ $where }}: hold-on-loss can't be kept without actuator.nodes.heartbeat, since the PLC can't tell that it lost Andon: name it, or write run-with-alarm
{{- end }}
{{- end }}
{{- $own := include "factory.signals" . | fromJson }}
{{- $shared := dict }}
{{- range $place, $key := $own }}
{{- with get $taken $place }}{{ $_ := set $shared $key . }}{{ end }}
{{- end }}
{{- range $key, $other := $shared }}
{{ $where }}.actuator.{{ $key }} is {{ $other }}.actuator's, too, and the two would fight for it: give each line its own signals
{{- end }}
{{- range $place, $_ := $own }}{{ $_ := set $taken $place $where }}{{ end }}
{{- /* Of OPC UA: policy, mode, and the files of certificates and key behind them. */}}
{{- $needs := concat (compact (list .password_file .secret_file .ca_file)) (slice (splitList "," (.security | default ",")) 2) }}
{{- $line := trimSuffix ".stop" $where | trimPrefix "lines." }}
{{- range $needs }}
{{- $folder := printf "/run/secrets/lines/%s/" $line }}
{{- if not (hasPrefix $folder .) }}
{{ $where }}.actuator names the file {{ . }}, and nothing is mounted there: put it into the Secret lines.{{ $line }}.existingSecret, and write {{ $folder }}‹its key›
{{- else if not (get $.Values.lines $line).existingSecret }}
{{ $where }}.actuator names the file {{ . }}: name the Secret that holds it in lines.{{ $line }}.existingSecret
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* CPU and memory. */}}
{{- define "factory.faults.amounts" -}}
{{- $inference := .Values.inference }}
{{- $tables := dict "cameras" .Values.cameras.resources "inference.worker" $inference.worker.resources "inference.head" $inference.head.resources }}
{{- $_ := set $tables "alerting" .Values.alerting.resources }}
{{- $_ := set $tables "console" .Values.console.resources }}
{{- $_ := set $tables "console.proxy" .Values.console.proxy.resources }}
{{- range $where, $resources := $tables }}
{{- range $what := list "cpu" "memory" }}
{{- $asked := get $resources.requests $what }}
{{- $most := get $resources.limits $what }}
{{- if and $asked $most (gt (include "factory.amount" $asked | float64) (include "factory.amount" $most | float64)) }}
{{ $where }}.resources.requests.{{ $what }} ({{ $asked }}) is above limits.{{ $what }} ({{ $most }}): raise the limit, or ask for less
{{- end }}
{{- end }}
{{- if not $resources.limits.memory }}
{{ $where }}.resources.limits.memory is empty, so one process could take a whole node: set it
{{- end }}
{{- end }}
{{- /* 64 MiB for the process itself; docs/camera.md tells of the 16, and of their copies in Kafka's client. */}}
{{- $process := add (int64 .Values.cameras.bufferMib) 96 }}
{{- $room := include "factory.amount" .Values.cameras.resources.limits.memory | float64 }}
{{- if and $room (gt (mulf (float64 $process) 1048576.0) $room) }}
cameras.bufferMib is {{ int64 .Values.cameras.bufferMib }}, and a worker that fills it would be killed at its memory of {{ .Values.cameras.resources.limits.memory }}, with all frames in it: set less, or cameras.resources.limits.memory to at least {{ $process }}Mi
{{- end }}
{{- with $inference }}
{{- $cores := .worker.resources.limits.cpu | default .worker.resources.requests.cpu }}
{{- $needed := mulf (float64 .replica.cpus) (float64 .worker.replicas) }}
{{- if not $cores }}
inference.worker.resources names no cpu, and Ray counts a pod's cores by it: set limits.cpu to at least {{ $needed }}
{{- else if gt $needed (include "factory.amount" $cores | float64) }}
inference.replica.cpus × inference.worker.replicas is {{ $needed }}, but a worker pod has {{ $cores }} cores, so Ray would wait for ever: set inference.worker.resources.limits.cpu to at least {{ $needed }}, or fewer replicas a pod
{{- end }}
{{- $memory := include "factory.amount" .worker.resources.limits.memory | float64 }}
{{- $shared := mulf (float64 .worker.sharedMemoryMib) 1048576.0 }}
{{- if and $memory (ge $shared $memory) }}
inference.worker.sharedMemoryMib is {{ int64 .worker.sharedMemoryMib }}, and counts to the pod's memory of {{ .worker.resources.limits.memory }}: set less, or a higher limits.memory
{{- end }}
{{- if and (gt (float64 .replica.gpus) 1.0) (ne (floor (float64 .replica.gpus)) (float64 .replica.gpus)) }}
inference.replica.gpus is {{ .replica.gpus }}, and Ray takes shares of one GPU or whole ones: set {{ floor (float64 .replica.gpus) }}, or a share below 1
{{- end }}
{{- if and .worker.gpus (not (float64 .replica.gpus)) }}
inference.worker.gpus is {{ int .worker.gpus }}, but no replica would see one: set inference.replica.gpus to 1, or to a share of one
{{- end }}
{{- end }}
{{- end }}

{{/* Tolerations. Of Ray's pods no API server looks at them before KubeRay makes the pods, and it makes none. */}}
{{- define "factory.faults.tolerations" -}}
{{- $tables := dict "tolerations" .Values.tolerations }}
{{- $parts := dict "cameras" .Values.cameras "inference.worker" .Values.inference.worker "inference.head" .Values.inference.head }}
{{- range $part, $values := merge $parts (dict "alerting" .Values.alerting "console" .Values.console) }}
{{- $_ := set $tables (printf "%s.tolerations" $part) $values.tolerations }}
{{- end }}
{{- range $where, $list := $tables }}
{{- range $number, $one := $list }}
{{- if and .value (eq (.operator | default "Equal") "Exists") }}
{{ $where }}[{{ $number }}] has a value, and operator Exists asks for none: leave out the value, or write Equal
{{- end }}
{{- if not (or .key (eq (.operator | default "Equal") "Exists")) }}
{{ $where }}[{{ $number }}] has no key: name the taint's, or write operator: Exists, which puts up with all
{{- end }}
{{- if and (hasKey . "tolerationSeconds") (ne (.effect | default "") "NoExecute") }}
{{ $where }}[{{ $number }}] has tolerationSeconds, which are for NoExecute alone: leave them out, or write effect: NoExecute
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* extraEnv. */}}
{{- define "factory.faults.environment" -}}
{{- $ours := "^(KAFKA_|REDIS_|ANDON_(TOPIC_PREFIX|FRAME_PARTITIONS|LINE_PARTITIONS|METRICS_HOST|HTTP_TOKEN|BUNDLES|CONSOLE_.*)$|HOME$|RAY_worker_niceness$|RAY_USAGE_STATS_ENABLED$|RAY_ROTATION_(MAX_BYTES|BACKUP_COUNT)$)" }}
{{- $all := .Values.extraEnv }}
{{- $own := dict "cameras.extraEnv" .Values.cameras.extraEnv "inference.extraEnv" .Values.inference.extraEnv }}
{{- $_ := set $own "alerting.extraEnv" .Values.alerting.extraEnv }}
{{- $_ := set $own "console.extraEnv" .Values.console.extraEnv }}
{{- range $where, $list := merge (dict "extraEnv" $all) $own }}
{{- $seen := dict }}
{{- range $list }}
{{- if regexMatch $ours .name }}
{{ $where }} sets {{ .name }}, which the chart sets itself: use the value for it
{{- end }}
{{- if hasKey $seen .name }}
{{ $where }} sets {{ .name }} twice: remove one
{{- end }}
{{- $_ := set $seen .name true }}
{{- end }}
{{- end }}
{{- range $where, $list := $own }}
{{- range $list }}
{{- $name := .name }}
{{- range $all }}
{{- if eq .name $name }}
{{ $where }} and extraEnv both set {{ $name }}: remove it from one
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "factory.faults.console" -}}
{{- with .Values.console }}
{{- if .enabled }}
{{- if gt (int .replicas) 1 }}
console.replicas is {{ int .replicas }}, but users, sessions and judgements are files on one volume: set 1 (one page serves a hundred browsers)
{{- end }}
{{- if include "factory.noTimezone" .timeZone }}
console.timeZone: there is no time zone {{ .timeZone }}, and the page would not start: a name is like Europe/Berlin
{{- end }}
{{- if and .proxy.enabled (not .proxy.existingSecret) }}
console.proxy.enabled needs a Secret with the keys client-secret and cookie-secret: name it in console.proxy.existingSecret
{{- end }}
{{- if and .proxy.enabled (not .proxy.clientId) }}
console.proxy.clientId is empty: write the client id that your issuer gave you
{{- end }}
{{- if and .proxy.enabled (not .proxy.args) }}
console.proxy.args is empty, so it knows no issuer: write --provider=…, --oidc-issuer-url=…, --email-domain=…
{{- end }}
{{- range .proxy.args }}
{{- if regexMatch "^--(http-address|upstream|client-id|client-secret|cookie-secret)(-file)?(=|$)" . }}
console.proxy.args has {{ regexFind "^--[a-z-]+" . }}, which the chart or the Secret sets: remove it
{{- end }}
{{- end }}
{{- if and .proxy.enabled .tls.existingSecret }}
console.proxy and console.tls are both set, and the proxy speaks plain HTTP to the page: clear console.tls.existingSecret, and let what is in front of the proxy end TLS
{{- end }}
{{- if and (not .data.existingClaim) (le (include "factory.amount" .data.storage | float64) (mulf (float64 .data.feedbackMib) 1048576.0)) }}
console.data.storage is {{ .data.storage | default "empty" }}, less than judged images may take (console.data.feedbackMib is {{ int64 .data.feedbackMib }}): raise it, or lower feedbackMib
{{- end }}
{{- if and .mountBundles (not (has $.Values.bundles.source (list "claim" "volume"))) }}
console.mountBundles needs bundles.source claim or volume, and it is {{ $.Values.bundles.source }}: set console.mountBundles to false
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Rules that would never tell, and panels that stay empty: what grows within a window takes several looks to be seen. */}}
{{- define "factory.faults.monitoring" -}}
{{- with .Values.monitoring }}
{{- if and .rules.enabled (not .podMonitors.enabled) }}
monitoring.rules.enabled is true, and rules look for the label `factory`, which the PodMonitors of this chart alone add: set monitoring.podMonitors.enabled to true
{{- else if or .rules.enabled (and .podMonitors.enabled .dashboards.enabled) }}
{{- $interval := mul (regexFind "^[0-9]+" .podMonitors.interval | atoi) (ternary 60 1 (hasSuffix "m" .podMonitors.interval)) }}
{{- if gt $interval 30 }}
monitoring.podMonitors.interval is {{ .podMonitors.interval }}, and {{ ternary "rules look at two minutes" "dashboards look at one minute" .rules.enabled }}: set at most 30s
{{- else if and .rules.enabled (gt (mul 4 $interval) (int64 .rules.cameraSilentS)) }}
monitoring.rules.cameraSilentS is {{ int64 .rules.cameraSilentS }}, too short for four looks of monitoring.podMonitors.interval ({{ .podMonitors.interval }}), so no camera would ever count as silent: set at least {{ mul 4 $interval }}, or a shorter interval
{{- end }}
{{- end }}
{{- end }}
{{- end }}
