{{/* Parts of the network policies. A rule that names an address which may be a name allows its port anywhere: a policy
knows no names. networkPolicy.objectStoreTo, .registryTo and .databaseTo say more. */}}

{{- define "backend.dnsRule" -}}
- ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
  {{- with .Values.networkPolicy.dnsTo }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* An egress rule to one place. Takes root, port, host, given (peers from the values), component (of a pod of this chart, or empty). */}}
{{- define "backend.placeRule" -}}
- ports: [{port: {{ .port }}, protocol: TCP}]
{{- if .component }}
  to: {{- include "backend.peer" (dict "root" .root "component" .component) | nindent 4 }}
{{- else if .given }}
  to: {{- toYaml .given | nindent 4 }}
{{- else if regexMatch "^[0-9]+(\\.[0-9]+){3}$" .host }}
  to: [{ipBlock: {cidr: {{ .host }}/32}}]
{{- end }}
{{- end }}

{{/* Pods of this release, from anywhere in the cluster. */}}
{{- define "backend.peer" -}}
- namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ .root.Release.Namespace }}}}
  podSelector:
    matchLabels:
      {{- include "backend.selector" .root | nindent 6 }}
      app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "backend.databaseRule" -}}
{{- $v := .Values }}
{{- include "backend.placeRule" (dict "root" . "port" $v.database.port "host" $v.database.host "given" $v.networkPolicy.databaseTo "component" (ternary "postgresql" "" $v.postgresql.enabled)) }}
{{- end }}

{{- define "backend.storeRule" -}}
{{- $v := .Values }}
{{- include "backend.placeRule" (dict "root" . "port" (include "backend.storePort" .) "host" (include "backend.storeHost" .) "given" $v.networkPolicy.objectStoreTo "component" (ternary "minio" "" $v.minio.enabled)) }}
{{- end }}

{{- define "backend.registryRule" -}}
{{- $v := .Values }}
{{- include "backend.placeRule" (dict "root" . "port" $v.containerRegistry.port "host" $v.containerRegistry.host "given" $v.networkPolicy.registryTo "component" "") }}
{{- if $v.dockerRegistry.enabled }}
- ports: [{port: 5000, protocol: TCP}]
  to: {{- include "backend.peer" (dict "root" . "component" "registry") | nindent 4 }}
{{- end }}
{{- end }}

{{/* The internet, and nothing that is not: RUN lines are users' code. */}}
{{- define "backend.internetRule" -}}
{{- $four := list }}{{ $six := list }}
{{- range .Values.networkPolicy.privateRanges }}
{{- if contains ":" . }}{{ $six = append $six . }}{{ else }}{{ $four = append $four . }}{{ end }}
{{- end }}
- to:
    - ipBlock: {cidr: 0.0.0.0/0, except: {{ $four | toJson }}}
    - ipBlock: {cidr: "::/0", except: {{ $six | toJson }}}
{{- end }}

{{/* Ports to anywhere: takes a list of numbers, some of them twice. */}}
{{- define "backend.portsRule" -}}
{{- $numbers := list }}
{{- range . }}{{ $numbers = append $numbers (int .) }}{{ end }}
- ports:
    {{- range uniq $numbers }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
{{- end }}
