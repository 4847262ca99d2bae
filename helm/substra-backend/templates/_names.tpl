{{- define "backend.name" -}}
{{- printf "%s-substra-backend" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end }}

{{- define "backend.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "backend.labels" -}}
{{ include "backend.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: substra-backend
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "backend.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "backend.keySecret" -}}
{{ .Values.server.secretKeySecretName | default (printf "%s-server-key" (include "backend.name" .)) }}
{{- end }}

{{- define "backend.accountSecret" -}}
{{ .Values.addAccountOperator.existingSecret | default (printf "%s-add-account" (include "backend.name" .)) }}
{{- end }}

{{/* Where ingress and gateway find the API's certificate. */}}
{{- define "backend.tlsSecret" -}}
{{- $own := ternary (printf "%s-tls" (include "backend.name" .)) "" .Values.server.certificate.enabled }}
{{- .Values.server.ingress.tlsSecretName | default $own }}
{{- end }}

{{/* Given ones first; else that of the small PostgreSQL or store of this chart. */}}
{{- define "backend.databaseSecret" -}}
{{- $given := .Values.database.auth.credentialsSecretName }}
{{- if .Values.postgresql.enabled -}}
{{ $given | default (printf "%s-database" (include "backend.name" .)) }}
{{- else -}}
{{ required "database.auth.credentialsSecretName" $given }}
{{- end -}}
{{- end }}

{{/* Empty: the pod's own identity opens the store. */}}
{{- define "backend.storeSecret" -}}
{{- $own := ternary (printf "%s-objectstore" (include "backend.name" .)) "" .Values.minio.enabled }}
{{- .Values.objectStore.credentialsSecretName | default $own }}
{{- end }}

{{/* What the Pod Security level "restricted" asks, and a read-only root besides. */}}
{{- define "backend.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* How a process of ours is started. Takes root, words (a list). In development under a debugger, and again after each change below /src. */}}
{{- define "backend.command" -}}
{{- if .root.Values.development.enabled }}
{{- $debugger := printf "python -m debugpy --listen 127.0.0.1:%d" (int .root.Values.development.debuggerPort) }}
{{- list "watchfiles" "--filter" "python" (printf "%s %s" $debugger (join " " .words)) "/src" | toJson }}
{{- else }}
{{- prepend .words "python" | toJson }}
{{- end }}
{{- end }}

{{/* Volumes and mounts of the builder: of the control plane only. */}}
{{- define "backend.builderVolumes" -}}
{{- with .Values.containerRegistry.dockerConfigSecretName }}
- name: registry
  secret: {secretName: {{ . }}}
{{- end }}
{{- with .Values.containerRegistry.caSecretName }}
- name: registry-ca
  secret: {secretName: {{ . }}}
{{- end }}
{{- end }}

{{- define "backend.builderMounts" -}}
{{- if .Values.containerRegistry.dockerConfigSecretName }}
- {name: registry, mountPath: /etc/substra/registry, readOnly: true}
{{- end }}
{{- if .Values.containerRegistry.caSecretName }}
- {name: registry-ca, mountPath: /etc/substra/registry-ca, readOnly: true}
{{- end }}
{{- end }}

{{- define "backend.pod" -}}
{{ include "backend.podWithout" . }}
serviceAccountName: {{ include "backend.name" . }}
automountServiceAccountToken: false
{{ include "backend.volumes" . }}
{{- end }}

{{/* All but the service account and the volumes. */}}
{{- define "backend.podWithout" -}}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 1001
  runAsGroup: 1001
  fsGroup: 1001
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Where pods run: a component's own values, else those for all. Takes root, and own (a component's values, or an empty dict). */}}
{{- define "backend.placement" -}}
{{- with .own.nodeSelector | default .root.Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .own.tolerations | default .root.Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .own.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "backend.volumes" -}}
volumes:
  - name: settings
    configMap: {name: {{ include "backend.name" . }}-settings}
  - name: medias
    emptyDir: {sizeLimit: {{ .Values.server.scratchSize }}}
  {{- with .Values.server.persistence.servermedias }}
  {{- if .enabled }}
  - name: servermedias
    persistentVolumeClaim: {claimName: {{ .existingClaim | default (printf "%s-servermedias" (include "backend.name" $)) }}, readOnly: true}
  {{- end }}
  {{- end }}
  - name: scratch
    emptyDir: {sizeLimit: 1Gi}
  {{- if .Values.server.dashboard.enabled }}
  - name: ray-token
    secret: {secretName: {{ include "backend.rayToken" . }}}
  {{- end }}
  {{- with include "backend.storeSecret" . }}
  - name: object-store
    secret: {secretName: {{ . }}}
  {{- end }}
  {{- with .Values.database.sslRootCertSecretName }}
  - name: database-ca
    secret: {secretName: {{ . }}, items: [{key: ca.crt, path: ca.crt}]}
  {{- end }}
  {{- with .Values.objectStore.caSecretName }}
  - name: object-store-ca
    secret: {secretName: {{ . }}}
  {{- end }}
  {{- if .Values.orchestrator.tls.enabled }}
  {{- with .Values.orchestrator.tls.cacert }}
  - name: orchestrator-ca
    secret: {secretName: {{ . }}}
  {{- end }}
  {{- if .Values.orchestrator.tls.mtls.enabled }}
  - name: orchestrator-client
    secret: {secretName: {{ required "orchestrator.tls.mtls.clientCertificate" .Values.orchestrator.tls.mtls.clientCertificate }}}
  {{- end }}
  {{- end }}
{{- end }}

{{- define "backend.container" -}}
image: {{ include "backend.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext: {{- include "backend.containerSecurity" . | replace "Filesystem: true" (printf "Filesystem: %t" (not .Values.development.enabled)) | nindent 2 }}
env:
  - {name: SUBSTRA_RAY_SETTINGS, value: /etc/substra/settings/settings.json}
  - name: SECRET_KEY
    valueFrom:
      secretKeyRef: {name: {{ include "backend.keySecret" . }}, key: SECRET_KEY}
  - name: SECRET_KEY_PREVIOUS
    valueFrom:
      secretKeyRef: {name: {{ include "backend.keySecret" . }}, key: SECRET_KEY_PREVIOUS, optional: true}
  {{- $database := include "backend.databaseSecret" . }}
  {{- range list "DATABASE_USERNAME" "DATABASE_PASSWORD" }}
  - name: {{ . }}
    valueFrom:
      secretKeyRef: {name: {{ $database }}, key: {{ . }}}
  {{- end }}
  # libpq reads these itself.
  - {name: PGSSLMODE, value: {{ .Values.database.sslMode | quote }}}
  {{- if .Values.database.sslRootCertSecretName }}
  - {name: PGSSLROOTCERT, value: /etc/substra/database-ca/ca.crt}
  {{- end }}
  {{- with .Values.server.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- with .Values.server.metrics.tokenSecretName }}
  - name: METRICS_TOKEN
    valueFrom:
      secretKeyRef: {name: {{ . }}, key: METRICS_TOKEN}
  {{- end }}
volumeMounts:
  - {name: settings, mountPath: /etc/substra/settings, readOnly: true}
  - {name: medias, mountPath: /var/substra/medias}
  {{- if .Values.server.persistence.servermedias.enabled }}
  - {name: servermedias, mountPath: /var/substra/servermedias, readOnly: true}
  {{- end }}
  - {name: scratch, mountPath: /tmp}
  {{- if .Values.server.dashboard.enabled }}
  - {name: ray-token, mountPath: /etc/substra/ray-token, readOnly: true}
  {{- end }}
  {{- if include "backend.storeSecret" . }}
  - {name: object-store, mountPath: /etc/substra/object-store, readOnly: true}
  {{- end }}
  {{- if .Values.database.sslRootCertSecretName }}
  - {name: database-ca, mountPath: /etc/substra/database-ca, readOnly: true}
  {{- end }}
  {{- if .Values.objectStore.caSecretName }}
  - {name: object-store-ca, mountPath: /etc/substra/object-store-ca, readOnly: true}
  {{- end }}
  {{- if .Values.orchestrator.tls.enabled }}
  {{- if .Values.orchestrator.tls.cacert }}
  - {name: orchestrator-ca, mountPath: /etc/substra/orchestrator-ca, readOnly: true}
  {{- end }}
  {{- if .Values.orchestrator.tls.mtls.enabled }}
  - {name: orchestrator-client, mountPath: /etc/substra/orchestrator-client, readOnly: true}
  {{- end }}
  {{- end }}
{{- end }}

{{/* Every setting but secrets, which come as variables and files. */}}
{{- define "backend.settings" -}}
{{- $v := .Values }}
{{- $settings := dict
  "NAME" .Release.Name
  "ORG_NAME" (required "organizationName" $v.organizationName)
  "MSP_ID" (required "orchestrator.mspID" $v.orchestrator.mspID)
  "BACKEND_VERSION" .Chart.AppVersion
  "CHANNELS" $v.orchestrator.channels
  "ORCHESTRATOR_HOST" (required "orchestrator.host" $v.orchestrator.host)
  "ORCHESTRATOR_PORT" $v.orchestrator.port
  "ORCHESTRATOR_TLS_ENABLED" $v.orchestrator.tls.enabled
  "ORCHESTRATOR_MTLS_ENABLED" (and $v.orchestrator.tls.enabled $v.orchestrator.tls.mtls.enabled)
  "DEFAULT_DOMAIN" (required "server.defaultDomain" $v.server.defaultDomain)
  "SUBPATH" $v.server.subpath
  "EXPIRY_TOKEN_ENABLED" $v.server.allowImplicitLogin
  "TRUSTED_PROXIES" $v.server.trustedProxies
  "DATABASE_HOSTNAME" (include "backend.databaseHost" .)
  "DATABASE_PORT" $v.database.port
  "DATABASE_DATABASE" $v.database.database
  "OBJECTSTORE_URL" (include "backend.storeUrl" .)
  "OBJECTSTORE_BUCKET" $v.objectStore.bucket
  "OBJECTSTORE_PREFIX" $v.objectStore.prefix
  "OBJECTSTORE_REGION" $v.objectStore.region
  "OBJECTSTORE_PATH_STYLE" $v.objectStore.pathStyle
  "MEDIA_ROOT" "/var/substra/medias"
  "SERVERMEDIAS_ROOT" "/var/substra/servermedias"
  "RUN_FOLDER" "/tmp/substra-ray"
  "BUILDER_ENABLED" $v.builder.enabled
  "WORKERS" 0
  "ENABLE_METRICS" $v.server.metrics.enabled
}}
{{- if $v.server.dashboard.enabled }}
{{- $_ := set $settings "RAY_DASHBOARDS" (include "backend.dashboards" . | fromJson) }}
{{- $_ := set $settings "RAY_TOKEN_PATH" "/etc/substra/ray-token/auth_token" }}
{{- end }}
{{- with $v.server.commonHostDomain }}{{ $_ := set $settings "COMMON_HOST_DOMAIN" . }}{{ end }}
{{- if include "backend.storeSecret" . }}{{ $_ := set $settings "OBJECTSTORE_CREDENTIALS_FOLDER" "/etc/substra/object-store" }}{{ end }}
{{- if $v.objectStore.caSecretName }}{{ $_ := set $settings "OBJECTSTORE_CA_PATH" "/etc/substra/object-store-ca/ca.crt" }}{{ end }}
{{- if $v.orchestrator.tls.enabled }}
{{- if $v.orchestrator.tls.cacert }}{{ $_ := set $settings "ORCHESTRATOR_TLS_SERVER_CACERT_PATH" "/etc/substra/orchestrator-ca/ca.crt" }}{{ end }}
{{- if $v.orchestrator.tls.mtls.enabled }}
{{- $_ := set $settings "ORCHESTRATOR_TLS_CLIENT_CERT_PATH" "/etc/substra/orchestrator-client/tls.crt" }}
{{- $_ := set $settings "ORCHESTRATOR_TLS_CLIENT_KEY_PATH" "/etc/substra/orchestrator-client/tls.key" }}
{{- end }}
{{- end }}
{{- if $v.builder.enabled }}
{{- $b := $v.builder }}
{{- $security := dict }}
{{- with $v.buildkit.seccompProfile }}{{ $_ := set $security "seccompProfile" . }}{{ end }}
{{- with $v.buildkit.appArmorProfile }}{{ $_ := set $security "appArmorProfile" . }}{{ end }}
{{- $_ := merge $settings (dict
  "BUILDER" $b.kind
  "BUILDER_NAMESPACE" (required "builder.namespace" $b.namespace)
  "BUILDER_CONCURRENCY" $b.concurrency
  "BUILDER_CONTEXT_IMAGE" (include "backend.image" .)
  "BUILDER_PULL_SECRET_NAME" $b.pullSecretName
  "BUILDER_CA_SECRET_NAME" $b.caSecretName
  "BUILDER_NODE_SELECTOR" $b.nodeSelector
  "BUILDER_TOLERATIONS" $b.tolerations
  "BUILDER_KANIKO_STARTUP_MAX_ATTEMPTS" $b.kanikoStartup.maxAttempts
  "BUILDER_KANIKO_STARTUP_PENDING_STATE_WAIT_SECONDS" $b.kanikoStartup.checkDelay
  "IMAGE_BUILD_TIMEOUT" $b.timeout
  "RUN_ENVIRONMENT" $b.environment
  "KANIKO_IMAGE" $v.kaniko.image
  "KANIKO_ARGUMENTS" $v.kaniko.arguments
  "BUILDKIT_IMAGE" $v.buildkit.image
  "BUILDKIT_ARGUMENTS" $v.buildkit.arguments
  "BUILDKIT_SECURITY" $security
  "KANIKO_RESOURCES" $v.kaniko.resources
  "KANIKO_MIRROR" $v.kaniko.mirror
  "KANIKO_DOCKER_CONFIG_SECRET_NAME" $v.kaniko.dockerConfigSecretName
  "REGISTRY" (printf "%s:%d" (required "containerRegistry.host" $v.containerRegistry.host) (int $v.containerRegistry.port))
  "REGISTRY_SCHEME" $v.containerRegistry.scheme
  "USER_IMAGE_REPOSITORY" $v.containerRegistry.userImageRepository
) }}
{{- if $v.containerRegistry.dockerConfigSecretName }}{{ $_ := set $settings "REGISTRY_DOCKER_CONFIG" "/etc/substra/registry/.dockerconfigjson" }}{{ end }}
{{- if $v.containerRegistry.caSecretName }}{{ $_ := set $settings "REGISTRY_CA_PATH" "/etc/substra/registry-ca/ca.crt" }}{{ end }}
{{- end }}
{{- if $v.compute.enabled }}{{ $_ := merge $settings (include "compute.settings" . | fromJson) }}{{ end }}
{{- merge (deepCopy $v.config) $settings | toPrettyJson }}
{{- end }}

{{- define "backend.databaseHost" -}}
{{- if .Values.postgresql.enabled -}}
{{ include "backend.name" . }}-postgresql
{{- else -}}
{{ required "database.host, or postgresql.enabled" .Values.database.host }}
{{- end -}}
{{- end }}

{{/* Where the store is: the address from the values, or the small one of this chart. */}}
{{- define "backend.storeUrl" -}}
{{- if .Values.minio.enabled -}}
http://{{ include "backend.name" . }}-minio.{{ .Release.Namespace }}.svc:9000
{{- else -}}
{{- $url := required "objectStore.url, or minio.enabled" .Values.objectStore.url }}
{{- ternary $url (printf "http://%s" $url) (contains "://" $url) }}
{{- end -}}
{{- end }}

{{- define "backend.storeHost" -}}
{{- (urlParse (include "backend.storeUrl" .)).hostname }}
{{- end }}

{{- define "backend.storePort" -}}
{{- $url := urlParse (include "backend.storeUrl" .) }}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" }}
{{- $port | default (ternary "443" "80" (eq $url.scheme "https")) }}
{{- end }}
