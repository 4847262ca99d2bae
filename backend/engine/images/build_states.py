"""What a build's Job and Pod say, decided: still waiting and why, done, the user's fault, or to be tried again.

Pure: objects as the API server gives them in, a verdict out.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

CONTEXT = "context"  # the first container's name
BAD_ARCHIVE = 3  # exit status of the context container: the archive itself is to blame
NOT_STARTED = 70  # exit status of the builder: it could not begin
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_NO_IMAGE = frozenset(
    ("ErrImagePull", "ImagePullBackOff", "ImageInspectError", "RegistryUnavailable")
)
_NEVER = frozenset(("InvalidImageName", "ErrImageNeverPull"))
_TRANSIENT = re.compile(
    r"connection reset by peer|connection refused|i/o timeout|TLS handshake timeout|no such host"
    r"|unexpected EOF|broken pipe|context deadline exceeded|server misbehaving|network is unreachable"
    r"|TOOMANYREQUESTS|429 Too Many|status code 4(?:08|12|29)\b|status code 5\d\d\b"
    r"|50[0234] (?:Bad|Service|Gateway|Internal)",
    re.IGNORECASE,
)
_ERROR = re.compile(r"^(?:.*\blevel=(?:error|fatal)\b|error|ERRO\[|FATA\[|Error:)", re.IGNORECASE)


class State(Enum):
    WAITING = auto()  # not started yet; `reason` says for what, when it is known
    RUNNING = auto()
    BUILT = auto()  # `reason` is the digest
    REFUSED = auto()  # the user's Dockerfile, archive, or time: a BUILD failure
    AGAIN = auto()  # not the user's fault


@dataclass(frozen=True, slots=True)
class Verdict:
    state: State
    reason: str = ""


def judge(
    job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]], timeout_s: int, builder: str
) -> Verdict:
    """The state of a build from its Job and the Pods that carry the Job's label; `builder` names the container.

    A failed builder is REFUSED here; whether its log speaks of the network is for its `blames_network`.
    """
    pod = max(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp")), default=None)
    found = Verdict(State.WAITING) if pod is None else _of_pod(pod, builder)
    if found.state in (State.BUILT, State.REFUSED):
        return found
    failed = _condition(job, "Failed") or _condition(job, "FailureTarget")
    if failed is None:
        return found
    if failed.get("reason") == "DeadlineExceeded":
        return Verdict(State.REFUSED, f"the build took longer than {timeout_s} seconds")
    if found.state is State.AGAIN:
        return found
    return Verdict(State.AGAIN, f"the build ended: {failed.get('message') or failed.get('reason')}")


def last_error_is_of_network(log: str) -> bool:
    """Whether the builder's own last words are of a connection: pulls and pushes may be tried again.

    What RUN lines print does not count: only lines that the builder itself marks as errors.
    """
    last = [line for line in log.splitlines()[-20:] if _ERROR.match(line)]
    return bool(last and _TRANSIENT.search(last[-1]))


def _of_pod(pod: Mapping[str, Any], builder: str) -> Verdict:
    status = pod.get("status", {})
    init = _container(status.get("initContainerStatuses"), CONTEXT)
    main = _container(status.get("containerStatuses"), builder)
    ended = _ended(main)
    if ended is not None and ended.get("exitCode") == 0:
        digest = _DIGEST.search(str(ended.get("message", "")))
        if digest:
            return Verdict(State.BUILT, digest[0])
        return Verdict(State.AGAIN, "the builder ended without telling a digest")
    lost = _lost(pod)
    if lost:
        return Verdict(State.AGAIN, lost)
    fetched = _ended(init)
    if fetched is not None and fetched.get("exitCode") != 0:
        text = str(fetched.get("message", "")).strip() or f"exit status {fetched.get('exitCode')}"
        guilty = fetched.get("exitCode") == BAD_ARCHIVE
        return Verdict(State.REFUSED if guilty else State.AGAIN, text)
    if ended is not None:
        if ended.get("reason") == "OOMKilled":
            return Verdict(State.REFUSED, "the build needs more memory than builds may have")
        if ended.get("exitCode") == NOT_STARTED:
            return Verdict(State.AGAIN, f"the builder does not start: {ended.get('message', '')}")
        return Verdict(State.REFUSED, f"the build ended with status {ended.get('exitCode')}")
    for found in (init, main):
        waiting = found.get("state", {}).get("waiting", {})
        reason, message = str(waiting.get("reason", "")), str(waiting.get("message", ""))
        if reason in _NEVER:
            return Verdict(State.AGAIN, f"the builder's image cannot be pulled: {message}")
        if reason in _NO_IMAGE:
            return Verdict(State.WAITING, f"the builder's image cannot be pulled: {message}")
        if reason.startswith("Create"):  # CreateContainerConfigError: a Secret that is not there
            return Verdict(State.WAITING, f"the build cannot start: {message}")
    if "running" in main.get("state", {}):
        return Verdict(State.RUNNING)
    scheduled = _condition(pod, "PodScheduled", value="False")
    if scheduled is not None:
        return Verdict(State.WAITING, f"no place for the build: {scheduled.get('message', '')}")
    return Verdict(State.WAITING)


def _lost(pod: Mapping[str, Any]) -> str:
    """Why the pod went without its own doing; empty when it did not."""
    status = pod.get("status", {})
    if pod["metadata"].get("deletionTimestamp"):
        return "the build's pod was deleted"
    if status.get("reason") in ("Evicted", "NodeLost", "Preempting", "Shutdown", "Terminated"):
        return f"the build's pod was lost: {status.get('message') or status['reason']}"
    disruption = _condition(pod, "DisruptionTarget")
    if disruption is not None and status.get("phase") == "Failed":
        return f"the build's pod was lost: {disruption.get('message') or disruption.get('reason')}"
    return ""


def _condition(
    holder: Mapping[str, Any], kind: str, value: str = "True"
) -> Mapping[str, Any] | None:
    for condition in holder.get("status", {}).get("conditions") or ():
        if condition.get("type") == kind and condition.get("status") == value:
            found: Mapping[str, Any] = condition
            return found
    return None


def _container(statuses: Any, name: str) -> Mapping[str, Any]:
    for status in statuses or ():
        if status.get("name") == name:
            found: Mapping[str, Any] = status
            return found
    return {}


def _ended(container: Mapping[str, Any]) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = container.get("state", {}).get("terminated")
    return found
