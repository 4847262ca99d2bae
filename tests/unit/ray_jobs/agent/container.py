"""A function's container without a container."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray_jobs.agent import bundle
from ray_jobs.capture import LogCapture
from ray_jobs.execution import Outcome
from ray_jobs.guard import DiskGuard
from ray_jobs.pod.agent_client import Agent, Hello, Prepared

WAIT_S = 20.0
PYTHON = os.path.realpath(getattr(sys, "_base_executable", sys.executable))


@dataclass
class Container:
    """A function's container without a container: its folders, the agent's process."""

    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def agent(self) -> Agent:
        return Agent(self.folder / "agent.sock", os.getuid())

    def hello(self) -> Hello:
        return self.agent.wait(WAIT_S)

    def run(self, code: str, task: str = "t1", **policy: object) -> tuple[Outcome, str]:
        """Run Python code as a function; how it ended, and what it said."""
        prepared, log = self.prepare(task)
        self.start(prepared, log, [PYTHON, "-c", code], **policy)
        return self.ended(prepared, log)

    def prepare(self, task: str, **zygote: Any) -> tuple[Prepared, LogCapture]:
        self.hello()
        for place in ("inputs", "outputs"):
            (self.folder / place / task).mkdir(exist_ok=True)
        return self.agent.prepare(task, **zygote), LogCapture(self.folder / f"{task}.log")

    def start(self, prepared: Prepared, log: LogCapture, argv: list[str], **policy: object) -> None:
        request = {
            "argv": argv,
            "directory": prepared.directory,
            "environment": {"HOME": prepared.home, "SECRET": "none"},
            "policy": {**prepared.policy, **policy},
        }
        prepared.execution.start(request, log)

    def ended(self, prepared: Prepared, log: LogCapture) -> tuple[Outcome, str]:
        outcome = prepared.execution.wait(log, WAIT_S, DiskGuard(self.folder, 0))
        log.close()
        return outcome, log.path.read_text()

    def processes(self) -> list[int]:
        own = f" {self.process.pid} "
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    stat = (folder / "stat").read_text()
                except OSError:
                    continue
                if own in f" {stat.rpartition(')')[2].split()[1]} ":
                    found.append(int(folder.name))
        return found


def started(bundled: Path, folder: Path, way: tuple[str, ...] = ()) -> Container:
    """An agent in `folder`, behind the words of `way`."""
    for name in ("inputs", "outputs", "scratch", "tmp", "image", "image/sub", "elsewhere"):
        (folder / name).mkdir()
    (folder / "image/function.py").write_text("print('from the image')")
    (folder / "image/sub/data.txt").write_text("data")
    (folder / "elsewhere/other.txt").write_text("of nobody's concern")
    configuration = {
        "socket": str(folder / "agent.sock"),
        "inputs": str(folder / "inputs"),
        "outputs": str(folder / "outputs"),
        "scratch": str(folder / "scratch"),
        "writable": [str(folder / "tmp")],
        "peer": os.getuid(),
        "image": "registry/function@sha256:abc",
    }
    process = subprocess.Popen(
        [*way, *bundle.command(str(bundled), configuration)],
        cwd=folder / "image",
        env={"PATH": "/usr/bin:/bin", "KUBERNETES_PORT": "1", "OF_THE_IMAGE": "yes"},
    )
    return Container(folder, process)
