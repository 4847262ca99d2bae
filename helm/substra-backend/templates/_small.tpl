{{/* A small service for trying out: one pod with one volume, which goes with the release. Takes root, component, port,
user (of the image), values (image, persistence, resources), container (YAML of its own fields), volumes (YAML, or empty). */}}
{{- define "backend.small" -}}
{{- $name := printf "%s-%s" (include "backend.name" .root) .component }}
{{- $persistence := .values.persistence }}
{{- if $persistence.enabled }}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {{ $name }}
  labels: {{- include "backend.labels" .root | nindent 4 }}
spec:
  accessModes: [ReadWriteOnce]
  {{- with $persistence.storageClass }}
  storageClassName: {{ . }}
  {{- end }}
  resources: {requests: {storage: {{ $persistence.size }}}}
---
{{- end }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $name }}
  labels: {{- include "backend.labels" .root | nindent 4 }}
spec:
  replicas: 1
  strategy: {type: Recreate}
  selector:
    matchLabels:
      {{- include "backend.selector" .root | nindent 6 }}
      app.kubernetes.io/component: {{ .component }}
  template:
    metadata:
      labels:
        {{- include "backend.labels" .root | nindent 8 }}
        app.kubernetes.io/component: {{ .component }}
    spec:
      {{- include "backend.placement" (dict "root" .root "own" dict) | nindent 6 }}
      automountServiceAccountToken: false
      enableServiceLinks: false
      securityContext:
        runAsNonRoot: true
        runAsUser: {{ .user }}
        runAsGroup: {{ .user }}
        fsGroup: {{ .user }}
        seccompProfile: {type: RuntimeDefault}
      {{- with .root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- range . }}
        - name: {{ . }}
        {{- end }}
      {{- end }}
      volumes:
        - name: data
          {{- if $persistence.enabled }}
          persistentVolumeClaim: {claimName: {{ $name }}}
          {{- else }}
          emptyDir: {sizeLimit: {{ $persistence.size }}}
          {{- end }}
        - name: scratch
          emptyDir: {sizeLimit: 64Mi}
        {{- with .volumes }}
        {{- . | nindent 8 }}
        {{- end }}
      containers:
        - name: {{ .component }}
          image: {{ .values.image }}
          imagePullPolicy: {{ .root.Values.image.pullPolicy }}
          {{- .container | nindent 10 }}
          ports:
            - {name: {{ .component }}, containerPort: {{ .port }}}
          resources: {{- toYaml .values.resources | nindent 12 }}
          securityContext: {{- include "backend.containerSecurity" .root | nindent 12 }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ $name }}
  labels: {{- include "backend.labels" .root | nindent 4 }}
spec:
  {{- with .values.nodePort }}
  type: NodePort
  {{- end }}
  selector:
    {{- include "backend.selector" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
  ports:
    - {name: {{ .component }}, port: {{ .port }}, targetPort: {{ .component }}{{ with .values.nodePort }}, nodePort: {{ . }}{{ end }}}
{{- if .root.Values.networkPolicy.enabled }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ $name }}
  labels: {{- include "backend.labels" .root | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- include "backend.selector" .root | nindent 6 }}
      app.kubernetes.io/component: {{ .component }}
  policyTypes: [Ingress, Egress]
  ingress:
    - ports: [{port: {{ .port }}, protocol: TCP}]
      {{- with .from }}
      from: {{- . | nindent 8 }}
      {{- end }}
{{- end }}
{{- end }}

{{/* Who may reach the small PostgreSQL and store: the control plane, and for the store builds and compute. */}}
{{- define "backend.ownPods" -}}
- podSelector:
    matchLabels: {{- include "backend.selector" . | nindent 6 }}
{{- end }}

{{- define "backend.storeUsers" -}}
{{ include "backend.ownPods" . }}
{{- if .Values.builder.enabled }}
- namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ .Values.builder.namespace }}}}
{{- end }}
{{- if .Values.compute.enabled }}
- namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ .Values.compute.namespace }}}}
{{- end }}
{{- end }}

{{/* A value of a Secret of ours that is there already, else a new one. Takes root, name, key, length. Encoded. */}}
{{- define "backend.kept" -}}
{{- $old := lookup "v1" "Secret" .root.Release.Namespace .name | default dict }}
{{- dig "data" .key (randAlphaNum .length | b64enc) $old }}
{{- end }}
