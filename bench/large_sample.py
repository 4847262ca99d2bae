"""A sample of one gigabyte: registered over HTTP, then brought to a task, beside a copy on the same disk."""

import os
import shutil
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.embedded import Embedded
from bench.table import Figure
from tests.chaos.caller import Caller, task
from tests.chaos.scenarios import wait

FILES = 60
FILE_BYTES = 16 << 20
GOAL = 0.5
MEMORY_GOAL_MB = 64.0
MB = 1_000_000


def figures(network: Embedded) -> list[Figure]:
    caller = network.callers()[0]
    function = caller.function(data=True, score=False)
    _done(caller, function, caller.data(1))  # images built, everything awake
    with TemporaryDirectory(prefix="sr-bench-", dir=network.state) as folder:
        archive = _archive(Path(folder))
        size = archive.stat().st_size
        copied_s = _copied_s(archive)
        manager = caller.data_manager()
        with growth(network.processes()) as grown:
            began = time.monotonic()
            with archive.open("rb") as content:
                sample = caller.sample(manager, content, timeout=600)
            registered_s = time.monotonic() - began
            staged_s = _done(caller, function, (manager, sample))
    speed, copying = size / (registered_s + staged_s) / MB, size / copied_s / MB
    name = "1 GB sample, registered and staged"
    return [
        Figure(name, "MB/s", speed, copying, "copied on the same disk", GOAL, at_least=True),
        Figure("... registered", "s", registered_s, copied_s, "copied"),
        Figure("... staged", "s", staged_s, copied_s, "copied"),
        Figure("... memory of all processes above rest", "MB", grown[0], goal=MEMORY_GOAL_MB),
    ]


@contextmanager
def growth(processes: list[int]) -> Iterator[list[float]]:
    """The peak of these processes' own memory above what it was, in MB, once the block has ended."""
    rest, peak, over = _private_mb(processes), [0.0], threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            peak[0] = max(peak[0], _private_mb(processes) - rest)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join(5)


def _private_mb(processes: list[int]) -> float:
    return sum(map(_anonymous_kb, processes)) / 1000


def _anonymous_kb(pid: int) -> int:
    """What is neither a file's nor shared: pages of files come and go with the machine's memory."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("RssAnon:")), 0)


def _archive(folder: Path) -> Path:
    """Bytes that no compression makes smaller."""
    path = folder / "sample.tar"
    with tarfile.open(path, "w") as tar:
        for number in range(FILES):
            file = folder / f"part-{number}"
            file.write_bytes(os.urandom(FILE_BYTES))
            tar.add(file, file.name)
            file.unlink()
        (folder / "number.json").write_text("1")
        tar.add(folder / "number.json", "number.json")
    return path


def _copied_s(path: Path) -> float:
    began = time.monotonic()
    copy = path.with_suffix(".copy")
    shutil.copyfile(path, copy)
    with copy.open("rb") as file:
        os.fsync(file.fileno())
    took = time.monotonic() - began
    copy.unlink()
    return took


def _done(caller: Caller, function: str, data: tuple[str, str]) -> float:
    """Run one task on this data; the seconds from its registration to its start."""
    plan = caller.plan()
    only = task(plan, function, caller.msp_id, data=data, score=False)
    began = time.time()
    caller.tasks([only])
    wait(lambda: caller.status("task", only["key"]) == "STATUS_DONE", "the task ends", 600)
    started = datetime.fromisoformat(caller.get(f"/task/{only['key']}/")["start_date"])
    return started.timestamp() - began
