"""`python -m bench.uploads`: memory of a plain uvicorn while large data samples arrive, many at once.

One API process on a database and a ledger of its own. Each upload is a tar with one file, made as it is sent.
What counts is the peak of the process's resident memory above what it had at rest.
"""

import argparse
import hashlib
import json
import logging
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from uuid import uuid4

import httpx
import psutil
import psycopg2
import structlog

from network.ports import free_port
from network.postgres import temporary_server
from orchestrator.server import Server

GOAL_MB = 64.0
START_S = 60.0
BLOCK = os.urandom(1024 * 1024)
MB = 1024 * 1024
ORGANIZATION, USER, PASSWORD = "MyOrg1MSP", "org-1", "p@sswr0d44"
_BOUNDARY = "b" + uuid4().hex


@dataclass(frozen=True)
class Measured:
    """Resident memory in MB, at rest and at its peak, and the seconds of all uploads together."""

    idle: float
    peak: float
    took_s: float

    @property
    def growth(self) -> float:
        return self.peak - self.idle


@dataclass(frozen=True)
class Api:
    """A running API process of one organization, and its user's token."""

    pid: int
    port: int
    token: str

    def post(self, path: str, **content: object) -> httpx.Response:
        headers = {"Authorization": f"Token {self.token}"}
        url = f"http://127.0.0.1:{self.port}/org-1{path}"
        answer = httpx.post(url, headers=headers, timeout=60, **content)  # type: ignore[arg-type]
        answer.raise_for_status()
        return answer


