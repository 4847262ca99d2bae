"""An organization's application on a real PostgreSQL; its ledger is absent unless a test starts one."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from backend.app import create_app
from backend.node import Node
from backend.settings import ChannelSettings, PeerSettings, Settings, UserSettings

PASSWORD = "p@sswr0d44"


def settings_on(database_url: str, folder: Path) -> Settings:
    """Organization 1, with files below `folder`."""
    return Settings(
        NAME="org-1",
        ORG_NAME="MyOrg1",
        MSP_ID="MyOrg1MSP",
        SUBPATH="org-1",
        DEFAULT_DOMAIN="http://127.0.0.1:8000/org-1",
        CHANNELS={
            "mychannel": ChannelSettings(model_export_enabled=True),
            "yourchannel": ChannelSettings(),
        },
        PEERS={
            "MyOrg1MSP": PeerSettings(
                url="http://127.0.0.1:9/org-1", outgoing="s11", incoming="s11"
            ),
            "MyOrg2MSP": PeerSettings(
                url="http://127.0.0.1:9/org-2", outgoing="s12", incoming="s21"
            ),
        },
        USERS=[
            UserSettings(username="org-1", password=PASSWORD, channel="mychannel"),
            UserSettings(username="org-1-yourchannel", password=PASSWORD, channel="yourchannel"),
        ],
        SECRET_KEY="k" * 50,
        DATABASE_URL=database_url,
        MEDIA_ROOT=folder / "medias",
        SERVERMEDIAS_ROOT=folder / "servermedias",
        BUILDER_ENABLED=True,
        DEFAULT_THROTTLE_RATES=1000,
        ISOLATED=True,
        CORS_ORIGIN_WHITELIST=["http://frontend.test"],
        CORS_ALLOW_CREDENTIALS=True,
    )


@pytest.fixture
def settings(prepared_url: str, tmp_path: Path) -> Settings:
    return settings_on(prepared_url, tmp_path)


@pytest.fixture
def node(settings: Settings) -> Iterator[Node]:
    built = Node.build(settings)
    yield built
    built.close()


@contextmanager
def serving(app: FastAPI, port: int = 0) -> Iterator[httpx.Client]:
    """The application under uvicorn (on a free port when 0), and a client whose base URL is that port."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_config=None, lifespan="on", proxy_headers=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = threading.Event()
    for _ in range(600):
        if server.started or not thread.is_alive():
            break
        deadline.wait(0.05)
    assert server.started, "the application did not start"
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(timeout=30)


@pytest.fixture
def client(settings: Settings, node: Node) -> Iterator[httpx.Client]:
    """The application below `/org-1`, without credentials."""
    with serving(create_app(settings, node)) as running:
        yield running


def log_in(
    client: httpx.Client, username: str = "org-1", password: str = PASSWORD
) -> dict[str, Any]:
    answer = client.post(
        "/org-1/api-token-auth/", data={"username": username, "password": password}
    )
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()
    return result


@pytest.fixture
def user(client: httpx.Client) -> httpx.Client:
    """The same client, speaking for user `org-1`."""
    client.headers["Authorization"] = f"Token {log_in(client)['token']}"
    return client
