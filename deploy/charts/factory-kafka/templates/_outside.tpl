{{/* The listener for those outside of the cluster; nothing where there is none. By this name and port Strimzi calls the
Service of each broker as its pod, which is short enough. */}}
{{- define "kafka.outside" -}}
{{- $outside := .Values.outside }}
{{- if and (ne $outside.type "none") (not .Values.existingCluster) }}
- name: external
  port: 9094
  type: {{ $outside.type }}
  tls: true
  authentication:
    type: {{ ternary "tls" "scram-sha-512" (eq .Values.security.type "mtls") }}
  {{- with include "kafka.outsideConfiguration" . | fromYaml }}
  configuration:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $outside.allowFrom }}
  networkPolicyPeers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "kafka.outsideConfiguration" -}}
{{- $outside := .Values.outside }}
{{- $byName := has $outside.type (list "route" "tlsroute") }}
{{- $found := dict }}
{{- $bootstrap := dict }}
{{- with $outside.host }}
{{- $_ := ternary (dict "host" .) (dict "alternativeNames" (list .)) $byName | merge $bootstrap }}
{{- end }}
{{- with ternary ($outside.brokerHost | default $outside.host) $outside.brokerHost (eq $outside.type "nodeport") }}
{{- $_ := set $found (ternary "hostTemplate" "advertisedHostTemplate" $byName) . }}
{{- end }}
{{- if and (eq $outside.type "nodeport") $outside.nodePort }}
{{- $_ := set $bootstrap "nodePort" (int $outside.nodePort) }}
{{- /* Strimzi numbers brokers and controllers together, and new ones on from there; a number that is nobody's does nothing. */}}
{{- $brokers := list }}
{{- range until (mul 2 (add .Values.brokers.replicas .Values.controllers.replicas) | int) }}
{{- $brokers = append $brokers (dict "broker" . "nodePort" (add $outside.nodePort . 1 | int)) }}
{{- end }}
{{- $_ := set $found "brokers" $brokers }}
{{- end }}
{{- if eq $outside.type "tlsroute" }}
{{- $gateway := dict "group" "gateway.networking.k8s.io" "kind" "Gateway" }}
{{- range $key := list "name" "namespace" "sectionName" }}
{{- with get $outside.gateway $key }}{{ $_ := set $gateway $key . }}{{ end }}
{{- end }}
{{- $_ := set $found "parentRefs" (list $gateway) }}
{{- $_ := set $found "advertisedPortTemplate" (toString $outside.gateway.port) }}
{{- end }}
{{- with $outside.loadBalancerClass }}{{ $_ := set $found "class" . }}{{ end }}
{{- with $outside.sourceRanges }}{{ $_ := set $found "loadBalancerSourceRanges" . }}{{ end }}
{{- with $bootstrap }}{{ $_ := set $found "bootstrap" . }}{{ end }}
{{- toYaml $found }}
{{- end }}

{{/* What prints KAFKA_BOOTSTRAP for those outside; nothing where nobody comes in. Behind node ports Strimzi tells addresses
of nodes, which no certificate holds, and of a Gateway it does not know the port. */}}
{{- define "kafka.outsideAddress" -}}
{{- $outside := .Values.outside }}
{{- $ask := printf "kubectl -n %s get" .Release.Namespace }}
{{- $cluster := include "kafka.cluster" . }}
{{- if eq $outside.type "none" }}
{{- else if eq $outside.type "tlsroute" }}
echo {{ $outside.host }}:{{ $outside.gateway.port }}
{{- else if eq $outside.type "nodeport" }}
echo {{ $outside.host }}:$({{ $ask }} service {{ $cluster }}-kafka-external-bootstrap -o jsonpath='{.spec.ports[0].nodePort}')
{{- else }}
{{ $ask }} kafka/{{ $cluster }} -o jsonpath='{.status.listeners[?(@.name=="external")].bootstrapServers}'
{{- end }}
{{- end }}

{{/* Behind node ports Strimzi asks each pod's node for its address, in a container of its own. */}}
{{- define "kafka.initContainer" -}}
{{- if eq .Values.outside.type "nodeport" }}
initContainer:
  securityContext:
    {{- include "kafka.containerSecurity" . | nindent 4 }}
{{- end }}
{{- end }}

{{/* Faults of these values, one sentence a line. */}}
{{- define "kafka.faults.outside" -}}
{{- $outside := .Values.outside }}
{{- $type := $outside.type }}
{{- if eq $type "none" }}
{{- range $key, $value := omit $outside "type" "gateway" }}
{{- if $value }}
outside.{{ $key }} is set, and outside.type is none, so nobody outside reaches Kafka: choose how they come in
{{- end }}
{{- end }}
{{- if $outside.gateway.name }}
outside.gateway.name is set, and outside.type is none, so nobody outside reaches Kafka: set tlsroute
{{- end }}
{{- else }}
{{- if .Values.existingCluster }}
outside.type is {{ $type }}, and the listeners of {{ .Values.existingCluster }} are its own: set it where that Kafka is made
{{- end }}
{{- if eq .Values.security.type "none" }}
outside.type is {{ $type }}, and security.type is none, so whoever reaches it could stop your lines: set security.type to mtls or scram-sha-512
{{- end }}
{{- $hasPlace := regexMatch "\\{" $outside.brokerHost }}
{{- if and $outside.brokerHost (not $hasPlace) (ne $type "nodeport") }}
outside.brokerHost is {{ $outside.brokerHost }} for every broker, and {{ $type }} has a way of its own for each: write {nodeId} into it
{{- end }}
{{- if and (eq $type "nodeport") (not $outside.host) }}
outside.type is nodeport, and brokers' certificates hold no node's address by themselves, so no client would believe them: name in outside.host what leads to the nodes
{{- end }}
{{- if eq $type "tlsroute" }}
{{- range $key, $value := dict "host" $outside.host "brokerHost" $outside.brokerHost "gateway.name" $outside.gateway.name }}
{{- if not $value }}
outside.type is tlsroute, which goes by names that a Gateway leads on: set outside.{{ $key }}, too
{{- end }}
{{- end }}
{{- else if $outside.gateway.name }}
outside.gateway.name is set, and outside.type is {{ $type }}: set tlsroute, or clear it
{{- end }}
{{- $isIPv4 := regexMatch "^([0-9]{1,3}\\.){3}[0-9]{1,3}$" $outside.host }}
{{- if and $isIPv4 (has $type (list "route" "tlsroute")) }}
outside.host is {{ $outside.host }}, and {{ $type }} goes by the name that a client asks for: write a name
{{- end }}
{{- if and $outside.nodePort (ne $type "nodeport") }}
outside.nodePort is set, and outside.type is {{ $type }}: set nodeport, or 0
{{- end }}
{{- range $key := list "loadBalancerClass" "sourceRanges" }}
{{- if and (get $outside $key) (ne $type "loadbalancer") }}
outside.{{ $key }} is set, and outside.type is {{ $type }}: set loadbalancer, or clear it
{{- end }}
{{- end }}
{{- if and $outside.annotations (not (has $type (list "nodeport" "loadbalancer"))) }}
outside.annotations are of Services, and {{ $type }} is none: clear them
{{- end }}
{{- end }}
{{- range $outside.allowFrom }}
{{- if and (hasKey . "ipBlock") (or (hasKey . "podSelector") (hasKey . "namespaceSelector")) }}
outside.allowFrom has a peer with an ipBlock and a selector, and Kubernetes takes one of them: write two peers
{{- end }}
{{- end }}
{{- end }}
