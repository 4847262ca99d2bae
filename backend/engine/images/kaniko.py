"""Kaniko as the builder of function images: its command line, its container, its complaints.

Kaniko needs root in its container and runs users' RUN lines there: *baseline*, and no more capabilities than
the unpacking of an image needs. It is archived: image and flags are settings, a fork that takes them will do.
"""

from typing import Any

from backend.engine.images.build_job import (
    FOLDER,
    BuildOptions,
    BuildSource,
    Job,
    job_around,
    secret_mounts,
    variables,
)
from backend.engine.images.build_states import last_error_is_of_network

CAPABILITIES = ("CHOWN", "SETUID", "SETGID", "FOWNER", "DAC_OVERRIDE", "SETFCAP")
_LOGIN = "/kaniko/.docker"
_AUTHORITIES = "/kaniko/ssl/private"


class Kaniko:
    """The first choice of builder."""

    container = "kaniko"

    def job(self, options: BuildOptions, source: BuildSource) -> Job:
        return job_around(options, source, _container(options, source), [])

    def blames_network(self, log: str) -> bool:
        return last_error_is_of_network(log)


def kaniko_arguments(options: BuildOptions, source: BuildSource) -> list[str]:
    """Kaniko's command line (compute.md 2.5)."""
    arguments = [
        f"--context=dir://{FOLDER}/content",
        f"--dockerfile={FOLDER}/content/Dockerfile",
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


def _container(options: BuildOptions, source: BuildSource) -> dict[str, Any]:
    mounts = [{"name": "context", "mountPath": FOLDER, "readOnly": True}]
    environment = dict(options.environment)
    if options.docker_config_secret:
        environment["DOCKER_CONFIG"] = _LOGIN
    if options.authority_secret:
        environment["SSL_CERT_DIR"] = f"/kaniko/ssl/certs:{_AUTHORITIES}"
    return {
        "name": Kaniko.container,
        "image": options.image,
        "args": kaniko_arguments(options, source),
        "env": variables(environment),
        "resources": dict(options.resources),
        "securityContext": {
            "runAsUser": 0,
            "runAsGroup": 0,
            "privileged": False,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"], "add": list(CAPABILITIES)},
        },
        "volumeMounts": [*mounts, *secret_mounts(options, _LOGIN, _AUTHORITIES)],
    }
