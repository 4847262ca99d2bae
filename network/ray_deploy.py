"""The driver: puts each organization's application on Serve and starts its control actor, then ends.

`python -m network.ray_deploy --state FOLDER`. What it starts is detached; doing it again changes only what is
missing or has other settings by now.
"""

import argparse
import json
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import structlog

from backend.monitoring.logs import configure
from network.layout import Layout
from network.private_files import write_private
from network.ray_head import NAMESPACE
from network.ray_start import stay_on_loopback
from network.settings_files import msp_id
from network.state import State

log = structlog.get_logger(__name__)
STOP_TIMEOUT_S = 20
START_TIMEOUT_S = 60


class Deployment:
    """What stands on this cluster already, remembered beside the sockets (it ends with them)."""

    def __init__(self, layout: Layout, cluster: str) -> None:
        self._file = layout.run / "deployed.json"
        self._cluster = cluster
        self._versions = self._read()

    def _read(self) -> dict[str, str]:
        """Versions by organization; nothing after the cluster was started anew."""
        try:
            content = json.loads(self._file.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return dict(content["versions"]) if content.get("cluster") == self._cluster else {}

    def has(self, part: str, version: str) -> bool:
        """Whether this part was made with these settings."""
        return self._versions.get(part) == version

    def knows(self, part: str) -> bool:
        return part in self._versions

    def remember(self, part: str, version: str) -> None:
        self._versions[part] = version
        content = {"cluster": self._cluster, "versions": self._versions}
        write_private(self._file, json.dumps(content), durable=False)


def deploy(layout: Layout, state: State) -> None:
    """Bring the cluster to what the state says.

    Raises:
        RuntimeError: an application does not start; the supervisor tries again.
        ray.exceptions.RayError: a control actor does not start.
    """
    import ray

    metadata = {"part": "ray-deploy", "network": layout.identity, **_members(state)}
    job = ray.job_config.JobConfig(metadata=metadata)
    ray.init(namespace=NAMESPACE, job_config=job, log_to_driver=False, configure_logging=False)
    context = ray.get_runtime_context()
    deployment = Deployment(layout, f"{context.gcs_address} {ray.nodes()[0]['NodeID']}")
    _start_serve(layout, state, deployment)  # first: what a user waits for
    started = _start_control(ray, layout, state, deployment)
    for name, health in zip(state.names, ray.get(started, timeout=START_TIMEOUT_S), strict=True):
        log.info("control_started", organization=name, loops=sorted(health))
    log.info("deployed", organizations=state.names)


def _members(state: State) -> dict[str, str]:
    """Organizations and their ids, as a job's metadata: texts only."""
    return {name: msp_id(name) for name in state.names}


def _start_serve(layout: Layout, state: State, deployment: Deployment) -> None:
    """Deploy the applications that are not there or have other settings: `run` restarts every replica."""
    from ray import serve
    from ray.serve.config import HTTPOptions

    from backend.serve import application

    options = HTTPOptions(host="127.0.0.1", port=state.ports["serve"])
    serve.start(proxy_location="HeadOnly", http_options=options)
    running = serve.status().applications
    missing = [
        name
        for name in state.names
        if name not in running or not deployment.has(f"serve-{name}", _version(layout, name))
    ]
    targets = [
        serve.RunTarget(
            target=application(layout.settings_file(name)), name=name, route_prefix=f"/{name}"
        )
        for name in missing
    ]
    if targets:
        serve.run_many(targets)
    for name in missing:
        deployment.remember(f"serve-{name}", _version(layout, name))


def _start_control(ray: Any, layout: Layout, state: State, deployment: Deployment) -> list[Any]:
    """Their first answers, to be waited for."""
    from backend.engine.actors import remote

    answers = []
    for name in state.names:
        version = _version(layout, name)
        part = remote.name(name)
        if deployment.knows(part) and not deployment.has(part, version):
            _stop_control(ray, part)
        answers.append(remote.start(layout.settings_file(name)).health.remote())
        deployment.remember(part, version)
    return answers


def _stop_control(ray: Any, name: str) -> None:
    """End the loops in order, leave the runners: the next control plane finds them."""
    try:
        handle = ray.get_actor(name, namespace=NAMESPACE)
    except ValueError:
        return
    try:
        ray.get(handle.stop.remote(runners=False), timeout=STOP_TIMEOUT_S)
    except ray.exceptions.RayError as error:
        log.warning("control_not_stopped", actor=name, error=type(error).__name__)
    ray.kill(handle)
    _wait_until_forgotten(ray, name)


def _wait_until_forgotten(ray: Any, name: str) -> None:
    """A name is free only when the dead actor is gone."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            ray.get_actor(name, namespace=NAMESPACE)
        except ValueError:
            return
        time.sleep(0.05)


def _version(layout: Layout, name: str) -> str:
    return sha256(layout.settings_file(name).read_bytes()).hexdigest()[:16]


def main() -> None:
    parser = argparse.ArgumentParser(description="Deploy a network on its Ray.")
    parser.add_argument("--state", type=Path, required=True)
    layout = Layout.at(parser.parse_args().state)
    configure(process="ray-deploy")
    state = State.load(layout)
    if state is None:
        raise SystemExit(f"no state in {layout.state}")
    stay_on_loopback()
    deploy(layout, state)


if __name__ == "__main__":
    main()
