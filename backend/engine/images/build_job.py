"""What the Jobs of all builders in the cluster have in common: options, the source, the pod around the builder.

Pure: objects to send, so that what a build may do can be read in one place. Two containers: `context` (our
image, unprivileged) fetches, checks and unpacks the archive; the builder's own makes the image and pushes it.
That one runs users' RUN lines, so builds have a namespace of their own (rule 35), no service account and no
secret but the registry's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from backend.engine.images.build_states import CONTEXT
from kuberay.resources import Kind
from kuberay.shapes import KubeObject

USER = 1001
MANAGER = "substra-builder"
FOLDER = "/context"  # with content/Dockerfile


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How an organization builds; from its settings."""

    namespace: str
    registry: str  # host:port, as the build's pod reaches it
    repository: str
    context_image: str  # ours
    image: str  # of the builder
    extra_arguments: tuple[str, ...] = ()
    scheme: str = "https"
    mirror: bool = False
    timeout_s: int = 3600
    context_bytes: int = 10 << 30
    resources: Mapping[str, Any] = field(default_factory=dict)
    docker_config_secret: str = ""
    pull_secret: str = ""
    authority_secret: str = ""  # its files are further certificate authorities
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)  # proxies, for both containers
    security: Mapping[str, Any] = field(default_factory=dict)  # of BuildKit's container
    keep_s: int = 600

    def destination(self, tag: str) -> str:
        return f"{self.registry}/{self.repository}:{tag}"


@dataclass(frozen=True, slots=True)
class BuildSource:
    """The archive: where its bytes are for a while, and their SHA-256 in hex, from which all names follow."""

    url: str
    checksum: str

    @property
    def tag(self) -> str:
        """As in Substra 1.0: the same archive is built once."""
        return f"function-{self.checksum[:16]}"


class Job(KubeObject):
    """A batch/v1 Job, as far as it is built here."""

    spec: dict[str, Any]


JOBS: Kind[Job] = Kind("/apis/batch/v1", "jobs", "Job")


class Recipe(Protocol):
    """A program that builds: how it is called, and how its complaints are read."""

    @property
    def container(self) -> str:
        """Its container's name; Jobs begin with it."""
        ...

    def job(self, options: BuildOptions, source: BuildSource) -> Job:
        """The Job that builds `source` and tells the image's digest in its termination message."""
        ...

    def blames_network(self, log: str) -> bool:
        """Whether its own last words are of a connection: pulls and pushes may be tried again."""
        ...


def job_name(container: str, source: BuildSource) -> str:
    return f"{container}-{source.tag}"


def job_around(
    options: BuildOptions,
    source: BuildSource,
    builder: Mapping[str, Any],
    volumes: list[dict[str, Any]],
    *,
    user: int = USER,
    group: int | None = USER,
) -> Job:
    """A Job whose pod fetches the context as `user`, then runs the container `builder`.

    `volumes`: those of the builder beside the context. `group`: owns the volumes; None: as they are made.
    """
    name = job_name(builder["name"], source)
    labels = {
        "app.kubernetes.io/managed-by": MANAGER,
        "app.kubernetes.io/component": "substra-compute",
        "substra.ai/pod-type": "image-build",
        "substra.ai/pod-name": name,
        "role-registry-client": "true",
        "role-internet-egress": "true",
    }
    context = {"name": "context", "emptyDir": {"sizeLimit": str(options.context_bytes)}}
    security: dict[str, Any] = {"seccompProfile": {"type": "RuntimeDefault"}}
    if group is not None:
        security["fsGroup"] = group
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 5,
        "securityContext": security,
        "initContainers": [_context_container(options, source, user)],
        "containers": [dict(builder)],
        "volumes": [context, *_secret_volumes(options), *volumes],
    }
    if options.pull_secret:
        pod["imagePullSecrets"] = [{"name": options.pull_secret}]
    if options.node_selector:
        pod["nodeSelector"] = dict(options.node_selector)
    if options.tolerations:
        pod["tolerations"] = [dict(toleration) for toleration in options.tolerations]
    spec: dict[str, Any] = {
        "backoffLimit": 0,
        "ttlSecondsAfterFinished": options.keep_s,
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    if options.timeout_s:
        spec["activeDeadlineSeconds"] = options.timeout_s
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": options.namespace, "labels": labels},
        "spec": spec,
    }


def variables(environment: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in sorted(environment.items())]


def secret_mounts(options: BuildOptions, login: str, authority: str) -> list[dict[str, Any]]:
    """The builder's mounts of the registry's log-in and of further authorities, where these are named."""
    mounts: list[dict[str, Any]] = []
    if options.docker_config_secret:
        mounts.append({"name": "docker-config", "mountPath": login, "readOnly": True})
    if options.authority_secret:
        mounts.append({"name": "authority", "mountPath": authority, "readOnly": True})
    return mounts


def _secret_volumes(options: BuildOptions) -> list[dict[str, Any]]:
    volumes: list[dict[str, Any]] = []
    if options.docker_config_secret:
        item = {"key": ".dockerconfigjson", "path": "config.json"}
        secret = {"secretName": options.docker_config_secret, "items": [item]}
        volumes.append({"name": "docker-config", "secret": secret})
    if options.authority_secret:
        volumes.append({"name": "authority", "secret": {"secretName": options.authority_secret}})
    return volumes


def _context_container(options: BuildOptions, source: BuildSource, user: int) -> dict[str, Any]:
    certificates: list[dict[str, Any]] = []
    environment = {
        **options.environment,
        "CONTEXT_URL": source.url,
        "CONTEXT_SHA256": source.checksum,
    }
    if options.authority_secret:
        certificates = [{"name": "authority", "mountPath": "/certificates", "readOnly": True}]
        environment["CONTEXT_CERTIFICATES"] = "/certificates"
    return {
        "name": CONTEXT,
        "image": options.context_image,
        "command": ["python", "-m", "backend.engine.images.fetch_context", FOLDER],
        "env": variables(environment),
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            "limits": {"memory": "512Mi"},
        },
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": user,
            "runAsGroup": user,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "context", "mountPath": FOLDER}, *certificates],
    }
