"""What a batch of events means for the engine: work to insert, work that became pointless.

Runs in the bridge's transaction, after the rows were changed. Everything is idempotent: the same history again
inserts nothing twice.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from backend.assets.apply import Applied
from backend.assets.tasks.states import FINAL, TaskStatus
from backend.engine.compute.ahead import AheadStore
from backend.engine.compute.queue import NewWork, WorkQueue
from backend.engine.compute.tables import Kind
from protos.orchestrator import function_pb2

WAITING = function_pb2.FunctionStatus.Name(function_pb2.FUNCTION_STATUS_WAITING)
Offered = Mapping[UUID, dict[str, Any] | None]
Offers = Callable[[Session, Sequence[UUID]], Offered]
"""The leases of those among these new tasks that need no preparation; None: its work is there already."""

_CLOSE = text("""
    UPDATE work SET state = CASE WHEN state = 'leased' THEN state ELSE 'done' END,
                    canceled = true, changed = now()
    WHERE kind = 'task' AND key = ANY(:keys) AND state IN ('new', 'preparing', 'ready', 'leased')
""")
_STOP = text("""
    UPDATE work SET canceled = true, changed = now()
    WHERE kind = 'task' AND compute_plan_key = ANY(:plans) AND state = 'leased' AND NOT canceled
""")
_AGAIN = text("""
    UPDATE work SET state = 'new', not_before = now(), changed = now()
    WHERE kind = 'task' AND compute_plan_key = ANY(:plans) AND state = 'ready'
""")
USELESS_OUTPUTS = """
    SELECT p.key, p.channel, p.compute_plan_key FROM compute_task p
    WHERE p.worker = :me AND p.status = ANY(:final)
      AND EXISTS (SELECT 1 FROM jsonb_each(p.outputs) o WHERE (o.value ->> 'transient')::boolean)
      AND EXISTS (SELECT 1 FROM compute_task_input i WHERE i.parent_task_key = p.key)
      AND NOT EXISTS (SELECT 1 FROM compute_task_input i JOIN compute_task c ON c.key = i.task_key
                      WHERE i.parent_task_key = p.key AND NOT (c.status = ANY(:final)))
"""
"""Our final tasks with transient outputs whose children are all final too (orchestrator.md 8.2)."""
_TRANSIENT = text(
    USELESS_OUTPUTS  # noqa: S608
    + """
      AND p.key IN (SELECT unnest(CAST(:keys AS uuid[]))
                    UNION SELECT i.parent_task_key FROM compute_task_input i
                    WHERE i.task_key = ANY(:keys) AND i.parent_task_key IS NOT NULL)
"""
)


def wanted(applied: Applied, me: str, channel: str, offers: Offered) -> list[NewWork]:
    """The work that the batch asks of organization `me`: pure."""
    works = [
        NewWork(Kind.BUILD, function.key, channel)
        for function in applied.functions
        if function.owner == me and function.status == WAITING
    ]
    works += [
        NewWork(Kind.TASK, task.key, channel, task.compute_plan, offer=offers.get(task.key))
        for task in applied.tasks_ready
        if task.worker == me and offers.get(task.key, {}) is not None
    ]
    works += [NewWork(Kind.DELETE, model.key, channel) for model in applied.models_disabled]
    works += [NewWork(Kind.CANCEL, plan, channel, plan) for plan in applied.plans_canceled]
    return works


def follow(session: Session, applied: Applied, me: str, channel: str, offers: Offers) -> set[str]:
    """Write what the batch means for the engine; return the signals to fire after the commit."""
    queue = WorkQueue(session)
    ready = [task.key for task in applied.tasks_ready if task.worker == me]
    offered = offers(session, ready) if ready else {}
    topics = queue.add(wanted(applied, me, channel, offered))
    ours = [
        task.key
        for task in applied.tasks_final
        if task.worker == me and task.status is not TaskStatus.DONE
    ]
    if ours:
        _run(session, _CLOSE, keys=ours)
        topics.add("cancel")
    if applied.plans_canceled:
        topics.add("cancel")
        _run(session, _STOP, plans=applied.plans_canceled)
    ended = [*applied.plans_canceled, *applied.plans_failed]
    if ended:
        AheadStore.of(session).drop(ended)
        # what was ready is looked at again, and canceled
        _run(session, _AGAIN, plans=ended)
        topics.add("new")
    return topics


def tidy(session: Session, applied: Applied, me: str) -> set[str]:
    """Have those transient outputs removed that the batch made useless; return the signals to fire.

    Nothing waits for it, so it has a transaction of its own after the batch's; the janitor finds what a crash
    between the two forgets.
    """
    final = [task.key for task in applied.tasks_final]
    rows = session.connection().execute(
        _TRANSIENT, {"me": me, "final": names(FINAL), "keys": final}
    )
    works = [NewWork(Kind.DISABLE, row.key, row.channel, row.compute_plan_key) for row in rows]
    return WorkQueue(session).add(works)


def names(statuses: Iterable[TaskStatus]) -> list[str]:
    return sorted(str(status) for status in statuses)


def _run(session: Session, statement: object, **values: object) -> None:
    session.connection().execute(statement, values)  # type: ignore[call-overload]
