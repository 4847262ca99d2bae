"""Who may follow which log, and where it lies."""

from pathlib import Path
from uuid import UUID

from backend.access.caller import Caller
from backend.assets.downloads import check_permitted
from backend.assets.tasks.states import FINAL
from backend.engine.compute.cluster.leases import arrivals
from backend.engine.compute.results import LOG, log_file
from backend.engine.task_logs.kept import KeptLogs, stored_log
from backend.engine.task_logs.sources import FileSource, Source, StoredSource
from backend.engine.task_logs.store import Logged, logged
from backend.kit.errors import Gone, NotFound
from backend.node import Node
from backend.ports.storage import StoredFileMissing


class TaskLogs:
    """The log of one task for one caller."""

    def __init__(self, node: Node, caller: Caller, task: UUID) -> None:
        self._node = node
        self._caller = caller
        self._task = task
        settings = node.settings
        self._outbox = settings.MEDIA_ROOT / "outbox" / str(task)
        self._in_pods = settings.COMPUTE == "kuberay"
        self._kept = KeptLogs(settings.MEDIA_ROOT, settings.TASK_LOG_RETENTION)

    def look(self) -> Logged | None:
        """The task's row as it is now."""
        with self._node.database.reading() as connection:
            return logged(connection, self._caller.channel, self._task)

    def permitted(self) -> Logged:
        """The row, when the caller may follow this log.

        Raises:
            NotFound: unknown task (404). PermissionDenied: the logs permission says no (403).
            Gone: there is nothing to read, or another organization asks for the log of a task that is over and
            did not fail (410): such logs never leave.
        """
        row = self.look()
        if row is None:
            raise NotFound.of("ComputeTask")
        check_permitted(self._caller, public=row.public, authorized_ids=row.authorized_ids)
        if row.worker != self._node.own:
            if self._caller.is_organization:
                raise Gone
        elif row.status in set(FINAL):
            path = self.path(row)
            if path is None or not path.exists():
                raise Gone
        return row

    def source(self, row: Logged) -> Source | None:
        """The log as it is or will be; a pod's is among what it has sent, under other names once it is over."""
        if not self._in_pods or row.status in set(FINAL):
            return FileSource.open(self.path(row))
        if row.lock_token is None:
            return None
        task = self._task
        keys = [f"{arrivals(str(task), row.lock_token)}/{LOG}", log_file(task)]
        if not self._caller.is_organization:
            keys.append(stored_log(task))
        return StoredSource(self._node.storage, keys, self._node.settings.FUNCTION_LOG_HEAD_BYTES)

    def path(self, row: Logged) -> Path | None:
        """Where the log lies: beside the outputs while the task runs, then in the storage or among the kept."""
        if row.status not in set(FINAL):
            return self._outbox / row.lock_token / "log" if row.lock_token else None
        if row.file is not None:
            return self._stored(row.file)
        if self._caller.is_organization:
            return None
        return (
            self._stored(stored_log(self._task)) if self._in_pods else self._kept.path(self._task)
        )

    def _stored(self, key: str) -> Path | None:
        try:
            return self._node.storage.local_path(key)
        except StoredFileMissing:
            return None
