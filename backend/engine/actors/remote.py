"""The control plane as a detached Ray actor: a thin host, restarted by Ray with its state in PostgreSQL."""

import os
from pathlib import Path
from typing import Any

from backend.engine.actors.control import ControlPlane
from backend.engine.compute.demands import gpus_of_a_runner
from backend.engine.compute.local import RayHost
from backend.monitoring.logs import configure
from backend.settings import Settings

NAMESPACE = "substra-ray"


class ControlActor:
    """Hosts the loops of one organization; its only argument is the path of the settings (rule 18)."""

    def __init__(self, settings_path: str) -> None:
        settings = Settings.read(Path(settings_path))
        self._shown = f"{name(settings.NAME)} · {settings.MSP_ID}"
        configure(settings.LOG_LEVEL, organization=settings.NAME, process="control")
        host = RayHost(NAMESPACE, gpus_of_a_runner(settings.GPUS, settings.WORKERS))
        self._plane = ControlPlane(Path(settings_path), host)
        self._plane.start()

    def __repr__(self) -> str:
        """What Ray's dashboard shows beside the class."""
        return self._shown

    def health(self) -> dict[str, bool]:
        """Each loop and whether it lives."""
        return self._plane.health()

    def pid(self) -> int:
        return os.getpid()

    def stop(self, runners: bool = True) -> None:
        """End the loops, and the runners too unless told otherwise."""
        self._plane.stop(runners=runners)


def name(organization: str) -> str:
    return f"control-{organization}"


def start(settings_path: Path) -> Any:
    """The running control actor of an organization, started if there is none; returns its handle."""
    import ray

    settings = Settings.read(settings_path)
    options = {
        "name": name(settings.NAME),
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "get_if_exists": True,
        "num_cpus": 0,
        "max_restarts": -1,
        "max_task_retries": -1,
        "max_concurrency": 4,
    }
    return ray.remote(ControlActor).options(**options).remote(str(settings_path))
