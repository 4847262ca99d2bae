"""The network under measurement: started for the run in a folder of its own, and its memory."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import substra

from network.demo.experiment import BuildsFirst
from network.ports import free_port
from tests.chaos.caller import Caller

ORGANIZATIONS = 2


@dataclass(frozen=True)
class Embedded:
    """A running network: its description, and how long `up` took from an empty folder."""

    state: Path
    up_s: float

    @property
    def organizations(self) -> list[dict[str, str]]:
        description = json.loads((self.state / "network.json").read_text("utf-8"))
        found: list[dict[str, str]] = description["organizations"]
        return found

    def clients(self) -> list[substra.Client]:
        """One logged-in client of each organization."""
        return [
            BuildsFirst(
                backend_type="remote",
                url=organization["url"],
                username=organization["username"],
                password=organization["password"],
            )
            for organization in self.organizations
        ]

    def callers(self) -> list[Caller]:
        """A plain HTTP client of each organization's user, logged in."""
        found = [
            Caller(row["url"], row["username"], row["password"], row["msp_id"])
            for row in self.organizations
        ]
        for caller in found:
            caller.log_in()
        return found

    def processes(self) -> list[int]:
        """Every process of the network, zygotes left out (rule 45)."""
        rows = self.status()["processes"]
        warm = {row["pid"] for row in rows if row["role"] == "zygote"}
        pids = {row["pid"] for row in rows if row["pid"]}
        for row in rows:
            if row["role"] == "supervisor":
                below = psutil.Process(row["pid"]).children(recursive=True)
                pids |= {process.pid for process in below}
        return sorted(pids - warm)

    def status(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(_command(self.state, "status", "--json"))
        return content

    def memory_mb(self) -> float:
        """Proportional set size of every process of the network, zygotes left out (rule 45)."""
        return sum(map(_pss_kb, self.processes())) / 1000

    def replica_mb(self) -> float:
        """Proportional set size of the largest process that answers requests: Serve replica or uvicorn."""
        answering = {"ray-serve-replica", "api"}
        rows = [row for row in self.status()["processes"] if row["role"] in answering]
        return max(_pss_kb(row["pid"]) for row in rows) / 1000


def _pss_kb(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text("utf-8")
    except (OSError, ValueError):
        return 0  # it ended meanwhile
    return next((int(line.split()[1]) for line in rollup.splitlines() if line[:4] == "Pss:"), 0)


def _command(state: Path, *words: str) -> str:
    code = "from cli.main import app; app()"
    done = subprocess.run(
        [sys.executable, "-c", code, *words, "--state", str(state)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


@contextmanager
def embedded() -> Iterator[Embedded]:
    """`up` from nothing, and `down` at the end."""
    with TemporaryDirectory(prefix="sr-bench-") as folder:
        state = Path(folder) / "state"
        started = time.monotonic()
        options = ("--orgs", str(ORGANIZATIONS), "--port", str(free_port()))
        try:
            _command(state, "up", *options)
            yield Embedded(state, up_s=time.monotonic() - started)
        finally:
            _command(state, "down", "--purge")
