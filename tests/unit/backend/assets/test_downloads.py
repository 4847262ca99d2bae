"""Files that are sent: compressed when that was asked for, gone when they vanish in between."""

from pathlib import Path

import anyio
import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import Response

from backend.access.caller import Caller
from backend.assets.downloads import Download, FileAnswer, answer
from backend.kit import exception_answers
from backend.node import Node
from backend.settings import Settings

MODEL = Download("MyOrg1MSP", "model/x/file/", "x", "c" * 64, compressible=True)
CONTENT = bytes(100_000)


class _Node:
    """As much of a node as a local file needs."""

    def __init__(self, *, gzip_models: bool) -> None:
        self.own = "MyOrg1MSP"
        self.settings = Settings(GZIP_MODELS=gzip_models)


def _get(
    path: Path, url: str, headers: dict[str, str] | None = None, *, gzip_models: bool = False
) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(_application(path, gzip_models=gzip_models))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get(url, headers=headers)

    return anyio.run(ask)


def _application(path: Path, *, gzip_models: bool) -> FastAPI:
    app, node = FastAPI(), _Node(gzip_models=gzip_models)
    exception_answers.register(app)

    @app.get("/file/")
    def file(request: Request) -> Response:
        download = Download(
            MODEL.owner, MODEL.path, MODEL.name, MODEL.checksum, path, compressible=True
        )
        return answer(request, cast_node(node), cast_caller(), download)

    @app.get("/vanished/")
    def vanished() -> Response:
        return FileAnswer(path.with_name("gone"), MODEL)

    return app


def cast_node(node: object) -> Node:
    return node  # type: ignore[return-value]


def cast_caller() -> Caller:
    return None  # type: ignore[return-value]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    made.write_bytes(CONTENT)
    return made


def test_model_is_compressed_when_setting_and_client_say_so(path: Path) -> None:
    sent = _get(path, "/file/", gzip_models=True)
    assert sent.headers["Content-Encoding"] == "gzip"
    assert sent.headers["ETag"].startswith("W/")
    assert sent.num_bytes_downloaded < 1_000
    assert sent.content == CONTENT


@pytest.mark.parametrize(
    ("gzip_models", "headers"),
    [
        (False, {}),
        (True, {"Accept-Encoding": "identity"}),
        (True, {"Range": "bytes=0-"}),
    ],
)
def test_otherwise_the_bytes_themselves_are_sent(
    path: Path, gzip_models: bool, headers: dict[str, str]
) -> None:
    sent = _get(path, "/file/", headers, gzip_models=gzip_models)
    assert "Content-Encoding" not in sent.headers
    assert sent.headers["ETag"] == f'"{MODEL.checksum}"'
    assert sent.content == CONTENT


def test_file_that_vanishes_before_it_is_sent_is_gone(path: Path) -> None:
    sent = _get(path, "/vanished/")
    assert (sent.status_code, sent.json()) == (410, {"detail": "Asset not available anymore"})
