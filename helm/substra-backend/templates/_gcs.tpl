{{/* State of a head outside of it. Each cluster has a part of its own, named by KubeRay after the cluster. */}}
{{- define "backend.gcsFaultTolerance" -}}
{{- $v := .Values.gcsFaultTolerance }}
{{- if $v.redisAddress -}}
gcsFaultToleranceOptions:
  redisAddress: {{ $v.redisAddress | quote }}
  {{- with $v.credentialsSecretName }}
  redisUsername: {valueFrom: {secretKeyRef: {name: {{ . }}, key: REDIS_USERNAME, optional: true}}}
  redisPassword: {valueFrom: {secretKeyRef: {name: {{ . }}, key: REDIS_PASSWORD}}}
  {{- end }}
{{- end }}
{{- end }}

{{/* The way to Redis, for heads and for the Job with which KubeRay empties a deleted cluster's part of it. */}}
{{- define "backend.gcsPolicy" -}}
{{- $address := .root.Values.gcsFaultTolerance.redisAddress }}
{{- $first := $address | trimPrefix "redis://" | trimPrefix "rediss://" | splitList "," | first }}
{{- $port := regexFind ":[0-9]+$" $first | trimPrefix ":" | default "6379" }}
{{- $host := regexReplaceAll ":[0-9]+$" $first "" }}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  labels: {{- include "backend.labels" .root | nindent 4 }}
spec:
  podSelector:
    matchExpressions:
      - {key: ray.io/node-type, operator: In, values: [head, redis-cleanup]}
  policyTypes: [Egress]
  egress:
    {{- include "backend.dnsRule" .root | nindent 4 }}
    {{- include "backend.placeRule" (dict "root" .root "port" $port "host" $host "given" .root.Values.networkPolicy.redisTo "component" "") | nindent 4 }}
{{- end }}
