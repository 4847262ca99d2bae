"""A broken or refused upload leaves no file and no row, whoever broke it and when."""

import errno
import gzip
import io
import os
import socket
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import httpx
import pytest
from sqlalchemy import text

from backend.assets import uploads
from backend.ports.ledger.client import ChannelLedger
from backend.ports.ledger.errors import LedgerError
from backend.ports.storage import FilesystemStorage
from tests.integration.backend.network_of_two.assets import (
    post_data_manager,
    post_function,
    post_samples,
    zipped,
)
from tests.integration.backend.network_of_two.conftest import Network, Organization, eventually
from tests.integration.backend.network_of_two.leftovers import held

BOUNDARY = "b"
HEAD = (
    b'--b\r\nContent-Disposition: form-data; name="json"\r\n\r\n{}\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
)
GIB = 1024**3
SAMPLE = zipped({"a": b"1"})

Post = Callable[[Organization], httpx.Response]


@pytest.fixture(scope="module")
def manager(network: Network) -> str:
    return str(post_data_manager(network.one).json()["key"])


@pytest.fixture
def posts(manager: str) -> dict[str, Post]:
    """An honest upload of each kind, by the table that notes its files."""
    return {
        "function_file": post_function,
        "data_manager_file": post_data_manager,
        "data_sample_file": lambda one: post_samples(one, [manager], SAMPLE, SAMPLE),
    }


@contextmanager
def _sending(organization: Organization, path: str) -> Iterator[socket.socket]:
    """A connection on which the head of a POST of a gigabyte was sent."""
    url = urlsplit(organization.url)
    with socket.create_connection((str(url.hostname), int(url.port or 0)), timeout=20) as sender:
        sender.sendall(
            f"POST {url.path}{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {GIB}\r\n"
            f"Authorization: {organization.client.headers['Authorization']}\r\n"
            f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n".encode()
            + HEAD
        )
        yield sender


@pytest.mark.parametrize("path", ["/function/", "/data_manager/", "/data_sample/"])
def test_connection_cut_in_the_middle(network: Network, path: str) -> None:
    before = held(network.one)
    with _sending(network.one, path) as sender:
        sender.sendall(bytes(3_000_000))
        eventually(partial(_grows, network.one, before[0]))
    assert eventually(lambda: held(network.one) == before)


def _grows(organization: Organization, before: set[str]) -> bool:
    root = organization.node.settings.MEDIA_ROOT
    return any((root / name).stat().st_size > 1_000_000 for name in organization.files() - before)


def test_answer_to_a_file_beyond_the_limit_does_not_wait_for_its_end(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network.one.node.settings, "DATA_UPLOAD_MAX_SIZE", 1000)
    monkeypatch.setattr(uploads, "READ_ON", 1_000_000)
    before = held(network.one)
    with _sending(network.one, "/function/") as sender:
        sender.sendall(bytes(3_000_000))  # of the gigabyte that was announced
        answer = sender.recv(65536)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'{"detail":["File too large"],"key":"(not computed)"}' in answer
    assert held(network.one) == before


def test_file_behind_one_that_is_too_large_is_not_called_missing(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network.one.node.settings, "DATA_UPLOAD_MAX_SIZE", 1000)
    monkeypatch.setattr(uploads, "READ_ON", 1_000_000)
    files: dict[str, Any] = {"description": ("d", bytes(3_000_000)), "file": ("f", SAMPLE)}
    answer = network.one.post("/function/", files=files)
    assert answer.json() == {"detail": ["File too large"], "key": "(not computed)"}


def test_organization_without_builder_answers_before_the_upload(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network.one.node.settings, "BUILDER_ENABLED", False)
    before = held(network.one)
    with _sending(network.one, "/function/") as sender:
        answer = sender.recv(65536)
    assert answer.startswith(b"HTTP/1.1 422 ")
    assert held(network.one) == before


