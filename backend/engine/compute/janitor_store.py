"""All SQL of the janitor: what the rows show that the queue does not, and what is old."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from backend.assets.tasks.states import FINAL
from backend.engine.bridge.consequences import USELESS_OUTPUTS, names
from backend.engine.compute.queue import NewWork
from backend.engine.compute.tables import Kind

MOST = 500
SETTLED_S = 10  # how long an event may be on its way before a difference counts

_TASKS = text("""
    SELECT t.key, t.channel, t.compute_plan_key AS plan FROM compute_task t
    WHERE t.worker = :me AND t.status IN ('STATUS_WAITING_FOR_EXECUTOR_SLOT', 'STATUS_EXECUTING')
      AND NOT EXISTS (SELECT 1 FROM work w WHERE w.kind = 'task' AND w.key = t.key)
    ORDER BY t.creation_date, t.key LIMIT :most
""")
_BUILDS = text("""
    SELECT f.key, f.channel, NULL AS plan FROM function f
    WHERE f.owner = :me AND f.status IN ('FUNCTION_STATUS_WAITING', 'FUNCTION_STATUS_BUILDING')
      AND NOT EXISTS (SELECT 1 FROM work w WHERE w.kind = 'build' AND w.key = f.key)
    ORDER BY f.creation_date, f.key LIMIT :most
""")
_CANCELS = text("""
    SELECT p.key, p.channel, p.key AS plan FROM compute_plan p
    WHERE p.cancelation_date IS NOT NULL
      AND EXISTS (SELECT 1 FROM compute_task t WHERE t.compute_plan_key = p.key AND t.worker = :me
                  AND NOT (t.status = ANY(:final)))
      AND NOT EXISTS (SELECT 1 FROM work w WHERE w.kind = 'cancel' AND w.key = p.key)
    ORDER BY p.key LIMIT :most
""")
_USELESS = text(
    USELESS_OUTPUTS  # noqa: S608
    + """
      AND EXISTS (SELECT 1 FROM compute_task_output_asset o JOIN model m ON m.key = o.asset_key::uuid
                  WHERE o.task_key = p.key AND o.asset_kind = 'ASSET_MODEL' AND m.model_address IS NOT NULL
                    AND (p.outputs -> o.identifier ->> 'transient')::boolean)
    ORDER BY p.key LIMIT :most
"""
)
_DISABLED = text("""
    SELECT m.key, m.channel, NULL AS plan FROM model m JOIN model_file f ON f.key = m.key
    WHERE m.model_address IS NULL AND m.owner = :me
      AND NOT EXISTS (SELECT 1 FROM work w WHERE w.kind = 'delete' AND w.key = m.key)
    ORDER BY m.key LIMIT :most
""")
_ENDED = text("""
    SELECT w.kind, w.key, w.channel, w.compute_plan_key AS plan
    FROM work w
    LEFT JOIN compute_task t ON w.kind = 'task' AND t.key = w.key
    LEFT JOIN function f ON w.kind = 'build' AND f.key = w.key
    WHERE w.state = 'done' AND w.changed < now() - make_interval(secs => :settled)
      AND ((w.kind = 'task'
            AND t.status IN ('STATUS_WAITING_FOR_EXECUTOR_SLOT', 'STATUS_EXECUTING'))
        OR (w.kind = 'build'
            AND f.status IN ('FUNCTION_STATUS_WAITING', 'FUNCTION_STATUS_BUILDING'))
        OR (w.kind = 'cancel'
            AND EXISTS (SELECT 1 FROM compute_task o WHERE o.compute_plan_key = w.key AND o.worker = :me
                        AND NOT (o.status = ANY(:final)))))
    ORDER BY w.id LIMIT 50
""")
_REOPEN = text("""
    UPDATE work SET state = 'new', attempts = 0, canceled = false, not_before = now(), changed = now()
    WHERE kind = :kind AND key = :key AND state = 'done'
      AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.task_key = work.key)
""")
_FORGET_DONE = text("""
    DELETE FROM work w WHERE w.state = 'done' AND w.changed < now() - make_interval(secs => :age)
      AND NOT EXISTS (SELECT 1 FROM compute_task t WHERE w.kind = 'task' AND t.key = w.key
                      AND NOT (t.status = ANY(:final)))
""")
_FORGET_TURNS = text("""
    DELETE FROM work_turn t
    WHERE NOT EXISTS (SELECT 1 FROM work w WHERE w.compute_plan_key = t.compute_plan_key)
""")
_FORGET_TOKENS = text("""
    DELETE FROM implicit_bearer_token WHERE created < now() - make_interval(mins => :minutes)
""")
_ORPHANS = text("""
    SELECT 'model' AS kind, x.key, x.channel, ARRAY[x.file] AS files FROM model_file x
    WHERE x.creation_date < now() - make_interval(secs => :age)
      AND NOT EXISTS (SELECT 1 FROM model a WHERE a.key = x.key)
      AND NOT EXISTS (SELECT 1 FROM outbox)
    UNION ALL
    SELECT 'function', x.key, x.channel, ARRAY[x.archive_file, x.description_file] FROM function_file x
    WHERE x.creation_date < now() - make_interval(secs => :age)
      AND NOT EXISTS (SELECT 1 FROM function a WHERE a.key = x.key)
    UNION ALL
    SELECT 'data_manager', x.key, x.channel, ARRAY[x.opener_file, x.description_file]
    FROM data_manager_file x
    WHERE x.creation_date < now() - make_interval(secs => :age)
      AND NOT EXISTS (SELECT 1 FROM data_manager a WHERE a.key = x.key)
    UNION ALL
    SELECT 'data_sample', x.key, x.channel, ARRAY[x.file] FROM data_sample_file x
    WHERE x.creation_date < now() - make_interval(secs => :age)
      AND NOT EXISTS (SELECT 1 FROM data_sample a WHERE a.key = x.key)
    LIMIT 50
