"""Running programs of a build: shut in (rule 13), without our environment or descriptors, with a time limit."""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from backend.engine.images.build_log import BuildLog
from backend.engine.images.watch import Watch

_CONFINE = Path(__file__).parents[3] / "ray_jobs" / "inner" / "confine.py"
_REAPER = Path(__file__).parent / "reaper.py"
_CLEAN = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
"""What our own programs start with: an image's ENV (LD_PRELOAD!) must not reach them before the walls stand."""
LOOK_S = 0.25
_LIMITS = {"processes": 4096, "file_bytes": 64 << 30, "core": 0}


class TimeIsUp(Exception):
    """The build's time limit passed; every process of it is gone."""


class BuildStopped(Exception):
    """Nobody wants the build any more; every process of it is gone."""


@dataclass(frozen=True, slots=True)
class Walls:
    """What one program may touch; `ports` empty means no network at all."""

    read: Sequence[str] = ()
    execute: Sequence[str] = ()
    write: Sequence[str] = ()
    ports: Sequence[int] = ()

    def policy(self, tmp: Path) -> dict[str, Any]:
        return {
            "read": [path for path in self.read if os.path.lexists(path)],
            "execute": list(self.execute),
            "write": list(self.write),
            "network": "internet" if self.ports else "none",
            "ports": list(self.ports),
            "limits": _LIMITS,
            "tmp": str(tmp),
            "own_processes": True,
            "user": str(tmp),
        }


@dataclass
class Processes:
    """Starts the programs of one build. `tmp` is its own scratch folder; `deadline` of time.monotonic().

    `stopped` is asked several times a second whether to end it.
    """

    tmp: Path
    log: BuildLog
    deadline: float
    stopped: Callable[[], bool] = lambda: False
    _count: int = field(default=0, init=False)

    def run(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        walls: Walls,
    ) -> int:
        """Run to the end, output into the log, and return the exit code; nothing of it lives on.

        Raises:
            TimeIsUp: the deadline passed.
            BuildStopped: it is not wanted any more.
        """
        self.check()
        self._count += 1
        policy = self.tmp.parent / f"policy-{self._count}-{os.urandom(4).hex()}.json"
        policy.write_text(json.dumps({**walls.policy(self.tmp), "environment": dict(environment)}))
        python = [sys.executable, "-I", "-S"]
        line = [*python, str(_REAPER), *python, str(_CONFINE), str(policy), "--", *command]
        process = subprocess.Popen(
            line,
            env=_CLEAN,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            self._follow(process)
        finally:
            self._end(process)
            policy.unlink(missing_ok=True)
        return process.returncode

    def check(self) -> None:
        """Raises TimeIsUp and BuildStopped as `run`."""
        if self.stopped():
            raise BuildStopped
        if time.monotonic() >= self.deadline:
            raise TimeIsUp

    def _follow(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        output = process.stdout.fileno()
        waiting = select.poll()  # select() ends at descriptor 1023
        waiting.register(output, select.POLLIN)
        watch = Watch(process.pid, self.tmp)
        while True:
            broken = watch.broken()
            if broken:
                self.log.line(f"The command was ended: {broken}.")
                return
            self.check()
            if waiting.poll(1000 * min(self.deadline - time.monotonic(), LOOK_S)):
                data = os.read(output, 1 << 16)
                if not data:
                    return
                self.log.output(data)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """Closing its standard input makes the reaper kill what is left."""
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait()
        process.stdout.close()
        self.log.flush()


def network_ports(run_environment: Mapping[str, str]) -> list[int]:
    """TCP ports that RUN lines may reach: all below 1024, those of proxy and package index (rule 42)."""
    ports = set(range(1, 1024))
    for name, value in run_environment.items():
        if name.upper().endswith(("_PROXY", "_URL", "_INDEX", "_LINKS")):
            ports.update(port for word in value.split() if (port := _port(word)))
    return sorted(ports)


def _port(address: str) -> int | None:
    try:
        return urlsplit(address if "://" in address else f"//{address}").port
    except ValueError:
        return None
