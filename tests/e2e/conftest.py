"""One network of two organizations for the whole session, and real SDK clients of both."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import pytest
import substra

from network.ports import free_port
from tests.e2e.playground import Data, Playground

GIVEN = "SUBSTRA_RAY_TEST_STATE"  # the state folder of a running network, to use instead of our own
UP_S = 180


@dataclass(frozen=True)
class RunningNetwork:
    """What `network.json` and `substra-ray status --json` say about it."""

    state: Path

    def command(self, *words: str, timeout_s: float = UP_S, codes: tuple[int, ...] = (0,)) -> str:
        """Run `substra-ray …` on this network and give its standard output."""
        words = (*words, "--state", str(self.state))
        with TemporaryFile("w+") as output, TemporaryFile("w+") as errors:
            # Files, not pipes: what `up` leaves running would keep a pipe open.
            done = subprocess.run(
                [sys.executable, "-c", "from cli.main import app; app()", *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                timeout=timeout_s,
            )
            output.seek(0)
            errors.seek(0)
            printed, complaint = output.read(), errors.read()
        assert done.returncode in codes, f"{words}: exit {done.returncode}\n{printed}{complaint}"
        return printed

    @property
    def description(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.state / "network.json").read_text("utf-8"))
        return content

    @property
    def organizations(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = self.description["organizations"]
        return found

    def processes(self, role: str, organization: str | None = None) -> list[dict[str, Any]]:
        """The processes of one role, all organizations or one; also while something is being restarted."""
        status = json.loads(self.command("status", "--json", codes=(0, 1)))
        return [
            process
            for process in status["processes"]
            if process["role"] == role and organization in (None, process["organization"])
        ]

    def check_ledger(self) -> None:
        """The ledger's events alone rebuild the rows of its tables."""
        printed = self.command("orchestrator", "replay", codes=(0, 1))
        assert "the events rebuild the tables" in printed, printed

    def client(self, index: int) -> substra.Client:
        """A client of organization `index`, logged in as its user."""
        organization = self.organizations[index]
        return substra.Client(
            backend_type="remote",
            url=organization["url"],
            username=organization["username"],
            password=organization["password"],
        )


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNetwork]:
    """A network of our own in a temporary state folder, ended with the session.

    However the tests went, the ledger's events must rebuild its tables at the end.
    """
    if given := os.environ.get(GIVEN):
        running = RunningNetwork(Path(given))
        yield running
        running.check_ledger()
        return
    running = RunningNetwork(tmp_path_factory.mktemp("network") / "state")
    try:
        running.command("up", "--orgs", "2", "--port", str(free_port()))
        yield running
        running.check_ledger()
    finally:
        running.command("down")


@pytest.fixture(scope="session")
def playground(
    network: RunningNetwork, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Playground]:
    """Clients of both organizations; functions are registered, and so built, once a session."""
    clients = [network.client(0), network.client(1)]
    yield Playground(clients, tmp_path_factory.mktemp("uploads"))
    for client in clients:
        client.logout()


@pytest.fixture(scope="session")
def data(playground: Playground) -> list[Data]:
    """Two samples at organization 1 (1 and 2), one at organization 2 (10); open to both."""
    return [playground.data([1, 2], 0), playground.data([10], 1)]
