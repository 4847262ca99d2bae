{{/* The Secret with Ray's token, where the API shows the dashboard. */}}
{{- define "backend.rayToken" -}}
{{ include "backend.name" . }}-ray-token
{{- end }}

{{/* Dashboards by name, as JSON. */}}
{{- define "backend.dashboards" -}}
{{- $found := dict }}
{{- if .Values.compute.enabled }}
{{- $_ := set $found "compute" (printf "http://%s-head-svc.%s.svc:8265" (include "compute.cluster" .) .Values.compute.namespace) }}
{{- end }}
{{- if eq .Values.serve.mode "rayservice" }}
{{- $_ := set $found "api" (printf "http://%s-api-head-svc:8265" (include "backend.name" .)) }}
{{- end }}
{{- $found | toJson }}
{{- end }}

{{/* Serve's own configuration; only the settings' path travels through Ray. */}}
{{- define "backend.serveConfiguration" -}}
{{- $v := .Values.serve }}
{{- $path := .Values.server.subpath | trimAll "/" }}
{{- $scaling := dict
  "min_replicas" (mul $v.workers.minReplicas $v.workers.replicasPerPod)
  "max_replicas" (mul $v.workers.maxReplicas $v.workers.replicasPerPod)
  "target_ongoing_requests" $v.targetOngoingRequests
  "upscale_delay_s" 10
  "downscale_delay_s" 300
}}
{{- $deployment := dict
  "name" "api"
  "num_replicas" "auto"
  "autoscaling_config" $scaling
  "max_ongoing_requests" $v.maxOngoingRequests
  "ray_actor_options" (dict "num_cpus" 1)
}}
{{- $application := dict
  "name" "api"
  "route_prefix" (printf "/%s" $path)
  "import_path" "backend.serve:configured"
  "args" (dict "settings" "/etc/substra/settings/settings.json")
  "deployments" (list $deployment)
}}
{{- dict
  "proxy_location" "EveryNode"
  "http_options" (dict "host" "0.0.0.0" "port" 8000 "keep_alive_timeout_s" 75)
  "applications" (list $application)
  | toPrettyJson }}
{{- end }}

{{/* A pod of the RayService. Takes root, own (its values: resources, placement), name (of the container). */}}
{{- define "backend.servePod" -}}
metadata:
  labels:
    {{- include "backend.labels" .root | nindent 4 }}
    app.kubernetes.io/component: serve
  annotations:
    substra.ai/settings: {{ include "backend.settings" .root | sha256sum }}
spec:
  {{- include "backend.podWithout" .root | nindent 2 }}
  {{- /* Of use to the head's autoscaler only, whose account KubeRay makes. */}}
  automountServiceAccountToken: {{ and (eq .name "ray-head") .scaled }}
  {{- include "backend.volumes" .root | nindent 2 }}
  {{- include "backend.placement" (dict "root" .root "own" .own) | nindent 2 }}
  terminationGracePeriodSeconds: 60
  containers:
    - name: {{ .name }}
      {{- include "backend.container" .root | replace "env:\n" (printf "env:\n%s\n" (include "backend.serveVariables" . | indent 2)) | nindent 6 }}
      {{- if eq .name "ray-head" }}
      # KubeRay's own need wget in the image.
      readinessProbe:
        httpGet: {path: /api/gcs_healthz, port: 8265}
        periodSeconds: 2
        timeoutSeconds: 5
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /api/gcs_healthz, port: 8265}
        initialDelaySeconds: 60
        periodSeconds: 10
        timeoutSeconds: 10
        failureThreshold: 12
      {{- else }}
      # Ready: the node's proxy has routes to replicas, wherever these are.
      readinessProbe:
        httpGet: {path: /-/healthz, port: 8000}
        periodSeconds: 2
        timeoutSeconds: 5
      livenessProbe:
        httpGet: {path: /api/local_raylet_healthz, port: 52365}
        initialDelaySeconds: 60
        periodSeconds: 10
        timeoutSeconds: 10
        failureThreshold: 12
      {{- end }}
      # No ports: KubeRay names its own where none are said.
      resources: {{- toYaml .own.resources | nindent 8 }}
{{- end }}

{{/* Read at import by every process of Ray. */}}
{{- define "backend.serveVariables" -}}
- {name: RAY_SERVE_ENABLE_HA_PROXY, value: "1"}
- {name: RAY_SERVE_THROUGHPUT_OPTIMIZED, value: "1"}
- {name: RAY_SERVE_HAPROXY_NBTHREAD, value: "1"}
- {name: RAY_worker_niceness, value: "0"}
{{- end }}
