"""The worker group of one function image: its pods' shape. Pure; see docs/kuberay.md for the picture.

A pod has our Ray worker, which runs sessions, and the unmodified function image, in which our agent is the
first process. They share a Unix socket, inputs (read-only for the function) and outputs; nothing else. Names of
folders and variables are those of `ray_jobs/pod` and `ray_jobs/agent`, which live in the images.
"""

import hashlib
import hmac
import json
import re
from dataclasses import dataclass, field
from typing import Any

from kuberay.building import worker_group
from kuberay.shapes import WorkerGroup

RUNNER_USER, FUNCTION_USER, SHARED_GROUP = 1000, 1001, 2000
BUNDLE = "/opt/substra/agent"  # in the runner's image, made by `ray_jobs.agent.bundle`
BASE = "/substra"
PLUGINS = json.dumps([{"class": "ray_jobs.pod.plugin.SubstraImage"}])
_AGENT_OF_RAY = {"tcpSocket": {"port": 52365}, "timeoutSeconds": 5}
_REFERENCE = re.compile(r"(?P<repository>[^\s@]+)@sha256:(?P<digest>[0-9a-f]{64})")
_PREFIX = "fn-"


@dataclass(frozen=True, slots=True)
class FunctionImage:
    """A built image by its digest, and what its configuration says that matters to a pod."""

    reference: str  # "<repository>@sha256:<64 hex>"
    workdir: str = "/"
    entrypoint: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not _REFERENCE.fullmatch(self.reference):
            raise ValueError(f"an image is named by its digest, not {self.reference!r}")

    @property
    def group(self) -> str:
        """The worker group's name, and that of the Ray resource that its pods offer: `fn-<16 hex>`."""
        return group_name(self.reference)

    def uses(self, folder: str) -> bool:
        """Whether something that the image needs lies in `folder`, which then must not be hidden."""
        words = [self.workdir, *self.entrypoint]
        words += [part for _, value in self.env for part in value.split(":")]
        return any(word == folder or word.startswith(folder + "/") for word in words)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where pods may run, and what the function's container gets; values of the chart."""

    node_selector: dict[str, str] = field(default_factory=dict)
    tolerations: tuple[dict[str, Any], ...] = ()
    affinity: dict[str, Any] | None = None
    runtime_class: str | None = None
    image_pull_secrets: tuple[str, ...] = ()
    priority_class: str | None = None


@dataclass(frozen=True, slots=True)
class PodShape:
    """All of a pod that does not depend on the function; resources are Kubernetes quantities."""

    runner_image: str
    pull_policy: str = "IfNotPresent"
    runner_requests: dict[str, str] = field(
        default_factory=lambda: {"cpu": "250m", "memory": "512Mi"}
    )
    runner_limits: dict[str, str] = field(default_factory=lambda: {"cpu": "2", "memory": "2Gi"})
    function_requests: dict[str, str] = field(
        default_factory=lambda: {"cpu": "250m", "memory": "256Mi"}
    )
    function_limits: dict[str, str] = field(default_factory=lambda: {"memory": "4Gi"})
    read_only_root: bool = True
    shared_memory: str = "1Gi"  # /dev/shm of the function
    scratch: str = "20Gi"  # of each shared or writable folder on disk
    placement: Placement = field(default_factory=Placement)
    grace_s: int = 5
    labels: dict[str, str] = field(default_factory=dict)


def group_name(reference: str) -> str:
    """`fn-<16 hex>` of the image's digest. Raises ValueError for a reference without one."""
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise ValueError(f"an image is named by its digest, not {reference!r}")
    return _PREFIX + match["digest"][:16]


def secret_name(cluster: str, group: str) -> str:
    """The Secret with the group's key and its sessions' options, in the compute namespace."""
    return f"{cluster}-{group}"


def session_token(key: bytes, session: str) -> str:
    """The token of a session in a pod of the group with this `key`, as `ray_jobs.pod.session.token`."""
    return hmac.new(key, session.encode("ascii"), hashlib.sha256).hexdigest()


def group_of(
    image: FunctionImage,
    shape: PodShape,
    *,
    cluster: str,
    maximum: int,
    warm: int = 0,
    idle_timeout_s: int = 60,
) -> WorkerGroup:
    """The group: one session at a time in a pod, 0 or `warm` to `maximum` pods."""
    return worker_group(
        image.group,
        {
            "metadata": {
                "labels": {**shape.labels, "substra.ai/pod-type": "compute"},
                "annotations": {"substra.ai/image": image.reference},
            },
            "spec": _pod(image, shape, cluster),
        },
        resources={image.group: 1},
        num_cpus=1,
        minimum=warm,
        maximum=maximum,
        idle_timeout_s=idle_timeout_s,
    )


def _pod(image: FunctionImage, shape: PodShape, cluster: str) -> dict[str, Any]:
    place = shape.placement
    spec: dict[str, Any] = {
        "restartPolicy": "Never",  # a pod that lost a container is replaced, never repaired
        "terminationGracePeriodSeconds": shape.grace_s,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "fsGroup": SHARED_GROUP,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [_agent_copy(shape)],
        "containers": [_runner(shape), _function(image, shape)],
        "volumes": _volumes(image, shape, cluster),
    }
    optional = {
        "nodeSelector": place.node_selector,
        "tolerations": list(place.tolerations),
        "affinity": place.affinity,
        "runtimeClassName": place.runtime_class,
        "priorityClassName": place.priority_class,
        "imagePullSecrets": [{"name": name} for name in place.image_pull_secrets],
    }
    return {**spec, **{name: value for name, value in optional.items() if value}}


