"""The ledger that is measured: a process of its own on a fresh database."""

import json
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg2


@dataclass(frozen=True)
class Running:
    """A ledger process."""

    address: str
    pid: int

    def memory_mb(self) -> float:
        """What it holds for itself, and its share of what others hold too (PSS)."""
        return float(psutil.Process(self.pid).memory_full_info().pss) / 1e6


@contextmanager
def database(server: str) -> Iterator[str]:
    """A fresh database on the PostgreSQL at `server`, dropped afterwards."""
    name = f"bench_ledger_{uuid.uuid4().hex[:12]}"
    connection = psycopg2.connect(f"{server}/postgres")
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            _check_durable(cursor)
            cursor.execute(f'CREATE DATABASE "{name}"')
            try:
                yield f"{server}/{name}"
            finally:
                cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        connection.close()


@contextmanager
def ledger(database_url: str) -> Iterator[Running]:
    with tempfile.TemporaryDirectory() as folder:
        channels = Path(folder) / "channels.yaml"
        channels.write_text("channels: {bench: [bench]}\n", encoding="utf-8")
        command = [sys.executable, "-m", "orchestrator", "--listen", "127.0.0.1:0"]
        command += ["--channels", str(channels), "--database", database_url]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        try:
            for line in process.stderr:
                said = json.loads(line) if line.startswith("{") else {}
                if said.get("event") == "ledger_serves":
                    yield Running(str(said["address"]), process.pid)
                    return
            raise RuntimeError("the ledger did not start")
        finally:
            process.terminate()
            process.wait()
            process.stderr.close()


def _check_durable(cursor: "psycopg2.extensions.cursor") -> None:
    """A figure of a server that forgets is worth nothing.

    Raises:
        RuntimeError: it does not wait for the disk.
    """
    for setting in ("fsync", "synchronous_commit"):
        cursor.execute(f"SHOW {setting}")
        row = cursor.fetchone()
        if row != ("on",):
            raise RuntimeError(f"PostgreSQL has {setting} {row}: such a server is not measured")
