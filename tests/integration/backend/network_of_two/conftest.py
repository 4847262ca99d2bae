"""Two organizations with a real ledger, each served by uvicorn and kept up to date by the ledger's events."""

import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.app import create_app
from backend.assets.apply import apply_events
from backend.node import Node
from backend.settings import ChannelSettings, PeerSettings, Settings, UserSettings
from orchestrator.server import Server
from tests.integration.backend.conftest import PASSWORD, serving
from tests.integration.conftest import _execute

CHANNELS = ("mychannel", "yourchannel")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(condition: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    """The first true value of `condition`; fails when there is none in time."""
    deadline, pause = time.monotonic() + timeout_s, threading.Event()
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition did not come true in time"
        pause.wait(0.05)
    return value


@dataclass
class Bridge:
    """Applies every event of a channel as it comes, as the engine's bridge does."""

    node: Node
    channel: str
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self._stream = self.node.ledger.on(self.channel).subscribe("")
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        for event in self._stream:
            with self.node.database.transaction() as session:
                apply_events(session, self.channel, [event])

    def stop(self) -> None:
        self._stream.cancel()
        self.thread.join(timeout=10)


@dataclass
class Organization:
    node: Node
    client: httpx.Client  # speaks for its user on mychannel
    url: str

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.client.get(self.url + path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.client.post(self.url + path, **options)

    def files(self) -> set[str]:
        """Every file in the storage, temporary ones included."""
        root = self.node.settings.MEDIA_ROOT
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


@dataclass
class Network:
    one: Organization
    two: Organization
    ledger: Server


def _settings(number: int, ports: dict[int, int], ledger: Server, url: str, root: Path) -> Settings:
    host, _, port = ledger.address.rpartition(":")

    def address(n: int) -> str:
        return f"http://127.0.0.1:{ports[n]}/org-{n}"

    return Settings(
        NAME=f"org-{number}",
        ORG_NAME=f"MyOrg{number}",
        MSP_ID=f"MyOrg{number}MSP",
        SUBPATH=f"org-{number}",
        DEFAULT_DOMAIN=address(number),
        CHANNELS={name: ChannelSettings(model_export_enabled=True) for name in CHANNELS},
        PEERS={
            f"MyOrg{n}MSP": PeerSettings(
                url=address(n), outgoing=f"s{number}{n}", incoming=f"s{n}{number}"
            )
            for n in ports
        },
        USERS=[
            UserSettings(username=f"org-{number}", password=PASSWORD, channel="mychannel"),
            UserSettings(
                username=f"org-{number}-yourchannel", password=PASSWORD, channel="yourchannel"
            ),
        ],
        SECRET_KEY=str(number) * 50,
        DATABASE_URL=url,
        ORCHESTRATOR_HOST=host,
        ORCHESTRATOR_PORT=int(port),
        MEDIA_ROOT=root / f"medias-{number}",
        SERVERMEDIAS_ROOT=root / "servermedias",
        BUILDER_ENABLED=True,
        DEFAULT_THROTTLE_RATES=10_000,
    )


def _is_ready(client: httpx.Client, url: str) -> bool:
    return client.get(f"{url}/readiness").status_code == 200


@pytest.fixture(scope="module")
def databases(postgres: str) -> Iterator[list[str]]:
    names = [f"test_{uuid.uuid4().hex[:12]}" for _ in range(3)]
    for name in names:
        _execute(postgres, f'CREATE DATABASE "{name}"')
    try:
        yield [f"{postgres}/{name}" for name in names]
    finally:
        for name in names:
            _execute(postgres, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture(scope="module")
def network(databases: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """One for all tests of a module: they compare before and after, or look at their own assets only."""
    tmp_path = tmp_path_factory.mktemp("network")
    ports = {1: free_port(), 2: free_port()}
    members = ["MyOrg1MSP", "MyOrg2MSP"]
    (tmp_path / "servermedias").mkdir()
    with ExitStack() as stack:
        ledger = Server(databases[0], dict.fromkeys(CHANNELS, members))
        ledger.start()
        stack.callback(ledger.stop)
        organizations = []
        for number in ports:
            settings = _settings(number, ports, ledger, databases[number], tmp_path)
            node = Node.build(settings)
            stack.callback(node.close)
            client = stack.enter_context(serving(create_app(settings, node), ports[number]))
            url = settings.DEFAULT_DOMAIN
            eventually(partial(_is_ready, client, url))
            answer = client.post(
                f"{url}/api-token-auth/", data={"username": f"org-{number}", "password": PASSWORD}
            )
            client.headers["Authorization"] = f"Token {answer.json()['token']}"
            for channel in CHANNELS:
                bridge = Bridge(node, channel)
                stack.callback(bridge.stop)
            organizations.append(Organization(node, client, url))
        one, two = organizations
        yield Network(one, two, ledger)
