"""What pods left in the store: files of leases that are over, foreign models nobody reads, old logs."""

import time
from uuid import UUID

import structlog

from backend.engine.compute.cluster.inputs import PodInputs
from backend.engine.compute.cluster.leases import INCOMING
from backend.engine.compute.cluster.store import PoolStore
from backend.engine.compute.janitor_store import JanitorStore
from backend.engine.task_logs.kept import STORED
from backend.kit.database import Database
from backend.ports.storage import Storage

log = structlog.get_logger()
EVERY_S = 300.0
LOGS_EVERY = 12
"""Passes: hourly."""


class PodSweeper:
    """The janitor of one organization's pods."""

    def __init__(
        self, me: str, database: Database, storage: Storage, inputs: PodInputs, retention_s: int
    ) -> None:
        """`retention_s`: how long logs of successes are kept."""
        self._me = me
        self._retention_s = retention_s
        self._passes = 0
        self._database = database
        self._storage = storage
        self._inputs = inputs
        self._last = float("-inf")

    def turn(self) -> bool:
        """One pass when it is due; never more to do at once."""
        if time.monotonic() - self._last >= EVERY_S:
            self._last = time.monotonic()
            self.sweep()
            if self._passes % LOGS_EVERY == 0:
                self.forget_logs()
            self._passes += 1
        return False

    def forget_logs(self) -> None:
        """Remove logs of successes that are older than the retention time."""
        names = {UUID(name.split("/")[1]): name for name in self._storage.keys(STORED)}
        with self._database.transaction(durable=False) as session:
            recent = PoolStore(session).recent(list(names), self._retention_s)
        for task, name in names.items():
            if task not in recent:
                self._storage.delete(name)

    def sweep(self) -> None:
        """The names are listed before the rows are read: what comes meanwhile is not looked at."""
        arrived: dict[UUID, list[str]] = {}
        for name in self._storage.keys(INCOMING):
            arrived.setdefault(UUID(name.split("/")[1]), []).append(name)
        models = self._inputs.staged_models()
        with self._database.transaction(durable=False) as session:
            over = PoolStore(session).over(list(arrived))
            unread = JanitorStore(session, self._me).unused(models)
        for task in over:
            for name in arrived[task]:
                self._storage.delete(name)
        for key in unread:
            self._inputs.drop_model(key)
        if over or unread:
            log.info("pod_files_removed", tasks=len(over), models=len(unread))
