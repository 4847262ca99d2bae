"""Verdicts on builds, from what a Kubernetes API server says of their Jobs and Pods."""

from typing import Any

import pytest

from backend.engine.images.build_states import State, judge, last_error_is_of_network

DIGEST = "sha256:" + "ab" * 32
Object = dict[str, Any]


def container(name: str, **state: Any) -> Object:
    return {"name": name, "state": state}


def pod(*containers: Object, **more: Any) -> Object:
    """A Pod with the statuses of its containers; `context` is the one that runs first."""
    status: Object = {
        "initContainerStatuses": [one for one in containers if one["name"] == "context"],
        "containerStatuses": [one for one in containers if one["name"] == "kaniko"],
    }
    metadata = {"creationTimestamp": "2026-01-01T00:00:00Z", **more.pop("metadata", {})}
    return {"metadata": metadata, "status": {**status, **more}}


def failed(reason: str) -> Object:
    condition = {"type": "Failed", "status": "True", "reason": reason, "message": "because"}
    return {"metadata": {}, "status": {"conditions": [condition]}}


RUNNING: Object = {"metadata": {}, "status": {"active": 1}}
FETCHED = container("context", terminated={"exitCode": 0})
UNPLACED = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/1 nodes are available: 1 Insufficient memory.",
}


def kaniko_ended(status: int, **more: Any) -> Object:
    return container("kaniko", terminated={"exitCode": status, **more})


@pytest.mark.parametrize(
    ("pods", "job", "state", "words"),
    [
        ([], RUNNING, State.WAITING, ""),
        ([pod(phase="Pending", conditions=[UNPLACED])], RUNNING, State.WAITING, "Insufficient"),
        (
            [pod(container("context", waiting={"reason": "PodInitializing"}))],
            RUNNING,
            State.WAITING,
            "",
        ),
        (
            [pod(container("context", waiting={"reason": "ErrImagePull", "message": "not found"}))],
            RUNNING,
            State.WAITING,
            "cannot be pulled: not found",
        ),
        (
            [pod(FETCHED, container("kaniko", waiting={"reason": "ImagePullBackOff"}))],
            RUNNING,
            State.WAITING,
            "cannot be pulled",
        ),
        (
            [pod(FETCHED, container("kaniko", waiting={"reason": "InvalidImageName"}))],
            RUNNING,
            State.AGAIN,
            "cannot be pulled",
        ),
        (
            [
                pod(
                    FETCHED,
                    container(
                        "kaniko",
                        waiting={
                            "reason": "CreateContainerConfigError",
                            "message": 'secret "x" not found',
                        },
                    ),
                )
            ],
            RUNNING,
            State.WAITING,
            "secret",
        ),
        ([pod(FETCHED, container("kaniko", running={}))], RUNNING, State.RUNNING, ""),
        ([pod(FETCHED, kaniko_ended(0, message=DIGEST + "\n"))], RUNNING, State.BUILT, DIGEST),
        ([pod(FETCHED, kaniko_ended(0))], RUNNING, State.AGAIN, "digest"),
        ([pod(FETCHED, kaniko_ended(1))], RUNNING, State.REFUSED, "status 1"),
        (
            [pod(FETCHED, kaniko_ended(70, message="no user namespaces"))],
            RUNNING,
            State.AGAIN,
            "does not start: no user namespaces",
        ),
        ([pod(FETCHED, kaniko_ended(137, reason="OOMKilled"))], RUNNING, State.REFUSED, "memory"),
        (
            [
                pod(
                    container(
                        "context", terminated={"exitCode": 3, "message": "the archive is refused"}
                    )
                )
            ],
            RUNNING,
            State.REFUSED,
            "the archive is refused",
        ),
        (
            [pod(container("context", terminated={"exitCode": 1, "message": "store away"}))],
            failed("BackoffLimitExceeded"),
            State.AGAIN,
            "store away",
        ),
        (
            [pod(FETCHED, kaniko_ended(137), phase="Failed", reason="Evicted", message="disk")],
            failed("BackoffLimitExceeded"),
            State.AGAIN,
            "disk",
        ),
        (
            [
                pod(
                    FETCHED,
                    kaniko_ended(143),
                    phase="Failed",
                    conditions=[
                        {"type": "DisruptionTarget", "status": "True", "reason": "Preempted"}
                    ],
                )
            ],
            failed("BackoffLimitExceeded"),
            State.AGAIN,
            "Preempted",
        ),
        ([], failed("DeadlineExceeded"), State.REFUSED, "longer than 60 seconds"),
        (
            [pod(FETCHED, kaniko_ended(143), metadata={"deletionTimestamp": "now"})],
            failed("DeadlineExceeded"),
            State.REFUSED,
            "longer than 60 seconds",
        ),
        ([], failed("BackoffLimitExceeded"), State.AGAIN, "because"),
        (
            [pod(FETCHED, kaniko_ended(0, message=DIGEST))],
            failed("DeadlineExceeded"),
            State.BUILT,
            DIGEST,
        ),
    ],
)
def test_verdict(pods: list[Object], job: Object, state: State, words: str) -> None:
    verdict = judge(job, pods, 60, "kaniko")
    assert verdict.state is state
    assert words in verdict.reason
    assert bool(words) == bool(verdict.reason)


def test_only_the_builders_container_counts() -> None:
    status = {"containerStatuses": [container("proxy", running={}), kaniko_ended(1)]}
    found = {"metadata": {}, "status": status}
    assert judge(RUNNING, [found], 60, "kaniko").state is State.REFUSED
    assert judge(RUNNING, [found], 60, "buildkit").state is State.WAITING


def test_newest_pod_counts() -> None:
    old = pod(FETCHED, kaniko_ended(1), metadata={"creationTimestamp": "2026-01-01T00:00:00Z"})
    new = pod(
        FETCHED,
        container("kaniko", running={}),
        metadata={"creationTimestamp": "2026-01-01T00:00:05Z"},
    )
    assert judge(RUNNING, [new, old], 60, "kaniko").state is State.RUNNING


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (
            'error building image: GET "https://x/v2/": dial tcp: lookup x: no such host\n',
            True,
        ),
        (
            "INFO[0001] Pushing\nerror pushing image: failed to push to destination x: "
            "PUT https://x: unexpected status code 503 Service Unavailable\n",
            True,
        ),
        ("error pushing image: read tcp 1.2.3.4:5: connection reset by peer\n", True),
        (
            "ConnectionError: connection reset by peer\nerror building image: error building stage: "
            "failed to execute command: waiting for process to exit: exit status 1\n",
            False,
        ),
        ("connection reset by peer\n", False),
        ("error building image: unexpected status code 401 Unauthorized\n", False),
        ("", False),
    ],
)
def test_only_the_builders_own_last_words_count(log: str, expected: bool) -> None:
    assert last_error_is_of_network(log) is expected
