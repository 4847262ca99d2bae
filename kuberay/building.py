"""Build RayCluster, RayJob and RayService objects, with the choices that are easy to get wrong made.

Pure functions: the same arguments give the same object, which `Resource.apply` sends.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from kuberay.shapes import (
    API_VERSION,
    AutoscalerOptions,
    HeadGroup,
    ObjectMeta,
    PodTemplate,
    RayCluster,
    RayClusterSpec,
    RayJob,
    RayJobSpec,
    RayService,
    WorkerGroup,
)

_RESOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")


def resources_parameter(resources: Mapping[str, int]) -> str:
    """Ray's custom resources as `rayStartParams.resources` wants them: JSON in double quotes of a shell.

    KubeRay pastes the value into a command line, and Ray's autoscaler strips the outer quotes and all
    backslashes before it reads JSON, and wants whole numbers. Raises ValueError for what one of them damages.
    """
    for name, amount in resources.items():
        if not _RESOURCE.fullmatch(name) or isinstance(amount, bool) or not isinstance(amount, int):
            raise ValueError(f"no custom resource for KubeRay: {name!r}: {amount!r}")
    text = json.dumps(dict(resources), sort_keys=True).replace('"', '\\"')
    return f'"{text}"'


def autoscaler(
    *,
    idle_timeout_s: int = 60,
    interval_s: int = 1,
    resources: Mapping[str, dict[str, str]] | None = None,
) -> AutoscalerOptions:
    """Version 2 of Ray's autoscaler, which looks every `interval_s` (its default of 5 delays each start)."""
    return {
        "version": "v2",
        "idleTimeoutSeconds": idle_timeout_s,
        "upscalingMode": "Default",
        "env": [{"name": "AUTOSCALER_UPDATE_INTERVAL_S", "value": str(interval_s)}],
        "resources": dict(
            resources
            or {
                "requests": {"cpu": "50m", "memory": "256Mi"},
                "limits": {"cpu": "1", "memory": "512Mi"},
            }
        ),
    }


def head_group(
    template: PodTemplate, *, num_cpus: float = 0, params: Mapping[str, str] | None = None
) -> HeadGroup:
    """A head that runs no tasks unless `num_cpus` says so, and sends no usage statistics."""
    given = {"num-cpus": f"{num_cpus:g}", "disable-usage-stats": "true", **(params or {})}
    return {"rayStartParams": given, "template": template}


def worker_group(
    name: str,
    template: PodTemplate,
    *,
    resources: Mapping[str, int] | None = None,
    num_cpus: float = 1,
    minimum: int = 0,
    maximum: int = 1,
    idle_timeout_s: int | None = None,
    params: Mapping[str, str] | None = None,
) -> WorkerGroup:
    """A group of workers that starts with `minimum` replicas and offers `resources` to Ray.

    Raises ValueError for bounds that contradict each other.
    """
    if not 0 <= minimum <= maximum:
        raise ValueError(f"group {name}: {minimum} to {maximum} replicas")
    given = {"num-cpus": f"{num_cpus:g}", **(params or {})}
    if resources:
        given["resources"] = resources_parameter(resources)
    group: WorkerGroup = {
        "groupName": name,
        "replicas": minimum,
        "minReplicas": minimum,
        "maxReplicas": maximum,
        "rayStartParams": given,
        "template": template,
    }
    if idle_timeout_s is not None:
        group["idleTimeoutSeconds"] = idle_timeout_s
    return group


def cluster_spec(
    head: HeadGroup,
    groups: Sequence[WorkerGroup] = (),
    *,
    ray_version: str,
    scaling: AutoscalerOptions | None = None,
    token_secret: str | None = None,
) -> RayClusterSpec:
    """A cluster with token authentication: KubeRay makes the token's secret unless one is named."""
    spec: RayClusterSpec = {
        "rayVersion": ray_version,
        "authOptions": {"mode": "token"},
        "headGroupSpec": head,
        "workerGroupSpecs": list(groups),
    }
    if token_secret is not None:
        spec["authOptions"]["secretName"] = token_secret
    if scaling is not None:
        spec["enableInTreeAutoscaling"] = True
        spec["autoscalerOptions"] = scaling
    return spec


def ray_cluster(
    name: str, spec: RayClusterSpec, *, labels: Mapping[str, str] | None = None
) -> RayCluster:
    return {
        "apiVersion": API_VERSION,
        "kind": "RayCluster",
        "metadata": _meta(name, labels),
        "spec": spec,
    }


def ray_job(
    name: str,
    entrypoint: str,
    *,
    cluster: str | None = None,
    spec: RayClusterSpec | None = None,
    runtime_env: Mapping[str, Any] | None = None,
    resources: Mapping[str, float] | None = None,
    metadata: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> RayJob:
    """A job on an existing `cluster`, or with a cluster of its own from `spec` that ends with it.

    Raises ValueError unless exactly one of the two is given.
    """
    if (cluster is None) == (spec is None):
        raise ValueError("a job has a cluster, or the specification of one")
    job: RayJobSpec = {"entrypoint": entrypoint, "submissionMode": "HTTPMode"}
    if cluster is not None:
        job["clusterSelector"] = {"ray.io/cluster": cluster}
    if spec is not None:
        job["rayClusterSpec"] = spec
        job["shutdownAfterJobFinishes"] = True
    if runtime_env:
        job["runtimeEnvYAML"] = json.dumps(dict(runtime_env))  # JSON is YAML
    if resources:
        job["entrypointResources"] = json.dumps(dict(resources))
    if metadata:
        job["metadata"] = dict(metadata)
    return {
        "apiVersion": API_VERSION,
        "kind": "RayJob",
        "metadata": _meta(name, labels),
        "spec": job,
    }


def ray_service(
    name: str,
    spec: RayClusterSpec,
    serve: Mapping[str, Any],
    *,
    labels: Mapping[str, str] | None = None,
) -> RayService:
    """A Serve application on a cluster of its own; `serve` is Serve's multi-application configuration."""
    return {
        "apiVersion": API_VERSION,
        "kind": "RayService",
        "metadata": _meta(name, labels),
        "spec": {"serveConfigV2": json.dumps(dict(serve)), "rayClusterConfig": spec},
    }


def _meta(name: str, labels: Mapping[str, str] | None) -> ObjectMeta:
    meta: ObjectMeta = {"name": name}
    if labels:
        meta["labels"] = dict(labels)
    return meta
