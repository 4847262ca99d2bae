"""Container images for the tests, built without an engine and pushed to the cluster's registry."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from tests.cluster.conftest import REGISTRY

ROOT = Path(__file__).parents[3]
HOME = Path(
    os.environ.get("LAB_HOME")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cluster-lab"
)
BUILDAH = [
    "buildah",
    "--root",
    str(HOME / "cache/buildah"),
    "--runroot",
    str(HOME / "run/buildah"),
    "--storage-driver",
    "overlay",
]
RUNNER = """
FROM {registry}/ray:2.60.0
COPY ray_jobs /opt/substra/python/ray_jobs
USER root
RUN PYTHONPATH=/opt/substra/python python -m ray_jobs.agent.bundle /opt/substra/agent \\
 && python -m compileall -q /opt/substra/python
USER ray
ENV PYTHONPATH=/opt/substra/python
"""
PYTHON_FUNCTION = """
FROM {registry}/python:3.11
COPY . /home/user
WORKDIR /home/user
ENV OF_THE_IMAGE=yes PYTHONPATH=/home/user
ENTRYPOINT ["python3", "function.py"]
"""
STATIC_FUNCTION = """
FROM scratch
COPY program /program
WORKDIR /work
ENTRYPOINT ["/program"]
"""


def build(name: str, containerfile: str, files: dict[str, Path | str], *, tag: str = "") -> str:
    """Build and push, under `tag` when it is given; the image's reference by digest."""
    repository, _, version = (tag or f"kuberay-test/{name}:1").partition(":")
    tag = f"{REGISTRY}/{repository}:{version}"
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        for target, source in files.items():
            place = context / target
            if isinstance(source, str):
                place.write_text(source)
            elif source.is_dir():
                shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copyfile(source, place)
                place.chmod(0o755)
        recipe = context / ".." / f"{context.name}.containerfile"
        recipe.write_text(containerfile.format(registry=REGISTRY))
        try:
            _run([*BUILDAH, "bud", "--quiet", "--isolation", "chroot", "--layers=false",
                  "--tls-verify=false", "--timestamp", "0", "--file", str(recipe), "--tag", tag,
                  str(context)])  # fmt: skip
        finally:
            recipe.unlink()
    _run([*BUILDAH, "push", "--quiet", "--tls-verify=false", tag])
    return f"{tag.rpartition(':')[0]}@{_digest(repository, version)}"


def runner() -> str:
    return build("runner", RUNNER, {"ray_jobs": ROOT / "ray_jobs"})


def python_function(name: str, code: str) -> str:
    return build(name, PYTHON_FUNCTION, {"function.py": code})


def static_function(name: str, code: str) -> str:
    """An image that holds one static program and nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder) / "program.c", Path(folder) / "program"
        source.write_text(code)
        _run(["gcc", "-static", "-O1", "-o", str(program), str(source)])
        return build(name, STATIC_FUNCTION, {"program": program})


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.stderr.write(done.stderr)
        raise AssertionError(f"{command[0]} ended with {done.returncode}: {done.stderr[-1000:]}")


def _digest(repository: str, version: str) -> str:
    request = urllib.request.Request(
        f"http://{REGISTRY}/v2/{repository}/manifests/{version}",
        headers={
            "Accept": "application/vnd.oci.image.manifest.v1+json, "
            "application/vnd.docker.distribution.manifest.v2+json"
        },
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        json.load(answer)
        return str(answer.headers["Docker-Content-Digest"])
