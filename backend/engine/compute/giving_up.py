"""Failures that no runner reports: found before a lease, or because of leases that ended in nothing."""

import hashlib
from pathlib import Path

from sqlmodel import Session

from backend.engine.compute.decisions import Verdict
from backend.engine.compute.outbox import Entry, OutboxStore
from backend.engine.compute.queue import Claimed
from backend.engine.compute.results import Accepted, AcceptedLog, log_file
from backend.kit.database import Database
from backend.ports.storage import Storage


def fail_internally(session: Session, work: Claimed, reason: str) -> Entry | None:
    """Commit an INTERNAL failure that no runner will report (rule 44); None when the lease is lost."""
    store = OutboxStore(session)
    held = store.weigh(work.key, work.lock_token)
    if held.verdict is not Verdict.ACCEPT:
        return None
    accepted = Accepted(failure="INTERNAL", reason=reason, executing=False)
    return store.put(work.key, work.channel, work.lock_token, accepted)


def fail_with_a_log(database: Database, outbox: Path, work: Claimed, reason: str) -> Entry | None:
    """A failure by the user's own wish: EXECUTION, since its log is what users can read.

    The log's file exists before the row that names it (rule 1). None when the lease is lost.
    """
    content = f"The task was not started: {reason}.\n".encode()
    folder = outbox / str(work.key) / work.lock_token
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / "log"
    path.write_bytes(content)
    log = AcceptedLog(
        source=str(path),
        file=log_file(work.key),
        checksum=hashlib.sha256(content).hexdigest(),
        size=len(content),
    )
    accepted = Accepted(failure="EXECUTION", reason=reason, executing=False, log=log)
    with database.transaction() as session:
        store = OutboxStore(session)
        if store.weigh(work.key, work.lock_token).verdict is not Verdict.ACCEPT:
            return None
        return store.put(work.key, work.channel, work.lock_token, accepted)


def fail_while_running(
    database: Database, storage: Storage, work: Claimed, reason: str
) -> Entry | None:
    """A running function that is to blame for the end of its container: EXECUTION, with a line as its log.

    The log is in the storage before the row that names it (rule 1). None when the lease is lost.
    """
    content = f"The function was ended: {reason}.\n".encode()
    stored = storage.put(log_file(work.key), [content])
    log = AcceptedLog(source=None, file=stored.key, checksum=stored.checksum, size=stored.size)
    accepted = Accepted(failure="EXECUTION", reason=reason, log=log)
    with database.transaction() as session:
        store = OutboxStore(session)
        if store.weigh(work.key, work.lock_token).verdict is not Verdict.ACCEPT:
            return None
        return store.put(work.key, work.channel, work.lock_token, accepted)
