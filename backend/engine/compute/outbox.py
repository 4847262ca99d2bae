"""All SQL of the outbox: the one result of a task, from its acceptance to the ledger's last answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlmodel import Session

from backend.engine.compute.decisions import Verdict, judge
from backend.engine.compute.results import Accepted
from backend.engine.compute.tables import State

REPORT_S = 10
"""How long a reporter may be silent before another one repeats its report."""

_WORK = text("""
    SELECT w.channel, w.state, w.lock_token, w.offer, w.attempts, o.lock_token AS recorded,
           o.task_key IS NOT NULL AS kept
    FROM work w LEFT JOIN outbox o ON o.task_key = w.key
    WHERE w.kind = 'task' AND w.key = :key FOR UPDATE OF w
""")
_PUT = text("""
    WITH kept AS (
        INSERT INTO outbox (task_key, channel, lock_token, result, attempts, claimed_until)
        VALUES (:key, :channel, :token, CAST(:result AS jsonb), 0,
                now() + make_interval(secs => :report))
        ON CONFLICT (task_key) DO NOTHING
    ), timed AS (
        INSERT INTO profiling_step (compute_task_key, step, duration)
        SELECT :key, step, duration
        FROM json_to_recordset(CAST(:steps AS json)) AS r(step text, duration bigint)
        ON CONFLICT (compute_task_key, step) DO UPDATE SET duration = excluded.duration
    ), stored AS (
        INSERT INTO model_file (key, channel, bucket, file, checksum, size, creation_date)
        SELECT key, :channel, 'substra-model', file, checksum, size, now()
        FROM json_to_recordset(CAST(:models AS json))
             AS r(key uuid, file text, checksum text, size bigint)
        ON CONFLICT (key) DO NOTHING
    )
    UPDATE work SET state = 'reporting', leased_until = NULL, last_error = :reason, cause = NULL,
                    offer = NULL, changed = now()
    WHERE kind = 'task' AND key = :key
""")
_AGAIN = text("""
    UPDATE work SET state = 'new', leased_until = NULL, session = NULL, last_error = :reason,
                    cause = :cause, offer = NULL, waits_since = NULL, changed = now(),
                    not_before = now() + make_interval(secs => :after)
    WHERE kind = 'task' AND key = :key
""")
_LOG_FILE = text("""
    INSERT INTO log_file (asset_key, channel, asset_type, bucket, file, checksum, size, creation_date)
    VALUES (:key, :channel, :type, 'substra-asset-logs', :file, :checksum, :size, now())
    ON CONFLICT (asset_key) DO UPDATE
        SET file = excluded.file, checksum = excluded.checksum, size = excluded.size
""")
_STEPS = text("""
    INSERT INTO profiling_step (compute_task_key, step, duration)
    SELECT :key, step, duration FROM json_to_recordset(CAST(:rows AS json)) AS r(step text, duration bigint)
    ON CONFLICT (compute_task_key, step) DO UPDATE SET duration = excluded.duration
