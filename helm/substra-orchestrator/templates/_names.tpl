{{- define "orchestrator.name" -}}
{{- printf "%s-server" .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "orchestrator.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "orchestrator.labels" -}}
{{ include "orchestrator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: substra
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "orchestrator.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "orchestrator.tlsSecret" -}}
{{- if .Values.orchestrator.tls.createCertificates.enabled -}}
{{ include "orchestrator.name" . }}-tls
{{- else -}}
{{ required "orchestrator.tls.existingSecret, or createCertificates" .Values.orchestrator.tls.existingSecret }}
{{- end -}}
{{- end }}

{{- define "orchestrator.databaseHost" -}}
{{- if .Values.postgresql.enabled -}}
{{ include "orchestrator.name" . }}-postgresql
{{- else -}}
{{ required "database.host, or postgresql.enabled" .Values.database.host }}
{{- end -}}
{{- end }}

{{/* A given one first; else that of the small PostgreSQL. */}}
{{- define "orchestrator.databaseSecret" -}}
{{- $given := .Values.database.credentialsSecretName }}
{{- if .Values.postgresql.enabled -}}
{{ $given | default (printf "%s-database" (include "orchestrator.name" .)) }}
{{- else -}}
{{ required "database.credentialsSecretName" $given }}
{{- end -}}
{{- end }}

{{/* Labels of the small PostgreSQL: no pod of the ledger's. */}}
{{- define "orchestrator.postgresql" -}}
app.kubernetes.io/name: {{ .Chart.Name }}-postgresql
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* What the Pod Security level "restricted" asks of every container, and a read-only root besides. */}}
{{- define "orchestrator.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "orchestrator.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1001
runAsGroup: 1001
fsGroup: 1001
seccompProfile: {type: RuntimeDefault}
{{- end }}
