"""What pods and their tasks left in the store: files of leases that are over, foreign models nobody reads."""

import time
from uuid import UUID

import structlog

from backend.engine.compute.cluster.inputs import PodInputs
from backend.engine.compute.cluster.leases import INCOMING
from backend.engine.compute.cluster.store import PoolStore
from backend.engine.compute.janitor_store import JanitorStore
from backend.kit.database import Database
from backend.ports.storage import Storage

log = structlog.get_logger()
EVERY_S = 300.0


class PodSweeper:
    """The janitor of one organization's pods."""

    def __init__(self, me: str, database: Database, storage: Storage, inputs: PodInputs) -> None:
        self._me = me
        self._database = database
        self._storage = storage
        self._inputs = inputs
        self._last = float("-inf")

    def turn(self) -> bool:
        """One pass when it is due; never more to do at once."""
        if time.monotonic() - self._last >= EVERY_S:
            self._last = time.monotonic()
            self.sweep()
        return False

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
