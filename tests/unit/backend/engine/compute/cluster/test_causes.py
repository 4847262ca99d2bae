"""Why a pod does not serve, by its status."""

from typing import Any

import pytest

from backend.engine.compute.cluster.causes import Kind, Verdict, cause, waits_too_long
from kuberay.shapes import Pod


def pod(deleted: bool = False, **status: Any) -> Pod:
    made: Pod = {"metadata": {"name": "p"}, "spec": {}, "status": status}
    if deleted:
        made["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return made


def container(name: str, **state: Any) -> list[dict[str, Any]]:
    return [{"name": name, "state": state}]


def waiting(name: str, reason: str, message: str = "because") -> list[dict[str, Any]]:
    return container(name, waiting={"reason": reason, "message": message})


def ended(name: str, reason: str, code: int) -> list[dict[str, Any]]:
    return container(name, terminated={"reason": reason, "exitCode": code})


def condition(kind: str, status: str, reason: str, message: str = "") -> list[dict[str, str]]:
    return [{"type": kind, "status": status, "reason": reason, "message": message}]


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"phase": "Pending"},
        {"phase": "Pending", "conditions": condition("PodScheduled", "True", "")},
        {"phase": "Pending", "containerStatuses": waiting("function", "ContainerCreating")},
        {"phase": "Pending", "containerStatuses": waiting("function", "PodInitializing")},
        {"phase": "Pending", "initContainerStatuses": ended("agent", "Completed", 0)},
        {"phase": "Running", "containerStatuses": container("function", running={})},
    ],
)
def test_a_pod_that_serves_or_is_on_its_way_has_no_cause(status: dict[str, Any]) -> None:
    assert cause(pod(**status)) is None


@pytest.mark.parametrize(
    ("status", "kind", "verdict", "word"),
    [
        (
            {"conditions": condition("PodScheduled", "False", "Unschedulable", "0/1 nodes: cpu")},
            Kind.UNSCHEDULABLE,
            Verdict.WAIT,
            "0/1 nodes: cpu",
        ),
        (
            {"containerStatuses": waiting("function", "ImagePullBackOff", "not found")},
            Kind.IMAGE,
            Verdict.WAIT,
            "image of function cannot be pulled: not found",
        ),
        (
            {"initContainerStatuses": waiting("agent", "ErrImagePull")},
            Kind.IMAGE,
            Verdict.WAIT,
            "image of agent",
        ),
        (
            {"containerStatuses": waiting("function", "InvalidImageName")},
            Kind.IMAGE,
            Verdict.AGAIN,
            "of no use",
        ),
        (
            {"containerStatuses": waiting("ray-worker", "CreateContainerConfigError", "secret")},
            Kind.CONTAINER,
            Verdict.AGAIN,
            "cannot start: secret",
        ),
        (
            {"containerStatuses": ended("function", "StartError", 128)},
            Kind.CONTAINER,
            Verdict.AGAIN,
            "cannot start",
        ),
        (
            {"containerStatuses": ended("function", "OOMKilled", 137)},
            Kind.MEMORY,
            Verdict.FAIL,
            "more memory",
        ),
        (
            {"containerStatuses": ended("ray-worker", "OOMKilled", 137)},
            Kind.MEMORY,
            Verdict.AGAIN,
            "ray-worker ran out of memory",
        ),
        (
            {"containerStatuses": ended("function", "Error", 137)},
            Kind.ENDED,
            Verdict.AGAIN,
            "ended with code 137",
        ),
        (
            {"containerStatuses": ended("ray-worker", "Completed", 0)},
            Kind.ENDED,
            Verdict.AGAIN,
            "code 0",
        ),
        ({"initContainerStatuses": ended("agent", "Error", 1)}, Kind.ENDED, Verdict.AGAIN, "agent"),
        (
            {"phase": "Failed", "reason": "Evicted", "message": "low on ephemeral-storage"},
            Kind.EVICTED,
            Verdict.AGAIN,
            "low on ephemeral-storage",
        ),
        (
            {"conditions": condition("DisruptionTarget", "True", "PreemptionByScheduler")},
            Kind.LOST,
            Verdict.AGAIN,
            "PreemptionByScheduler",
        ),
        ({"phase": "Unknown"}, Kind.LOST, Verdict.AGAIN, "does not answer"),
        ({"phase": "Failed"}, Kind.ENDED, Verdict.AGAIN, "has ended"),
    ],
)
def test_each_trouble_has_its_cause(
    status: dict[str, Any], kind: Kind, verdict: Verdict, word: str
) -> None:
    found = cause(pod(**status))
    assert found is not None
    assert (found.kind, found.verdict) == (kind, verdict)
    assert word in found.text


def test_a_pod_that_is_gone_or_going_is_lost() -> None:
    for lost in (cause(None), cause(pod(deleted=True, phase="Running"))):
        assert lost is not None
        assert (lost.kind, lost.verdict) == (Kind.LOST, Verdict.AGAIN)


def test_the_functions_container_explains_the_others() -> None:
    both = [*ended("ray-worker", "Error", 1), *ended("function", "OOMKilled", 137)]
    found = cause(pod(phase="Failed", containerStatuses=both))
    assert found is not None
    assert found.kind is Kind.MEMORY


def test_waiting_may_have_an_end() -> None:
    found = cause(pod(containerStatuses=waiting("function", "ErrImagePull")))
    assert found is not None
    assert not waits_too_long(found, 1e9, most_s=0)
    assert not waits_too_long(found, 10, most_s=60)
    assert waits_too_long(found, 61, most_s=60)
