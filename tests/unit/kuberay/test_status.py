"""What a status says."""

from typing import Any

import pytest

from kuberay import status
from kuberay.shapes import RayCluster, RayJob, RayService


def cluster(generation: int = 2, **fields: Any) -> RayCluster:
    return {"metadata": {"name": "a", "generation": generation}, "status": fields}  # type: ignore[typeddict-item]


def condition(kind: str, value: str, **fields: str) -> dict[str, str]:
    return {"type": kind, "status": value, **fields}


@pytest.mark.parametrize(
    ("conditions", "ready"),
    [
        ([], False),
        ([condition("HeadPodReady", "False")], False),
        ([condition("RayClusterProvisioned", "True"), condition("HeadPodReady", "True")], True),
    ],
)
def test_a_head_is_ready_when_its_condition_holds(
    conditions: list[dict[str, str]], ready: bool
) -> None:
    assert status.head_ready(cluster(conditions=conditions)) is ready
    assert status.head_ready(None) is False


def test_a_specification_is_seen_when_the_operator_says_so() -> None:
    assert status.up_to_date(cluster(observedGeneration=2))
    assert not status.up_to_date(cluster(observedGeneration=1))
    assert not status.up_to_date(cluster())


def test_the_operators_complaint_is_found() -> None:
    failing = [condition("ReplicaFailure", "True", message="quota exceeded")]
    assert status.trouble(cluster(conditions=failing)) == "quota exceeded"
    assert status.trouble(cluster(reason="no head")) == "no head"
    assert status.trouble(cluster(conditions=[condition("ReplicaFailure", "False")])) is None


def test_the_head_service_is_known_once_it_is_made() -> None:
    assert status.head_service(cluster(head={"serviceName": "a-head-svc"})) == "a-head-svc"
    assert status.head_service(cluster()) is None


@pytest.mark.parametrize(
    ("fields", "ended", "succeeded"),
    [
        ({}, False, False),
        ({"jobStatus": "RUNNING", "jobDeploymentStatus": "Running"}, False, False),
        ({"jobStatus": "SUCCEEDED", "jobDeploymentStatus": "Running"}, True, True),
        ({"jobStatus": "FAILED", "jobDeploymentStatus": "Failed"}, True, False),
        ({"jobStatus": "", "jobDeploymentStatus": "Failed"}, True, False),
    ],
)
def test_a_job_has_ended_however_it_did(
    fields: dict[str, str], ended: bool, succeeded: bool
) -> None:
    job: RayJob = {"metadata": {"name": "j"}, "spec": {"entrypoint": "x"}, "status": fields}  # type: ignore[typeddict-item]
    assert (status.job_ended(job), status.job_succeeded(job)) == (ended, succeeded)


def test_a_service_is_ready_when_its_condition_holds() -> None:
    service: RayService = {"metadata": {"name": "s"}, "spec": {}, "status": {}}  # type: ignore[typeddict-item]
    assert not status.service_ready(service)
    service["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    assert status.service_ready(service)
    assert not status.service_ready(None)
