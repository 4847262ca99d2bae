"""All SQL of profiling. Durations are microseconds."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, Select, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session

from backend.access.visibility import visible
from backend.assets.functions.tables import Function, FunctionProfilingStep
from backend.assets.profiling.tables import ProfilingStep, TaskProfiling
from backend.assets.tasks.tables import ComputeTask
from backend.kit.clock import utc_now
from backend.kit.columns import core
from backend.kit.pages import Page, PageRequest

HIDDEN = "build_image"  # a step of tasks in older versions
FUNCTION_STEPS = {"build_image", "save_function"}

profilings, steps = core(TaskProfiling).c, core(ProfilingStep).c
tasks, functions = core(ComputeTask).c, core(Function).c
function_steps = core(FunctionProfilingStep).c
MICROSECOND = timedelta(microseconds=1)


def profilings_of(channel: str) -> Select[Any]:
    """The one door to profilings: those of a channel, with the end of their tasks."""
    return (
        select(profilings.compute_task_key, profilings.creation_date, tasks.end_date)
        .join_from(core(TaskProfiling), core(ComputeTask), tasks.key == profilings.compute_task_key)
        .where(visible(profilings, channel))
    )


def page(connection: Session | Connection, channel: str, request: PageRequest) -> Page:
    order = [profilings.creation_date, profilings.compute_task_key]
    return request.rows(connection, profilings_of(channel), order)


def find(connection: Session | Connection, channel: str, task: UUID) -> Row[Any] | None:
    query = profilings_of(channel).where(profilings.compute_task_key == task)
    return connection.execute(query).one_or_none()


def steps_of(
    connection: Session | Connection, keys: Iterable[UUID]
) -> dict[UUID, list[dict[str, Any]]]:
    """The steps of some tasks, by name."""
    query = (
        select(core(ProfilingStep))
        .where(steps.compute_task_key.in_(list(keys)), steps.step != HIDDEN)
        .order_by(steps.step)
    )
    found: dict[UUID, list[dict[str, Any]]] = {}
    for row in connection.execute(query):
        entry = {"step": row.step, "duration": row.duration}
        found.setdefault(row.compute_task_key, []).append(entry)
    return found


def wire(row: Row[Any], rundown: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A task's profiling as clients see it (rest-api.md 16)."""
    duration = None
    if row.end_date is not None:
        duration = max(0, (row.end_date - row.creation_date) // MICROSECOND)
    return {
        "compute_task_key": row.compute_task_key,
        "task_duration": duration,
        "execution_rundown": list(rundown),
    }


def of_function(connection: Session | Connection, channel: str, key: UUID) -> dict[str, Any] | None:
    """A function's profiling as clients see it; None when the channel has no such function."""
    known = select(functions.key).where(functions.key == key, visible(functions, channel))
    if connection.execute(known).one_or_none() is None:
        return None
    query = (
        select(function_steps.step, function_steps.duration)
        .where(function_steps.function_key == key)
        .order_by(function_steps.step)
    )
    rundown = [{"duration": row.duration, "step": row.step} for row in connection.execute(query)]
    complete = {entry["step"] for entry in rundown} >= FUNCTION_STEPS
    total = sum(entry["duration"] for entry in rundown) if complete else None
    return {"function_key": key, "execution_rundown": rundown, "duration": total}


def start(session: Session, channel: str, task: UUID) -> bool:
    """Start the clock of a task unless it runs already; whether it was started now."""
    query = (
        insert(core(TaskProfiling))
        .values(compute_task_key=task, channel=channel, creation_date=utc_now())
        .on_conflict_do_nothing()
        .returning(profilings.compute_task_key)
    )
    return session.connection().execute(query).one_or_none() is not None


def restart(session: Session, channel: str, task: UUID) -> None:
    """Set the clock of a task to now and forget the steps of an earlier attempt."""
    query = insert(core(TaskProfiling)).values(
        compute_task_key=task, channel=channel, creation_date=utc_now()
    )
    query = query.on_conflict_do_update(
        index_elements=["compute_task_key"], set_={"creation_date": utc_now()}
    )
    session.connection().execute(query)
    session.connection().execute(delete(core(ProfilingStep)).where(steps.compute_task_key == task))


def set_steps(session: Session, task: UUID, durations_us: Mapping[str, int]) -> None:
    """Note the steps of a task; one that is known takes the new duration."""
    if not durations_us:
        return
    query = insert(core(ProfilingStep)).values(
        [
            {"compute_task_key": task, "step": step, "duration": duration}
            for step, duration in sorted(durations_us.items())
        ]
    )
    query = query.on_conflict_do_update(
        index_elements=["compute_task_key", "step"], set_={"duration": query.excluded.duration}
    )
    session.connection().execute(query)


def has_step(session: Session, task: UUID, step: str) -> bool:
    query = select(func.count()).where(steps.compute_task_key == task, steps.step == step)
    return bool(session.connection().execute(query).scalar_one())