@contextmanager
def running_api(postgres: str, folder: Path) -> Iterator[Api]:
    """An API on plain uvicorn with a real ledger; databases on the given server, files below `folder`."""
    names = [f"uploads_{uuid4().hex[:12]}" for _ in range(2)]
    for name in names:
        _execute(postgres, f'CREATE DATABASE "{name}"')
    ledger = Server(f"{postgres}/{names[0]}", {"mychannel": [ORGANIZATION]})
    ledger.start()
    try:
        settings = _settings(folder, f"{postgres}/{names[1]}", ledger.address)
        with _process(settings, folder) as (pid, port):
            yield Api(pid, port, _token(port))
    finally:
        ledger.stop()
        for name in names:
            _execute(postgres, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def measure(api: Api, count: int, size: int) -> Measured:
    """`count` uploads of `size` bytes each at the same time.

    Raises:
        RuntimeError: one was refused, or arrived with another checksum.
    """
    manager = _data_manager(api)
    _upload(api, manager, MB)  # what the first upload imports is no growth
    idle = _reset_peak(api.pid)
    started = time.monotonic()
    with ThreadPoolExecutor(count) as threads:
        list(threads.map(lambda _: _upload(api, manager, size), range(count)))
    return Measured(idle, _memory(api.pid, "VmHWM"), time.monotonic() - started)


def _upload(api: Api, manager: str, size: int) -> None:
    """One data sample, streamed."""
    fields = json.dumps({"data_manager_keys": [manager]})
    head = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="json"\r\n\r\n{fields}\r\n'
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="s"; filename="s.tar"\r\n\r\n'
    ).encode()
    member = tarfile.TarInfo("content")
    member.size = size
    head += member.tobuf()
    tail = bytes(-size % 512 + 1024) + f"\r\n--{_BOUNDARY}--\r\n".encode()
    digest = hashlib.sha256()

    def body() -> Iterator[bytes]:
        yield head
        for start in range(0, size, len(BLOCK)):
            piece = BLOCK[: size - start]
            digest.update(piece)
            yield piece
        yield tail

    connection = HTTPConnection("127.0.0.1", api.port, timeout=600)
    headers = {
        "Authorization": f"Token {api.token}",
        "Content-Type": f"multipart/form-data; boundary={_BOUNDARY}",
        "Content-Length": str(len(head) + size + len(tail)),
    }
    connection.request("POST", "/org-1/data_sample/", body=body(), headers=headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    if answer.status != 201:
        raise RuntimeError(f"refused: {answer.status} {content[:500]!r}")
    expected = hashlib.sha256(digest.hexdigest().encode()).hexdigest()
    if json.loads(content)[0]["checksum"] != expected:
        raise RuntimeError("the sample arrived with another checksum")


def _data_manager(api: Api) -> str:
    permission = {"public": True, "authorized_ids": []}
    fields = {"name": "d", "permissions": permission, "logs_permission": permission}
    files = {
        "json": (None, json.dumps(fields)),
        "data_opener": ("opener.py", b"x"),
        "description": ("d.md", b"x"),
    }
    return str(api.post("/data_manager/", files=files).json()["key"])


def _memory(pid: int, line: str) -> float:
    """MB: `VmRSS` (now) or `VmHWM` (the peak) of a process."""
    for row in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if row.startswith(line + ":"):
            return int(row.split()[1]) / 1024
    raise RuntimeError(f"no {line} of process {pid}")


def _reset_peak(pid: int) -> float:
    """Start the peak anew; what is resident now, in MB."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", "ascii")
    return _memory(pid, "VmRSS")


def _settings(folder: Path, database: str, ledger: str) -> Path:
    host, _, port = ledger.rpartition(":")
    path = folder / "settings.json"
    path.touch(mode=0o600)
    settings = {
        "NAME": "org-1",
        "MSP_ID": ORGANIZATION,
        "SUBPATH": "org-1",
        "CHANNELS": {"mychannel": {}},
        "USERS": [{"username": USER, "password": PASSWORD, "channel": "mychannel"}],
        "SECRET_KEY": uuid4().hex * 2,
        "DATABASE_URL": database,
        "ORCHESTRATOR_HOST": host,
        "ORCHESTRATOR_PORT": int(port),
        "MEDIA_ROOT": str(folder / "medias"),
        "DATA_UPLOAD_MAX_SIZE": 8 * 1024 * MB,
        "LOG_LEVEL": "WARNING",
    }
    path.write_text(json.dumps(settings), "utf-8")
    return path


@contextmanager
def _process(settings: Path, folder: Path) -> Iterator[tuple[int, int]]:
    port = free_port()
    command = [sys.executable, "-m", "backend.asgi", "--settings", str(settings)]
    with (folder / "api.log").open("wb") as log:
        process = subprocess.Popen([*command, "--port", str(port)], stdout=log, stderr=log)
    try:
        _wait_ready(process, port, folder / "api.log")
        yield process.pid, port
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def _wait_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline, pause = time.monotonic() + START_S, threading.Event()
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readiness").status_code == 200:
                return
        except httpx.HTTPError:
            pass
        pause.wait(0.2)
    raise RuntimeError(f"the API did not start:\n{log.read_text('utf-8', 'replace')[-2000:]}")


def _token(port: int) -> str:
    url = f"http://127.0.0.1:{port}/org-1/api-token-auth/"
    answer = httpx.post(url, data={"username": USER, "password": PASSWORD}, timeout=60)
    answer.raise_for_status()
    return str(answer.json()["token"])


def _execute(server: str, statement: str) -> None:
    connection = psycopg2.connect(server + "/postgres")
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


def main() -> int:
    """Print one line a form; 1 when memory grew beyond the goal."""
    parser = argparse.ArgumentParser(description="Memory of the API while large uploads arrive.")
    parser.add_argument("--size", type=int, default=2048, help="MB of one upload")
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--folder", type=Path, default=None, help="where the files go, on a disk")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    failed = False
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        with temporary_server(folder) as postgres, running_api(postgres, folder) as api:
            for count in arguments.at_once:
                free = psutil.disk_usage(name).free
                if free < count * arguments.size * MB * 1.1:
                    sys.stderr.write(f"{count} x {arguments.size} MB: not enough disk\n")
                    return 1
                found = measure(api, count, arguments.size * MB)
                rate = count * arguments.size / found.took_s
                sys.stdout.write(
                    f"{count} x {arguments.size} MB: {found.idle:.0f} MB at rest, peak +"
                    f"{found.growth:.1f} MB (goal {GOAL_MB:.0f}), {rate:.0f} MB/s\n"
                )
                failed = failed or found.growth > GOAL_MB
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
