{{/* The RayCluster's name; Secrets and pods of its groups begin with it. */}}
{{- define "compute.cluster" -}}
{{- printf "%s-compute" (.Release.Name | trunc 30 | trimSuffix "-") -}}
{{- end }}

{{/* Settings of the pool, as JSON. docs/kuberay.md */}}
{{- define "compute.settings" -}}
{{- $v := .Values }}
{{- $c := $v.compute }}
{{- $pod := dict
  "runner_image" (include "backend.image" .)
  "pull_policy" $v.image.pullPolicy
  "runner_requests" $c.runner.requests
  "runner_limits" $c.runner.limits
  "function_requests" $c.function.requests
  "function_limits" $c.function.limits
  "read_only_root" $c.readOnlyRoot
  "shared_memory" $c.sharedMemory
  "scratch" $c.scratch
  "node_selector" $c.nodeSelector
  "tolerations" $c.tolerations
  "image_pull_secrets" (concat $v.imagePullSecrets $c.imagePullSecrets | uniq)
  "labels" $c.podLabels
}}
{{- with $c.affinity }}{{ $_ := set $pod "affinity" . }}{{ end }}
{{- with $c.runtimeClassName }}{{ $_ := set $pod "runtime_class" . }}{{ end }}
{{- with $c.priorityClassName }}{{ $_ := set $pod "priority_class" . }}{{ end }}
{{- $path := $v.server.subpath | trimAll "/" }}
{{- dict
  "COMPUTE" "kuberay"
  "COMPUTE_NAMESPACE" (required "compute.namespace" $c.namespace)
  "COMPUTE_CLUSTER" (include "compute.cluster" .)
  "COMPUTE_POD" $pod
  "COMPUTE_GROUPS" $c.groups
  "COMPUTE_PODS" $c.pods
  "COMPUTE_WARM_PODS" $c.warmPods
  "COMPUTE_SESSION_IDLE_S" $c.sessionIdle
  "COMPUTE_IDLE_TIMEOUT_S" $c.idleTimeout
  "RUNNER_API_URL" (printf "http://%s-server.%s.svc:%d%s" (include "backend.name" .) .Release.Namespace (int $v.server.service.port) (ternary (printf "/%s" $path) "" (ne $path "")))
  "REGISTRY" (printf "%s:%d" (required "containerRegistry.host" $v.containerRegistry.host) (int $v.containerRegistry.port))
  "REGISTRY_SCHEME" $v.containerRegistry.scheme
  "USER_IMAGE_REPOSITORY" $v.containerRegistry.userImageRepository
  | toJson }}
{{- end }}

{{- define "compute.confined" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
{{- end }}