""")
_CLAIM = text("""
    UPDATE outbox SET claimed_until = now() + make_interval(secs => :report), attempts = attempts + 1
    WHERE task_key = (
        SELECT task_key FROM outbox
        WHERE (claimed_until IS NULL OR claimed_until < now()) AND not_before <= now()
        ORDER BY not_before, task_key LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING task_key, channel, result, attempts
""")
_LATER = text("""
    UPDATE outbox SET claimed_until = NULL, not_before = now() + make_interval(secs => :after),
                      last_error = :error
    WHERE task_key = :key
""")
_REPLACE = text("UPDATE outbox SET result = CAST(:result AS jsonb) WHERE task_key = :key")
_FINISH = text("""
    WITH told AS (DELETE FROM outbox WHERE task_key = :key)
    UPDATE work SET state = 'done', session = NULL, changed = now()
    WHERE kind = 'task' AND key = :key AND state = 'reporting'
""")
_WITHDRAW = text("""
    WITH again AS (
        UPDATE work SET state = 'new', session = NULL, lock_token = NULL, last_error = :reason,
                        cause = :cause, waits_since = NULL, not_before = now(), changed = now()
        WHERE kind = 'task' AND key = :key AND state = 'reporting' AND attempts <= :most RETURNING key
    ), forgotten AS (
        DELETE FROM model_file WHERE key = ANY(:models) AND EXISTS (SELECT FROM again)
    )
    DELETE FROM outbox WHERE task_key IN (SELECT key FROM again) RETURNING task_key
""")
_FORGET_MODELS = text("DELETE FROM model_file WHERE key = ANY(:keys)")


@dataclass(frozen=True, slots=True)
class Entry:
    """A result that is being reported; `resumed`: by another one than who accepted it."""

    task: UUID
    channel: str
    accepted: Accepted
    attempts: int = 1
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """The work of a task, locked, and what a given lock token means for it."""

    verdict: Verdict
    channel: str
    offer: dict[str, Any] | None
    attempts: int = 0


class OutboxStore:
    """The outbox inside one transaction of the caller."""

    def __init__(self, session: Session) -> None:
        self._connection = session.connection()

    def weigh(self, task: UUID, token: str) -> Held:
        """Lock the task's work and judge a result that carries this token."""
        row = self._connection.execute(_WORK, {"key": task}).first()
        if row is None:
            return Held(Verdict.REFUSE, "", None)
        recorded = (row.recorded or "") if row.kept else None
        verdict = judge(State(row.state), row.lock_token, recorded, token)
        return Held(verdict, row.channel, row.offer, row.attempts)

    def put(
        self,
        task: UUID,
        channel: str,
        token: str | None,
        accepted: Accepted,
        steps: Mapping[str, int] | None = None,
    ) -> Entry:
        """Commit the task's one result, with the rows of its files, before any call to the ledger."""
        values = {
            "key": task,
            "channel": channel,
            "token": token,
            "result": accepted.model_dump_json(),
            "report": REPORT_S,
            "reason": accepted.reason or None,
            "steps": _rows(steps or {}),
            "models": "[" + ",".join(model.model_dump_json() for model in accepted.models) + "]",
        }
        self._connection.execute(_PUT, values)
        self._log(task, channel, accepted)
        return Entry(task, channel, accepted)

    def again(self, task: UUID, reason: str, after_s: float) -> None:
        """The lease ended in nothing, through no fault of the user: prepare the task anew after a while."""
        cause = f"it will be tried again: {reason}"[:500]
        values = {"key": task, "reason": reason[:2000], "cause": cause, "after": after_s}
        self._connection.execute(_AGAIN, values)

    def _log(self, task: UUID, channel: str, accepted: Accepted) -> None:
        if accepted.log:
            self.log_file(task, channel, "FAILED_ASSET_COMPUTE_TASK", accepted.log)

    def log_file(self, asset: UUID, channel: str, kind: str, log: Any) -> None:
        values = {"key": asset, "channel": channel, "type": kind, "file": log.file}
        self._connection.execute(_LOG_FILE, values | {"checksum": log.checksum, "size": log.size})

    def steps(self, task: UUID, steps: Mapping[str, int]) -> None:
        self._connection.execute(_STEPS, {"key": task, "rows": _rows(steps)})

    def claim(self) -> Entry | None:
        """A result whose reporter is silent, or whose time to try again has come."""
        row = self._connection.execute(_CLAIM, {"report": REPORT_S}).first()
        if row is None:
            return None
        accepted = Accepted.model_validate(row.result)
        return Entry(row.task_key, row.channel, accepted, row.attempts, resumed=True)

    def later(self, task: UUID, error: str, after_s: float) -> None:
        self._connection.execute(_LATER, {"key": task, "error": error[:2000], "after": after_s})

    def replace(self, task: UUID, channel: str, accepted: Accepted) -> None:
        """The result cannot be reported as it is: the task fails instead. Its models are forgotten."""
        self._connection.execute(_REPLACE, {"key": task, "result": accepted.model_dump_json()})
        self._log(task, channel, accepted)

    def withdraw(self, task: UUID, models: list[UUID], reason: str, most: int) -> bool:
        """The task runs again; False after more than `most` leases: nothing changed."""
        cause = f"it will be tried again: {reason}"[:500]
        values = {"key": task, "models": models, "reason": reason, "cause": cause, "most": most}
        return self._connection.execute(_WITHDRAW, values).first() is not None

    def forget_models(self, keys: list[UUID]) -> None:
        self._connection.execute(_FORGET_MODELS, {"keys": keys})

    def finish(self, task: UUID) -> None:
        self._connection.execute(_FINISH, {"key": task})


def _rows(steps: Mapping[str, int]) -> str:
    rows = [{"step": step, "duration": duration} for step, duration in steps.items()]
    return orjson.dumps(rows).decode()
