"""A download out of a bucket, as HTTP."""

from collections.abc import Callable

import anyio
import httpx
import pytest
from fastapi import FastAPI, Request, Response

from backend.assets.stored_answer import StoredAnswer
from backend.ports.storage import Storage
from tests.integration.backend.ports.storage.contract import LARGE, content, store

HEADERS = {"ETag": '"abc"', "Content-Disposition": "attachment"}
Get = Callable[..., httpx.Response]


@pytest.fixture
def get(s3: Storage) -> Get:
    app = FastAPI()
    store(s3, "models/k/model", content(LARGE))

    @app.get("/model")
    def model(request: Request) -> Response:
        return StoredAnswer(request, s3, "models/k/model", "application/octet-stream", HEADERS)

    async def ask(headers: dict[str, str]) -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get("/model", headers=headers)

    return lambda **headers: anyio.run(
        ask, {name.replace("_", "-"): value for name, value in headers.items()}
    )


def test_whole_file(get: Get) -> None:
    answer = get()
    assert (answer.status_code, answer.content == content(LARGE)) == (200, True)
    assert answer.headers["content-length"] == str(LARGE)
    assert (answer.headers["etag"], answer.headers["accept-ranges"]) == ('"abc"', "bytes")


def test_cut_transfer_is_continued(get: Get) -> None:
    rest = get(range=f"bytes={LARGE - 100}-", if_range='"abc"')
    assert (rest.status_code, rest.content) == (206, content(LARGE)[-100:])
    assert rest.headers["content-range"] == f"bytes {LARGE - 100}-{LARGE - 1}/{LARGE}"


def test_other_version_comes_whole(get: Get) -> None:
    answer = get(range="bytes=0-9", if_range='"older"')
    assert (answer.status_code, len(answer.content)) == (200, LARGE)


def test_who_has_it_gets_no_bytes(get: Get) -> None:
    answer = get(if_none_match='"abc"')
    assert (answer.status_code, answer.content) == (304, b"")


def test_range_behind_the_end_is_refused(get: Get) -> None:
    answer = get(range=f"bytes={LARGE}-")
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{LARGE}")
