"""The Kubernetes Job of one build, as an object to send: pure, so that what it may do can be read in one place.

Two containers: `context` (our image, unprivileged) fetches, checks and unpacks the archive; `kaniko` builds and
pushes. Kaniko needs root in its container and runs users' RUN lines, so builds have a namespace of their own
(rule 35), no service account and no secret but the registry's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from backend.engine.images.kaniko_states import CONTEXT, KANIKO
from kuberay.resources import Kind
from kuberay.shapes import KubeObject

USER = 1001
CAPABILITIES = ("CHOWN", "SETUID", "SETGID", "FOWNER", "DAC_OVERRIDE", "SETFCAP")
MANAGER = "substra-builder"
_FOLDER = "/context"
_CERTIFICATES = "/kaniko/ssl/certs"


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How an organization builds; from its settings."""

    namespace: str
    registry: str  # host:port, as the build's pod reaches it
    repository: str
    context_image: str  # ours
    image: str = "gcr.io/kaniko-project/executor:v1.24.0"
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

    @property
    def job(self) -> str:
        return f"kaniko-{self.tag}"


class Job(KubeObject):
    """A batch/v1 Job, as far as it is built here."""

    spec: dict[str, Any]


JOBS: Kind[Job] = Kind("/apis/batch/v1", "jobs", "Job")


def build_job(options: BuildOptions, source: BuildSource) -> Job:
    """The Job that builds `source` and tells the image's digest in its termination message."""
    labels = {
        "app.kubernetes.io/managed-by": MANAGER,
        "app.kubernetes.io/component": "substra-compute",
        "substra.ai/pod-type": "image-build",
        "substra.ai/pod-name": source.job,
        "role-registry-client": "true",
        "role-internet-egress": "true",
    }
    volumes: list[dict[str, Any]] = [
        {"name": "context", "emptyDir": {"sizeLimit": str(options.context_bytes)}}
    ]
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 5,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}, "fsGroup": USER},
        "initContainers": [_context_container(options, source)],
        "containers": [_kaniko_container(options, source, volumes)],
        "volumes": volumes,
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
        "metadata": {"name": source.job, "namespace": options.namespace, "labels": labels},
        "spec": spec,
    }


def kaniko_arguments(options: BuildOptions, source: BuildSource) -> list[str]:
    """Kaniko's command line (compute.md 2.5)."""
    arguments = [
        f"--context=dir://{_FOLDER}/content",
        f"--dockerfile={_FOLDER}/content/Dockerfile",
        f"--destination={options.destination(source.tag)}",
        "--digest-file=/dev/termination-log",
        "--cache=true",
        "--cache-copy-layers",
        f"--cache-repo={options.registry}/{options.repository}/cache",
        "--snapshot-mode=redo",
        "--push-retry=3",
        "--log-format=text",
    ]
    if options.mirror:
        arguments.append(f"--registry-mirror={options.registry}")
    if options.scheme == "http":
        arguments += ["--insecure", "--insecure-pull"]
    return [*arguments, *options.extra_arguments]


def _context_container(options: BuildOptions, source: BuildSource) -> dict[str, Any]:
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
        "command": ["python", "-m", "backend.engine.images.fetch_context", _FOLDER],
        "env": _variables(environment),
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            "limits": {"memory": "512Mi"},
        },
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "context", "mountPath": _FOLDER}, *certificates],
    }


def _kaniko_container(
    options: BuildOptions, source: BuildSource, volumes: list[dict[str, Any]]
) -> dict[str, Any]:
    """The second container; adds the volumes that it needs."""
    mounts: list[dict[str, Any]] = [
        {"name": "context", "mountPath": _FOLDER, "readOnly": True},
    ]
    environment = dict(options.environment)
    if options.docker_config_secret:
        item = {"key": ".dockerconfigjson", "path": "config.json"}
        secret = {"secretName": options.docker_config_secret, "items": [item]}
        volumes.append({"name": "docker-config", "secret": secret})
        mounts.append({"name": "docker-config", "mountPath": "/kaniko/.docker", "readOnly": True})
        environment["DOCKER_CONFIG"] = "/kaniko/.docker"
    if options.authority_secret:
        volumes.append({"name": "authority", "secret": {"secretName": options.authority_secret}})
        mounts.append({"name": "authority", "mountPath": "/kaniko/ssl/private", "readOnly": True})
        environment["SSL_CERT_DIR"] = f"{_CERTIFICATES}:/kaniko/ssl/private"
    return {
        "name": KANIKO,
        "image": options.image,
        "args": kaniko_arguments(options, source),
        "env": _variables(environment),
        "resources": dict(options.resources),
        "securityContext": {
            "runAsUser": 0,
            "runAsGroup": 0,
            "privileged": False,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"], "add": list(CAPABILITIES)},
        },
        "volumeMounts": mounts,
    }


def _variables(environment: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in sorted(environment.items())]
