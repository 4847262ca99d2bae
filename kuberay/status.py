"""Read statuses: whether a cluster, job or service is there, and why not. Pure functions."""

from collections.abc import Sequence

from kuberay.shapes import Condition, RayCluster, RayJob, RayService

FINAL_JOB_STATUSES = frozenset({"STOPPED", "SUCCEEDED", "FAILED"})


def condition(conditions: Sequence[Condition] | None, kind: str) -> Condition | None:
    return next((c for c in conditions or () if c["type"] == kind), None)


def holds(conditions: Sequence[Condition] | None, kind: str) -> bool:
    found = condition(conditions, kind)
    return found is not None and found["status"] == "True"


def head_ready(cluster: RayCluster | None) -> bool:
    """Whether the head pod is up and ready; workers may still be missing."""
    return cluster is not None and holds(
        cluster.get("status", {}).get("conditions"), "HeadPodReady"
    )


def head_service(cluster: RayCluster) -> str | None:
    """The name of the service of GCS, dashboard and client ports, once the operator has made it."""
    return cluster.get("status", {}).get("head", {}).get("serviceName") or None


def up_to_date(cluster: RayCluster) -> bool:
    """Whether the operator has seen the newest specification."""
    seen = cluster.get("status", {}).get("observedGeneration", 0)
    return seen >= cluster["metadata"].get("generation", 0)


def trouble(cluster: RayCluster) -> str | None:
    """What the operator complains about, if it does."""
    status = cluster.get("status", {})
    failure = condition(status.get("conditions"), "ReplicaFailure")
    if failure is not None and failure["status"] == "True":
        return failure.get("message") or failure.get("reason") or "pods cannot be made"
    return status.get("reason") or None


def job_ended(job: RayJob | None) -> bool:
    """Whether the job came to an end, or to nothing."""
    status = {} if job is None else job.get("status", {})
    deployment = status.get("jobDeploymentStatus")
    return status.get("jobStatus") in FINAL_JOB_STATUSES or deployment in ("Complete", "Failed")


def job_succeeded(job: RayJob | None) -> bool:
    return job is not None and job.get("status", {}).get("jobStatus") == "SUCCEEDED"


def service_ready(service: RayService | None) -> bool:
    return service is not None and holds(service.get("status", {}).get("conditions"), "Ready")
