"""What the ledger's events do to compute tasks.

Events of tasks moved by propagation carry no inputs and no outputs (orchestrator.md 9.1): both are read from
the task's creation only.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlmodel import Session

from backend.assets.compute_plans.states import PlanChanges
from backend.assets.tasks.states import FINAL, TaskState, TaskStatus, moved
from backend.assets.tasks.tables import (
    LONGEST_METADATA,
    ComputeTask,
    ComputeTaskInput,
    ComputeTaskMetadata,
    ComputeTaskOutputAsset,
)
from backend.kit.bulk import insert_rows, update_rows
from backend.kit.wire import kind_name
from protos.orchestrator import common_pb2, computetask_pb2, event_pb2

log = structlog.get_logger()
_NAMES: dict[int, str] = {
    number: name for name, number in computetask_pb2.ComputeTaskStatus.items() if number
}

TAG = "__tag__"
"""The entry of a task's metadata on the ledger that carries the task's tag (rest-api.md 12.2)."""


def apply(
    session: Session, channel: str, events: Sequence[event_pb2.Event], changes: PlanChanges
) -> list[TaskState]:
    """COMPUTE_TASK events: insert, move forward.

    Returns the present state of each task named, in the order of the stream. Differences for the plans are
    added to `changes`.
    """
    created = [e.compute_task for e in events if e.event_kind == event_pb2.EVENT_ASSET_CREATED]
    register(session, channel, created, changes)
    order = dict.fromkeys(UUID(e.compute_task.key) for e in events)
    before = _locked(session, list(order))
    after = dict(before)
    for event in events:
        state = after.get(UUID(event.compute_task.key))
        if state is None:
            log.warning("task_unknown", channel=channel, task=event.compute_task.key)
            continue
        status, moment = _status(event.compute_task), event.timestamp.ToDatetime(UTC)
        changes.seen(state.compute_plan, status, moment)
        after[state.key] = moved(state, status, moment)
    _write(session, before, after, changes)
    return [after[key] for key in order if key in after]


def register(
    session: Session,
    channel: str,
    tasks: Sequence[computetask_pb2.ComputeTask],
    changes: PlanChanges,
) -> None:
    """Insert tasks that are not known yet, in the ledger's form (events or a registration's answer)."""
    first = {task.key: task for task in reversed(tasks)}
    ordered = [first[key] for key in sorted(first)]
    inserted = set(insert_rows(session, ComputeTask, [_row(channel, task) for task in ordered]))
    new = [task for task in ordered if UUID(task.key) in inserted]
    insert_rows(
        session,
        ComputeTaskInput,
        [row for task in new for row in _input_rows(channel, task)],
    )
    entries = [row for task in new for row in _metadata_rows(channel, task)]
    insert_rows(session, ComputeTaskMetadata, entries)
    for task in new:
        moment, status = task.creation_date.ToDatetime(UTC), _status(task)
        plan = UUID(task.compute_plan_key)
        changes.task(plan, None, status, moment if status in FINAL else None)
        changes.seen(plan, status, moment)
    _explain(session, [UUID(t.key) for t in ordered if _status(t) == TaskStatus.FAILED])


def apply_output_assets(session: Session, channel: str, events: Sequence[event_pb2.Event]) -> None:
    """COMPUTE_TASK_OUTPUT_ASSET events: an output became one more asset."""
    register_output_assets(session, channel, [e.compute_task_output_asset for e in events])


def register_output_assets(
    session: Session, channel: str, assets: Sequence[computetask_pb2.ComputeTaskOutputAsset]
) -> None:
    """Insert output assets that are not known yet, in the given order."""
    rows = [
        {
            "task_key": asset.compute_task_key,
            "identifier": asset.compute_task_output_identifier,
            "asset_key": asset.asset_key,
            "asset_kind": kind_name(asset.asset_kind),
            "channel": channel,
        }
        for asset in assets
    ]
    insert_rows(session, ComputeTaskOutputAsset, rows)


def _status(task: computetask_pb2.ComputeTask) -> TaskStatus:
    """The task's status. One that this version does not know counts as the first of all.

    The contract has no task without a known status (rest-api.md 7). No task moves back to the first, and
    all others are forward from it.
    """
    if task.status not in _NAMES:
        log.warning("task_status_unknown", task=task.key, status=task.status)
        return TaskStatus.WAITING_FOR_BUILDER_SLOT
    return TaskStatus(_NAMES[task.status])


def _row(channel: str, task: computetask_pb2.ComputeTask) -> dict[str, Any]:
    metadata = dict(task.metadata)
    tag = metadata.pop(TAG, "")
    creation, status = task.creation_date.ToDatetime(UTC), _status(task)
    return {
        "key": task.key,
        "channel": channel,
        "function_key": task.function_key,
        "compute_plan_key": task.compute_plan_key,
        "owner": task.owner,
        "worker": task.worker,
        "rank": task.rank,
        "status": status,
        "creation_date": creation,
        "end_date": creation if status in FINAL else None,
        "tag": tag,
        "metadata": metadata,
        "logs_permission_public": task.logs_permission.public,
        "logs_permission_authorized_ids": list(task.logs_permission.authorized_ids),
        "inputs": [_input(entry) for entry in task.inputs],
        "outputs": {
            identifier: {
                "permissions": {
                    "process": _permission(output.permissions.process),
                    "download": _permission(output.permissions.download),
                },
                "transient": output.transient,
            }
            for identifier, output in sorted(task.outputs.items())
        },
    }


def _metadata_rows(channel: str, task: computetask_pb2.ComputeTask) -> list[dict[str, Any]]:
    return [
        {
            "task_key": task.key,
            "name": name[:LONGEST_METADATA],
            "channel": channel,
            "value": value[:LONGEST_METADATA],
        }
        for name, value in sorted(task.metadata.items())
        if name != TAG
    ]


def _permission(permission: common_pb2.Permission) -> dict[str, Any]:
    return {"public": permission.public, "authorized_ids": list(permission.authorized_ids)}


def _input(entry: computetask_pb2.ComputeTaskInput) -> dict[str, Any]:
    """An input in its REST form: exactly one kind of reference, the members of the other are null."""
    of_parent = entry.WhichOneof("ref") == "parent_task_output"
    parent = entry.parent_task_output
    return {
        "identifier": entry.identifier,
        "asset_key": None if of_parent else entry.asset_key,
        "parent_task_key": parent.parent_task_key if of_parent else None,
        "parent_task_output_identifier": parent.output_identifier if of_parent else None,
    }


def _input_rows(channel: str, task: computetask_pb2.ComputeTask) -> list[dict[str, Any]]:
    return [
        {"task_key": task.key, "position": position, "channel": channel} | _input(entry)
        for position, entry in enumerate(task.inputs)
    ]


def _explain(session: Session, tasks: Sequence[UUID]) -> None:
    """Tasks registered on a function whose build had failed get that build's error: the SDK waits for it."""
    if not tasks:
        return
    session.connection().execute(
        text(
            """
            UPDATE compute_task t
               SET error_type = r.error_type, logs_address = r.logs_address,
                   logs_checksum = r.logs_checksum, logs_owner = r.owner
              FROM failure_report r
             WHERE t.key = ANY(:tasks) AND r.asset_key = t.function_key AND t.error_type IS NULL
            """
        ),
        {"tasks": list(tasks)},
    )