def _confined(user: int, read_only: bool) -> dict[str, Any]:
    return {
        "runAsUser": user,
        "runAsGroup": user,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": read_only,
        "capabilities": {"drop": ["ALL"]},
    }


def _agent_copy(shape: PodShape) -> dict[str, Any]:
    """Copies the agent, with an interpreter of its own, to where the function's container finds it."""
    return {
        "name": "agent",
        "image": shape.runner_image,
        "imagePullPolicy": shape.pull_policy,
        "command": ["cp", "-R", f"{BUNDLE}/.", f"{BASE}/agent/"],
        "securityContext": _confined(RUNNER_USER, True),
        "resources": {
            "requests": {"cpu": "50m", "memory": "32Mi"},
            "limits": {"cpu": "1", "memory": "128Mi"},
        },
        "volumeMounts": [_mount("agent")],
    }


def _runner(shape: PodShape) -> dict[str, Any]:
    return {
        "name": "ray-worker",
        "image": shape.runner_image,
        "imagePullPolicy": shape.pull_policy,
        "env": [{"name": "RAY_RUNTIME_ENV_PLUGINS", "value": PLUGINS}],
        "securityContext": _confined(RUNNER_USER, False),
        "resources": {"requests": shape.runner_requests, "limits": shape.runner_limits},
        # KubeRay's own need wget in the image. A busy machine is no reason to end a training.
        "readinessProbe": {**_AGENT_OF_RAY, "periodSeconds": 2, "failureThreshold": 60},
        "livenessProbe": {**_AGENT_OF_RAY, "periodSeconds": 10, "failureThreshold": 60},
        "volumeMounts": [
            _mount("socket"),
            _mount("inputs"),
            _mount("outputs"),
            _mount("work"),
            {**_mount("session"), "readOnly": True},
        ],
    }


def _function(image: FunctionImage, shape: PodShape) -> dict[str, Any]:
    """The unmodified image: no command, environment or folder of its own is used before the agent says so."""
    hides_tmp = not image.uses("/tmp")  # noqa: S108  the container's own
    configuration = {
        "socket": f"{BASE}/socket/agent.sock",
        "inputs": f"{BASE}/inputs",
        "outputs": f"{BASE}/outputs",
        "scratch": f"{BASE}/scratch",
        "writable": ["/dev/shm", *(["/tmp"] if hides_tmp else [])],  # noqa: S108
        "peer": RUNNER_USER,
        "image": image.reference,
    }
    mounts = [
        {**_mount("agent"), "readOnly": True},
        _mount("socket"),
        {**_mount("inputs"), "readOnly": True},
        _mount("outputs"),
        _mount("scratch"),
        {"name": "function-shm", "mountPath": "/dev/shm"},  # noqa: S108
    ]
    if hides_tmp:
        mounts.append({"name": "tmp", "mountPath": "/tmp"})  # noqa: S108
    return {
        "name": "function",
        "image": image.reference,
        "imagePullPolicy": shape.pull_policy,
        "command": _agent_command(configuration),
        # what the image says of these would load its libraries into the agent
        "env": [{"name": name, "value": ""} for name in ("LD_PRELOAD", "LD_AUDIT")],
        "securityContext": _confined(FUNCTION_USER, shape.read_only_root),
        "resources": {"requests": shape.function_requests, "limits": shape.function_limits},
        "volumeMounts": mounts,
    }


def _agent_command(configuration: dict[str, Any]) -> list[str]:
    """As `ray_jobs.agent.bundle.command`: through the bundled loader, whatever the image has."""
    agent = f"{BASE}/agent"
    return [
        f"{agent}/lib64/ld.so",
        "--inhibit-cache",
        "--library-path",
        f"{agent}/lib64",
        f"{agent}/bin/python3",
        "-I",
        "-S",
        "-B",
        f"{agent}/ours/ray_jobs/agent/server.py",
        json.dumps(configuration, sort_keys=True),
    ]


def _mount(name: str) -> dict[str, Any]:
    return {"name": name, "mountPath": f"{BASE}/{name}"}


def _volumes(image: FunctionImage, shape: PodShape, cluster: str) -> list[dict[str, Any]]:
    disk = {"sizeLimit": shape.scratch}
    session = {"secretName": secret_name(cluster, image.group), "defaultMode": 0o440}
    return [
        {"name": "agent", "emptyDir": {"sizeLimit": "256Mi"}},
        {"name": "socket", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": "inputs", "emptyDir": disk},
        {"name": "outputs", "emptyDir": disk},
        {"name": "scratch", "emptyDir": disk},
        {"name": "work", "emptyDir": disk},
        *([] if image.uses("/tmp") else [{"name": "tmp", "emptyDir": disk}]),  # noqa: S108
        {
            "name": "function-shm",
            "emptyDir": {"medium": "Memory", "sizeLimit": shape.shared_memory},
        },
        {"name": "session", "secret": session},
    ]
