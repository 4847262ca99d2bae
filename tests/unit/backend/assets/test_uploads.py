"""Multipart bodies: streamed, bounded, exact about what is malformed (rest-api.md 1.3)."""

import hashlib
import tracemalloc
from collections.abc import Iterable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastapi import Request

from backend.assets.uploads import JSON_LIMIT, MOST_FILES, received
from backend.kit.errors import ApiError, BadRequest, TooLarge
from backend.ports.storage import FilesystemStorage

HEAD = b'--b\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\n\r\n'
TEXT = b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n'
END = b"--b--\r\n"


def _request(
    chunks: Iterable[bytes], content_type: str = "multipart/form-data; boundary=b"
) -> Request:
    pieces = iter(chunks)

    async def receive() -> dict[str, Any]:
        body = next(pieces, None)
        return {"type": "http.request", "body": body or b"", "more_body": body is not None}

    headers = [(b"content-type", content_type.encode())]
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


def _receive(
    root: Path, chunks: Iterable[bytes], *, limit: int = 10**9, **options: str
) -> tuple[dict[str, Any], dict[str, tuple[str, int, str, bool]]]:
    """The JSON part, and (name, size, checksum, too large) of each file."""

    async def run() -> Any:
        storage = FilesystemStorage(root)
        async with received(_request(chunks, **options), storage, file_limit=limit) as upload:
            return upload.json, {
                part: (file.name, file.size, file.writer.checksum, file.too_large)
                for part, file in upload.files.items()
            }

    result: tuple[dict[str, Any], dict[str, tuple[str, int, str, bool]]] = anyio.run(run)
    return result


def _left(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def test_parts_arrive_in_order_and_nothing_stays(tmp_path: Path) -> None:
    body = (
        TEXT % b"json" + b'{"a": [1]}\r\n' + HEAD % (b"one", b"C:\\x\\f.zip") + b"abc\r\n"
        + HEAD % (b"two", b"../g") + b"\r\n" + HEAD % (b"one", b"h") + b"xy\r\n"
        + END
    )  # fmt: skip
    document, files = _receive(tmp_path, [body[i : i + 7] for i in range(0, len(body), 7)])
    assert document == {"a": [1]}
    assert list(files) == ["one", "two"]
    assert files["one"] == ("h", 2, hashlib.sha256(b"xy").hexdigest(), False)
    assert files["two"][:2] == ("g", 0)
    assert _left(tmp_path) == []


def _body(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """A body of one file, made as it is read."""
    yield HEAD % (b"file", b"f")
    yield from pieces
    yield b"\r\n" + END


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    piece, count = bytes(64 * 1024), 2_000
    tracemalloc.start()
    _, files = _receive(tmp_path, _body(repeat(piece, count)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert files["file"][1] == count * len(piece)
    assert peak < 8 * 1024**2


def test_file_beyond_the_limit_is_marked_and_not_kept(tmp_path: Path) -> None:
    chunks = [HEAD % (b"file", b"f"), bytes(1_000_000), bytes(1_000_000), b"\r\n" + END]
    _, files = _receive(tmp_path, chunks, limit=1000)
    assert files["file"][3]
    assert _left(tmp_path) == []


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [b"--b"],
        [b"nonsense"],
        [HEAD % (b"file", b"f"), b"abc"],
        [b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n", END],
        [b"--b\r\nX: y\r\n\r\nx\r\n", END],
        [(HEAD % (b"f", b"f") + b"\r\n") * (MOST_FILES + 1), END],
        [TEXT % b"json" + b"{\r\n", END],
        [TEXT % b"json" + b"[]\r\n", END],
        [TEXT % b"json" + b'{"a": "\\u0000"}\r\n', END],
    ],
)
def test_malformed_bodies_are_refused_and_leave_nothing(
    tmp_path: Path, chunks: list[bytes]
) -> None:
    with pytest.raises(ApiError) as refused:
        _receive(tmp_path, chunks)
    assert refused.value.status_code == 400
    assert _left(tmp_path) == []


def test_boundary_is_required(tmp_path: Path) -> None:
    with pytest.raises(BadRequest):
        _receive(tmp_path, [b""], content_type="multipart/form-data")


def test_text_parts_are_bounded(tmp_path: Path) -> None:
    with pytest.raises(TooLarge):
        _receive(tmp_path, [TEXT % b"json", bytes(JSON_LIMIT + 1), b"\r\n" + END])


def test_other_bodies_are_uploads_without_files(tmp_path: Path) -> None:
    document, files = _receive(tmp_path, [b'{"path": "x"}'], content_type="application/json")
    assert (document, files) == ({"path": "x"}, {})
