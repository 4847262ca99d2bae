"""The scheduler's turn: prepare new tasks, open again what nobody keeps alive."""

import time
from collections.abc import Callable

import structlog

from backend.engine.compute.preparation import Preparation
from backend.engine.compute.queue import WorkQueue
from backend.engine.compute.tables import Kind
from backend.kit.database import Database

log = structlog.get_logger()
SWEEP_S = 1.0
TOPICS = {Kind.TASK: ("new", "ready"), Kind.BUILD: ("build",)}


class Scheduler:
    def __init__(
        self, database: Database, preparation: Preparation, wake: Callable[[set[str]], None]
    ) -> None:
        self._database = database
        self._preparation = preparation
        self._wake = wake
        self._swept = 0.0

    def turn(self) -> bool:
        """Prepare a batch; True while more may be waiting."""
        worked = self._preparation.turn()
        if time.monotonic() - self._swept > SWEEP_S:
            self._swept = time.monotonic()
            self.sweep()
        return worked

    def sweep(self) -> None:
        """Leases that ran out: their work may be claimed again."""
        with self._database.transaction() as session:
            opened = WorkQueue(session).sweep()
        if opened:
            log.warning("leases_ran_out", works=[f"{kind}:{key}" for kind, key in opened])
            self._wake({topic for kind, _ in opened for topic in TOPICS.get(kind, ("chore",))})