def _locked(session: Session, keys: list[UUID]) -> dict[UUID, TaskState]:
    if not keys:
        return {}
    rows = session.connection().execute(
        text(
            """
            SELECT key, compute_plan_key, function_key, owner, worker, rank, status, start_date, end_date
              FROM compute_task WHERE key = ANY(:keys) ORDER BY key FOR UPDATE
            """
        ),
        {"keys": keys},
    )
    return {
        row.key: TaskState(
            key=row.key,
            compute_plan=row.compute_plan_key,
            function=row.function_key,
            owner=row.owner,
            worker=row.worker,
            rank=row.rank,
            status=TaskStatus(row.status),
            start_date=row.start_date,
            end_date=row.end_date,
        )
        for row in rows
    }


def _write(
    session: Session,
    before: dict[UUID, TaskState],
    after: dict[UUID, TaskState],
    changes: PlanChanges,
) -> None:
    updates: list[dict[str, str | UUID | datetime | None]] = []
    for key, state in after.items():
        old = before[key]
        if state is old:
            continue
        changes.task(state.compute_plan, old.status, state.status, state.end_date)
        updates.append(
            {
                "key": key,
                "status": state.status,
                "start_date": state.start_date,
                "end_date": state.end_date,
            }
        )
    update_rows(session, ComputeTask, updates)
