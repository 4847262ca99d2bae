"""BuildKit without root as the builder of function images: its command line, its container, its complaints.

The second choice behind the same protocol, maintained where Kaniko is archived. Nothing is root here:
rootlesskit makes a user namespace in which buildkitd is root of ordinary uids only. To make one it needs system
calls that the default seccomp profile refuses, and the set-uid programs newuidmap and newgidmap: so the Pod
Security level of builds is *privileged*, unless a Localhost profile of the nodes is named that allows them.
"""

import json
from collections.abc import Mapping
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
from backend.engine.images.build_states import NOT_STARTED, last_error_is_of_network

USER = 1000  # of moby/buildkit:*-rootless, with subordinate ids in its /etc/subuid
UNCONFINED: Mapping[str, Any] = {
    "seccompProfile": {"type": "Unconfined"},
    "appArmorProfile": {"type": "Unconfined"},
}
CAPABILITIES = ("SETUID", "SETGID")  # of these two programs; nothing here is root
_PLACE = "/buildkit"
_LOGIN = "/login"
_AUTHORITIES = "/authorities"
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")

# A layer cache is one manifest: one for each text of a Dockerfile, and the newest of all as a second place.
_SCRIPT = f"""
set -u
cd {_PLACE}
mkdir -p run scratch
printf '%s' "$BUILDKITD_TOML" > buildkitd.toml
rootlesskit buildkitd --config buildkitd.toml --root {_PLACE}/root --addr "$BUILDKIT_HOST" \\
  --oci-worker-no-process-sandbox > daemon.log 2>&1 &
daemon=$!
tries=0
until buildctl debug workers > /dev/null 2>&1; do
  tries=$((tries + 1))
  if [ $tries -ge 120 ] || ! kill -0 $daemon 2> /dev/null; then
    cat daemon.log
    tail -n 1 daemon.log | cut -c 1-300 > /dev/termination-log
    exit {NOT_STARTED}
  fi
  sleep 0.5
done
same=$(sha256sum < {FOLDER}/content/Dockerfile | cut -c 1-16)
buildctl build "$@" \\
  --import-cache "type=registry,ref=$CACHE:dockerfile-$same" \\
  --import-cache "type=registry,ref=$CACHE:newest" \\
  --export-cache "type=registry,ref=$CACHE:dockerfile-$same,$CACHE_FORM" \\
  --export-cache "type=registry,ref=$CACHE:newest,$CACHE_FORM" \\
  --metadata-file told.json 2>&1
status=$?
if [ $status -eq 0 ]; then
  tr -d ' \\n' < told.json | sed 's/.*"containerimage.digest":"\\(sha256:[0-9a-f]*\\)".*/\\1/' \\
    > /dev/termination-log
fi
kill $daemon
exit $status
"""


class BuildKit:
    """The second choice of builder."""

    container = "buildkit"

    def job(self, options: BuildOptions, source: BuildSource) -> Job:
        work = {"name": "work", "emptyDir": {}}
        # Without a group of the volumes: it would set its bit on folders, which would get it in images.
        builder = _container(options, source)
        return job_around(options, source, builder, [work], user=USER, group=None)

    def blames_network(self, log: str) -> bool:
        """The last error names the RUN line that failed, whose text may say anything."""
        errors = [line for line in log.splitlines()[-20:] if line.startswith("error: ")]
        if errors and 'process "' in errors[-1]:
            return False
        return last_error_is_of_network(log)


def buildctl_arguments(options: BuildOptions, source: BuildSource) -> list[str]:
    """buildctl's command line but for the cache, whose name depends on the Dockerfile."""
    arguments = [
        "--progress=plain",
        "--frontend=dockerfile.v0",
        f"--local=context={FOLDER}/content",
        f"--local=dockerfile={FOLDER}/content",
        f"--output=type=image,name={options.destination(source.tag)},push=true",
    ]
    for name in _PROXIES:
        for spelled in (name, name.lower()):
            if spelled in options.environment:
                arguments.append(f"--opt=build-arg:{spelled}={options.environment[spelled]}")
    return [*arguments, *options.extra_arguments]


def daemon_configuration(options: BuildOptions) -> str:
    """buildkitd.toml: how the registry is spoken to, and whether it stands for Docker's own."""
    registry = json.dumps(options.registry)  # a string of TOML as well
    lines = ["[worker.oci]", "gc = false"]  # what a build leaves goes with its pod
    if options.scheme == "http":
        lines += [f"[registry.{registry}]", "http = true"]
    if options.mirror:
        lines += ['[registry."docker.io"]', f"mirrors = [{registry}]"]
    return "\n".join(lines) + "\n"


def _container(options: BuildOptions, source: BuildSource) -> dict[str, Any]:
    environment = {
        **options.environment,
        "BUILDKITD_TOML": daemon_configuration(options),
        "BUILDKIT_HOST": f"unix://{_PLACE}/run/buildkitd.sock",
        "CACHE": f"{options.registry}/{options.repository}/cache",
        "CACHE_FORM": "mode=max,image-manifest=true,oci-mediatypes=true,ignore-error=true",
        "HOME": _PLACE,
        "TMPDIR": f"{_PLACE}/scratch",
        "USER": "user",  # not root: by this it knows that it has none of root's folders
        "XDG_RUNTIME_DIR": f"{_PLACE}/run",
    }
    if options.docker_config_secret:
        environment["DOCKER_CONFIG"] = _LOGIN
    if options.authority_secret:
        environment["SSL_CERT_DIR"] = f"/etc/ssl/certs:{_AUTHORITIES}"
    return {
        "name": BuildKit.container,
        "image": options.image,
        "command": ["sh", "-c", _SCRIPT, "build"],
        "args": buildctl_arguments(options, source),
        "env": variables(environment),
        "resources": dict(options.resources),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "privileged": False,
            "allowPrivilegeEscalation": True,  # newuidmap and newgidmap are set-uid
            "capabilities": {"drop": ["ALL"], "add": list(CAPABILITIES)},
            **(options.security or UNCONFINED),
        },
        "volumeMounts": [
            {"name": "context", "mountPath": FOLDER, "readOnly": True},
            {"name": "work", "mountPath": _PLACE},
            *secret_mounts(options, _LOGIN, _AUTHORITIES),
        ],
    }
