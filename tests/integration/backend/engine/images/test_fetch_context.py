"""The context container of a build: fetched, checked, unpacked, or one line that says why not."""

import hashlib
import io
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.engine.images import fetch_context
from backend.engine.images.build_states import BAD_ARCHIVE

Serve = Callable[..., dict[str, str]]


def archive(**files: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, text in files.items():
            file.writestr(name, text)
    return buffer.getvalue()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Offer bytes; the variables of a context container for them. The first `cuts` answers break off."""
    servers: list[ThreadingHTTPServer] = []

    def start(content: bytes, *, cuts: int = 0, status: int = 200) -> dict[str, str]:
        left = [cuts]

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                left[0] -= 1
                self.wfile.write(content[: len(content) // 2] if left[0] >= 0 else content)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Silent."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return {
            "CONTEXT_URL": f"http://127.0.0.1:{server.server_address[1]}/?signature=secret",
            "CONTEXT_SHA256": hashlib.sha256(content).hexdigest(),
        }

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "termination-log"
    path.touch()
    monkeypatch.setattr(fetch_context, "MESSAGE", path)
    monkeypatch.setattr(fetch_context, "PAUSE_S", 0.0)
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("cuts", [0, 2])
def test_archive_is_unpacked(serve: Serve, target: Path, message: Path, cuts: int) -> None:
    variables = serve(archive(Dockerfile="FROM x", **{"function.py": "1"}), cuts=cuts)
    assert fetch_context.main(variables, target) == 0
    assert (target / "content" / "Dockerfile").read_text() == "FROM x"
    assert sorted(path.name for path in target.iterdir()) == ["content"]
    assert message.read_text() == ""


class Late:
    """Stands for a network whose policies do not know a new pod yet: connections are refused at first."""

    def __init__(self, refusals: int) -> None:
        self._left, self._open = refusals, httpx.stream

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self._left -= 1
        if self._left >= 0:
            raise httpx.ConnectError("refused")
        return self._open(*arguments, **options)


def test_store_that_lets_a_new_pod_in_a_moment_late_is_asked_again(
    serve: Serve, target: Path, message: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    variables = serve(archive(Dockerfile="FROM x", a=""))
    monkeypatch.setattr("time.sleep", pauses.append)
    monkeypatch.setattr(httpx, "stream", Late(4))
    monkeypatch.setattr(fetch_context, "PAUSE_S", 0.5)
    assert fetch_context.main(variables, target) == 0
    assert pauses == [0.5, 1.0, 2.0, 4.0]


@pytest.mark.parametrize(
    "content",
    [b"no archive", archive(other="x", more="y"), archive(**{"../x": "", "Dockerfile": ""})],
)
def test_bad_archive_is_its_owners_fault(
    serve: Serve, target: Path, message: Path, content: bytes
) -> None:
    assert fetch_context.main(serve(content), target) == BAD_ARCHIVE
    assert "archive" in message.read_text()


def test_what_cannot_be_fetched_may_be_tried_again(
    serve: Serve, target: Path, message: Path
) -> None:
    content = archive(Dockerfile="FROM x", a="")
    for variables in (
        serve(content, status=503),
        serve(content, cuts=100),
        {**serve(content), "CONTEXT_SHA256": "0" * 64},
        {"CONTEXT_URL": "http://127.0.0.1:1/", "CONTEXT_SHA256": "0" * 64},
    ):
        assert fetch_context.main(variables, target) == 1
        assert message.read_text()
        assert "secret" not in message.read_text()
        assert list(target.iterdir()) == []
