"""Why a pod does not serve: its status in words for a user, and what to do about it. Pure rules.

compute.md §4: what the function did itself is EXECUTION and final; the rest is INTERNAL and tried again, as
long as trying can help.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kuberay.shapes import Pod

FUNCTION, RUNNER = "function", "ray-worker"
_PULL = frozenset({"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable"})
_UNUSABLE = frozenset({"InvalidImageName", "ImageInspectError"})
_BROKEN = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError"}
)
_CANNOT_RUN = frozenset({"StartError", "ContainerCannotRun"})


class Kind(StrEnum):
    """What is wrong."""

    UNSCHEDULABLE = "unschedulable"
    IMAGE = "image"  # cannot be pulled, or is none
    CONTAINER = "container"  # cannot be started
    MEMORY = "memory"
    EVICTED = "evicted"
    LOST = "lost"  # deleted, preempted, its node gone
    ENDED = "ended"  # a container ended by itself


class Verdict(StrEnum):
    """What to do about it."""

    WAIT = "wait"  # it may heal by itself; its cause is shown meanwhile
    AGAIN = "again"  # the pod is of no use: its task is tried again in another one
    FAIL = "fail"  # the function's own fault: its task fails


@dataclass(frozen=True, slots=True)
class Cause:
    kind: Kind
    verdict: Verdict
    text: str  # for the user; no name of a node or address in it


def cause(pod: Pod | None) -> Cause | None:
    """What keeps the pod from serving; None for one that serves or is on its way."""
    if pod is None:
        return Cause(Kind.LOST, Verdict.AGAIN, "its pod is gone")
    status = pod.get("status") or {}
    if status.get("reason") == "Evicted":
        return Cause(Kind.EVICTED, Verdict.AGAIN, f"its pod was evicted: {_evicted(status)}")
    found = _of_containers(status)
    if found is not None:
        return found
    disrupted = _condition(status, "DisruptionTarget")
    if disrupted.get("status") == "True":
        reason = disrupted.get("reason") or "disruption"
        return Cause(Kind.LOST, Verdict.AGAIN, f"its pod was taken away: {reason}")
    if "deletionTimestamp" in pod["metadata"]:
        return Cause(Kind.LOST, Verdict.AGAIN, "its pod was deleted")
    scheduled = _condition(status, "PodScheduled")
    if scheduled.get("reason") == "Unschedulable":
        text = f"no node has room for its pod: {scheduled.get('message') or 'unknown'}"
        return Cause(Kind.UNSCHEDULABLE, Verdict.WAIT, text)
    if status.get("phase") in ("Failed", "Succeeded"):
        return Cause(Kind.ENDED, Verdict.AGAIN, "its pod has ended")
    if status.get("phase") == "Unknown":
        return Cause(Kind.LOST, Verdict.AGAIN, "the node of its pod does not answer")
    return None


def waits_too_long(found: Cause, waited_s: float, *, most_s: float) -> bool:
    """Whether a pod that was waited for so long is given up; `most_s` 0 is for ever."""
    return found.verdict is Verdict.WAIT and 0 < most_s < waited_s


def _of_containers(status: Mapping[str, Any]) -> Cause | None:
    """The function's container first: what it suffered explains the rest."""
    states = [
        *(status.get("containerStatuses") or ()),
        *(status.get("initContainerStatuses") or ()),
    ]
    for container in sorted(states, key=lambda each: each.get("name") != FUNCTION):
        name, state = str(container.get("name")), container.get("state") or {}
        found = _waiting(name, state.get("waiting")) or _terminated(name, state.get("terminated"))
        if found is not None:
            return found
    return None


def _waiting(name: str, waiting: Mapping[str, Any] | None) -> Cause | None:
    reason = (waiting or {}).get("reason")
    text = str((waiting or {}).get("message") or reason)[:500]
    if reason in _PULL:
        return Cause(Kind.IMAGE, Verdict.WAIT, f"the image of {name} cannot be pulled: {text}")
    if reason in _UNUSABLE:
        return Cause(Kind.IMAGE, Verdict.AGAIN, f"the image of {name} is of no use: {text}")
    if reason in _BROKEN:
        return Cause(Kind.CONTAINER, Verdict.AGAIN, f"the container {name} cannot start: {text}")
    return None


def _terminated(name: str, ended: Mapping[str, Any] | None) -> Cause | None:
    if ended is None:
        return None
    reason, code = ended.get("reason"), ended.get("exitCode")
    if reason == "OOMKilled":
        if name == FUNCTION:
            text = "the function needed more memory than its container may have"
            return Cause(Kind.MEMORY, Verdict.FAIL, text)
        return Cause(Kind.MEMORY, Verdict.AGAIN, f"the container {name} ran out of memory")
    if reason in _CANNOT_RUN:
        text = str(ended.get("message") or reason)[:500]
        return Cause(Kind.CONTAINER, Verdict.AGAIN, f"the container {name} cannot start: {text}")
    if name in (FUNCTION, RUNNER) or code:
        return Cause(Kind.ENDED, Verdict.AGAIN, f"the container {name} ended with code {code}")
    return None


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    return next((c for c in status.get("conditions") or () if c.get("type") == kind), {})


def _evicted(status: Mapping[str, Any]) -> str:
    return str(status.get("message") or "no room left")[:300]
