"""When a network was last seen unwell: by its supervisor's report, looked at several times a second."""

import threading
import time
from types import TracebackType
from typing import Self

import psutil

from network.layout import Layout
from network.report import Report

LOOK_S = 0.2
OURS = ("control-", "runner-")
"""Actors whose names stay; a replica of Serve gets a new one each time."""


class Health:
    """A thread that looks while its block runs; `unwell` is the last bad moment, of time.time().

    Actors that lived at the beginning have to live: one that is being restarted is in no report.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        names = {actor.name for actor in Report.read(layout).actors}
        self._actors = {name for name in names if name.startswith(OURS)}
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
        living = {actor.name for actor in report.actors if psutil.pid_exists(actor.pid)}
        parts = bool(report.rows) and all(row.healthy for row in report.rows)
        return parts and living >= self._actors
