"""All SQL about live logs: a task's state, and who may read what it says."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

_TASK = text("""
    SELECT t.status, t.worker, t.logs_permission_public AS public,
           t.logs_permission_authorized_ids AS authorized_ids, w.state, w.lock_token, l.file
    FROM compute_task t LEFT JOIN work w ON w.kind = 'task' AND w.key = t.key
    LEFT JOIN log_file l ON l.asset_key = t.key
    WHERE t.key = :key AND t.channel = :channel
""")


@dataclass(frozen=True, slots=True)
class Logged:
    """`lock_token` names the folder of the last lease, `file` a failure's log in the storage."""

    status: str
    worker: str
    public: bool
    authorized_ids: tuple[str, ...]
    state: str | None
    lock_token: str | None
    file: str | None


def logged(connection: Connection, channel: str, task: UUID) -> Logged | None:
    """None when the channel has no such task."""
    row = connection.execute(_TASK, {"key": task, "channel": channel}).one_or_none()
    if row is None:
        return None
    return Logged(**{**row._mapping, "authorized_ids": tuple(row.authorized_ids)})
