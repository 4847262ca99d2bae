"""A ledger as a process of its own, to be stopped and killed."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

ROOT = Path(__file__).parents[3]
READY_S = 120.0  # a start takes 2 s of CPU, which a busy machine may be slow to give
CHANNELS = "channels: {mychannel: [a, b], yourchannel: [a, d]}\n"


class Process:
    """`python -m orchestrator`; `log` yields its structured lines."""

    def __init__(self, database_url: str, folder: Path, **environment: str) -> None:
        channels = folder / "channels.yaml"
        channels.write_text(CHANNELS, encoding="utf-8")
        command = [sys.executable, "-m", "orchestrator", "--listen", "127.0.0.1:0"]
        command += ["--channels", str(channels), "--database", database_url]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=os.environ | environment
        )
        self.log: Queue[dict[str, Any]] = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.address = str(self.wait_for("ledger_serves")["address"])

    def wait_for(self, event: str) -> dict[str, Any]:
        """The next line of that name. Raises queue.Empty when none comes in time."""
        while True:
            line = self.log.get(timeout=READY_S)
            if line.get("event") == event:
                return line

    @property
    def pid(self) -> int:
        return self._process.pid

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def terminate(self, timeout_s: float) -> int:
        """SIGTERM; the exit code. Raises subprocess.TimeoutExpired when it takes longer."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout_s)

    def close(self) -> None:
        if self._process.poll() is None:
            self.kill()
        self._reader.join()
        if self._process.stderr is not None:
            self._process.stderr.close()

    def _read(self) -> None:
        for line in self._process.stderr or ():
            if line.startswith("{"):
                self.log.put(json.loads(line))


@contextmanager
def ledger(database_url: str, folder: Path, **environment: str) -> Iterator[Process]:
    process = Process(database_url, folder, **environment)
    try:
        yield process
    finally:
        process.close()