""")
_FORGET = {
    "model": text("DELETE FROM model_file WHERE key = :key"),
    "function": text("DELETE FROM function_file WHERE key = :key"),
    "data_manager": text("DELETE FROM data_manager_file WHERE key = :key"),
    "data_sample": text("DELETE FROM data_sample_file WHERE key = :key"),
}
_UNUSED = text("""
    SELECT given.key FROM unnest(CAST(:keys AS uuid[])) AS given(key)
    WHERE NOT EXISTS (
        SELECT 1 FROM compute_task_output_asset o
        JOIN compute_task_input i
          ON i.parent_task_key = o.task_key AND i.parent_task_output_identifier = o.identifier
        JOIN compute_task t ON t.key = i.task_key
        WHERE o.asset_key = given.key::text AND t.worker = :me AND NOT (t.status = ANY(:final)))
      AND NOT EXISTS (
        SELECT 1 FROM compute_task_input i JOIN compute_task t ON t.key = i.task_key
        WHERE i.asset_key = given.key AND t.worker = :me AND NOT (t.status = ANY(:final)))
""")
_OVER = text("""
    SELECT given.key FROM unnest(CAST(:keys AS uuid[])) AS given(key)
    JOIN compute_plan p ON p.key = given.key
    WHERE NOT EXISTS (SELECT 1 FROM compute_task t WHERE t.compute_plan_key = given.key
                      AND NOT (t.status = ANY(:final)))
      AND NOT EXISTS (SELECT 1 FROM work w WHERE w.compute_plan_key = given.key AND w.kind = 'task'
                      AND w.state <> 'done')
""")
_OUTBOX = text("SELECT task_key FROM outbox")


@dataclass(frozen=True, slots=True)
class Orphan:
    """A stored asset that no event ever named."""

    kind: str
    key: UUID
    channel: str
    files: tuple[str, ...]


class JanitorStore:
    """Inside one transaction of the caller."""

    def __init__(self, session: Session, me: str) -> None:
        self._connection = session.connection()
        self._common = {"me": me, "final": names(FINAL), "most": MOST}

    def tasks_without_work(self) -> list[NewWork]:
        return self._works(Kind.TASK, _TASKS)

    def builds_without_work(self) -> list[NewWork]:
        return self._works(Kind.BUILD, _BUILDS)

    def cancels_without_work(self) -> list[NewWork]:
        return self._works(Kind.CANCEL, _CANCELS)

    def useless_outputs(self) -> list[NewWork]:
        return [
            NewWork(Kind.DISABLE, row.key, row.channel, row.compute_plan_key)
            for row in self._connection.execute(_USELESS, self._common)
        ]

    def disabled_models(self) -> list[NewWork]:
        return self._works(Kind.DELETE, _DISABLED)

    def ended_early(self) -> list[NewWork]:
        """Work that is done here while its asset's row says that it is not."""
        rows = self._connection.execute(_ENDED, {**self._common, "settled": SETTLED_S})
        return [NewWork(Kind(row.kind), row.key, row.channel, row.plan) for row in rows]

    def reopen(self, work: NewWork) -> None:
        self._connection.execute(_REOPEN, {"kind": work.kind, "key": work.key})

    def forget_done(self, age_s: float) -> None:
        self._connection.execute(_FORGET_DONE, {**self._common, "age": age_s})
        self._connection.execute(_FORGET_TURNS)

    def forget_tokens(self, minutes: int) -> None:
        self._connection.execute(_FORGET_TOKENS, {"minutes": minutes})

    def orphans(self, age_s: float) -> list[Orphan]:
        return [
            Orphan(row.kind, row.key, row.channel, tuple(f for f in row.files if f))
            for row in self._connection.execute(_ORPHANS, {"age": age_s})
        ]

    def forget(self, orphan: Orphan) -> None:
        self._connection.execute(_FORGET[orphan.kind], {"key": orphan.key})

    def unused(self, models: Sequence[UUID]) -> list[UUID]:
        """Those of these cached models that no unfinished task of ours reads."""
        if not models:
            return []
        values = {**self._common, "keys": list(models)}
        return list(self._connection.execute(_UNUSED, values).scalars())

    def over(self, plans: Sequence[UUID]) -> list[UUID]:
        """Those of these plans of which no task is open, anywhere."""
        if not plans:
            return []
        values = {**self._common, "keys": list(plans)}
        return list(self._connection.execute(_OVER, values).scalars())

    def outbox(self) -> list[UUID]:
        return list(self._connection.execute(_OUTBOX).scalars())

    def _works(self, kind: Kind, statement: object) -> list[NewWork]:
        rows = self._connection.execute(statement, self._common)  # type: ignore[call-overload]
        return [NewWork(kind, row.key, row.channel, row.plan) for row in rows]