@contextmanager
def _refusing(organization: Organization, table: str) -> Iterator[None]:
    """The database says that its disk is full whenever a row of `table` is to be written."""
    database = organization.node.database
    with database.transaction() as session:
        session.connection().execute(
            text(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                "RAISE EXCEPTION 'no space' USING ERRCODE = 'disk_full'; END $$"
            )
        )
        session.connection().execute(
            text(
                f"CREATE TRIGGER refuse BEFORE INSERT ON {table} "
                "FOR EACH ROW EXECUTE FUNCTION refuse()"
            )
        )
    try:
        yield
    finally:
        with database.transaction() as session:
            session.connection().execute(text("DROP FUNCTION refuse CASCADE"))


TABLES = ["function_file", "data_manager_file", "data_sample_file"]


@pytest.mark.parametrize("table", TABLES)
def test_refusal_of_the_database(network: Network, posts: dict[str, Post], table: str) -> None:
    before = held(network.one)
    with _refusing(network.one, table):
        answer = posts[table](network.one)
    assert (answer.status_code, answer.json()) == (503, {"detail": "Service unavailable"})
    assert held(network.one) == before
    assert posts[table](network.one).status_code == 201


def _refuse(*_: object) -> None:
    raise LedgerError(grpc.StatusCode.INVALID_ARGUMENT, "OE0101: no")


@pytest.mark.parametrize("table", TABLES)
def test_refusal_of_the_ledger(
    network: Network, posts: dict[str, Post], table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for call in ("register_function", "register_data_manager", "register_data_samples"):
        monkeypatch.setattr(ChannelLedger, call, _refuse)
    before = held(network.one)
    answer = posts[table](network.one)
    assert (answer.status_code, answer.json()) == (400, {"detail": "OE0101: no"})
    assert held(network.one) == before


class _FullAfterOne:
    """In place of FilesystemStorage._place: there is space for one file more."""

    def __init__(self) -> None:
        self.placed: list[Path] = []
        self._place = FilesystemStorage._place

    def __call__(self, storage: FilesystemStorage, source: Path, target: Path) -> None:
        if self.placed:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.placed.append(target)
        self._place(storage, source, target)


@pytest.mark.parametrize("table", TABLES)
def test_full_disk_between_two_files(
    network: Network, posts: dict[str, Post], table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = _FullAfterOne()
    monkeypatch.setattr(
        FilesystemStorage, "_place", lambda self, source, target: full(self, source, target)
    )
    before = held(network.one)
    answer = posts[table](network.one)
    assert answer.status_code == 507
    assert answer.json() == {"detail": "No space left to store this file"}
    assert len(full.placed) == 1
    assert held(network.one) == before


def _bomb() -> bytes:
    """A few kilobytes whose first header claims a gigabyte."""
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, GIB
    return gzip.compress(header.tobuf(tarfile.USTAR_FORMAT) + bytes(16 * 1024**2))


def _link() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return buffer.getvalue()


def _twice() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for content in (b"1", b"22"):
            info = tarfile.TarInfo("Dockerfile")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


HOSTILE = {
    "bomb": _bomb(),
    "link": _link(),
    "a name twice": _twice(),
    "names that differ by case": zipped({"Dockerfile": b"1", "DOCKERFILE": b"2"}),
    "a file below a file": zipped({"a": b"1", "a/b": b"2", "Dockerfile": b"3"}),
    "a way out": zipped({"../Dockerfile": b"1", "Dockerfile": b"2"}),
    "cut": zipped({"Dockerfile": os.urandom(5_000), "a": b"1"})[:4_000],
    "no archive": b"#!/bin/sh",
    "nothing in it": zipped({}),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("room", ["function", "sample", "second sample"])
def test_hostile_archive(network: Network, manager: str, room: str, kind: str) -> None:
    before = held(network.one)
    match room:
        case "function":
            answer = post_function(network.one, archive=HOSTILE[kind])
        case "sample":
            answer = post_samples(network.one, [manager], HOSTILE[kind])
        case _:
            answer = post_samples(network.one, [manager], SAMPLE, HOSTILE[kind])
    assert answer.status_code == 400, answer.text
    assert answer.json()["detail"]
    assert held(network.one) == before
