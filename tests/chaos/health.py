"""When a network was last seen unwell: by its supervisor's report, looked at several times a second."""

import threading
import time
from types import TracebackType
from typing import Self

import psutil

from network.layout import Layout
from network.report import Report

LOOK_S = 0.2


class Health:
    """A thread that looks while its block runs; `unwell` is the last bad moment, of time.time()."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="health", daemon=True)
        self.unwell = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join(5)

    def _look(self) -> None:
        while not self._over.wait(LOOK_S):
            if not self._is_well():
                self.unwell = time.time()

    def _is_well(self) -> bool:
        report = Report.read(self._layout)
        parts = all(row.healthy for row in report.rows)
        return bool(report.rows) and parts and all(psutil.pid_exists(a.pid) for a in report.actors)
