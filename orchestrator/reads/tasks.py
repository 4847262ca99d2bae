"""Reads of tasks and of what they take and leave (orchestrator.md 6.5, 6.6)."""

from collections.abc import Iterable, Sequence
from typing import Any

from psycopg2.extensions import cursor as Cursor  # noqa: N812

from orchestrator import pages
from orchestrator.database import Pool
from orchestrator.errors import BadRequest, NotFound
from orchestrator.identity import Caller
from orchestrator.loading import TABLES
from orchestrator.reads.assets import Filter, document
from orchestrator.state import DOCUMENTS
from orchestrator.validation import stored_key
from protos.orchestrator import computetask_pb2, model_pb2, performance_pb2
from protos.orchestrator.common_pb2 import (
    ASSET_DATA_MANAGER,
    ASSET_DATA_SAMPLE,
    ASSET_MODEL,
)
from protos.orchestrator.computetask_pb2 import (
    STATUS_EXECUTING,
    STATUS_FAILED,
    STATUS_WAITING_FOR_EXECUTOR_SLOT,
    ComputeTask,
    ComputeTaskInputAsset,
)
from protos.orchestrator.function_pb2 import Function

_FIELDS = {
    ASSET_MODEL: "model",
    ASSET_DATA_MANAGER: "data_manager",
    ASSET_DATA_SAMPLE: "data_sample",
}
_WITH_INPUTS = (STATUS_WAITING_FOR_EXECUTOR_SLOT, STATUS_EXECUTING, STATUS_FAILED)
Asset = tuple[int, str]  # kind, key


def _built(status: Any, stored: Any) -> ComputeTask:
    task = ComputeTask.FromString(bytes(stored))
    task.status = status
    return task


def task(pool: Pool, caller: Caller, request: computetask_pb2.GetTaskParam) -> ComputeTask:
    stored_key("computetask", request.key)
    with pool.cursor() as cursor:
        cursor.execute(
            "SELECT status, document FROM compute_task WHERE key = %s AND channel = %s",
            (request.key, caller.channel),
        )
        row = cursor.fetchone()
    if row is None:
        raise NotFound("computetask", request.key)
    return _built(*row)


def tasks(
    pool: Pool, caller: Caller, request: computetask_pb2.QueryTasksParam
) -> computetask_pb2.QueryTasksResponse:
    asked = pages.size(request.page_size)
    after = pages.place(request.page_token)
    wanted = request.filter
    worker = wanted.worker.replace("\x00", "\ufffd")
    where, arguments = pages.conditions(
        [
            ("channel = %s", [caller.channel]),
            ("(created, key) > (%s, %s::uuid)", after[:2]) if after else None,
            ("worker = %s", [worker]) if worker else None,
            ("status = %s", [wanted.status]) if wanted.status else None,
            _by("plan", "computeplan", wanted.compute_plan_key),
            _by("function", "function", wanted.function_key),
        ]
    )
    with pool.cursor() as cursor:
        cursor.execute(
            f"SELECT created, key::text, status, document FROM compute_task WHERE {where}"  # noqa: S608
            " ORDER BY created, key LIMIT %s",
            [*arguments, asked + 1],
        )
        rows = cursor.fetchall()
    found, following = pages.cut(
        rows, asked, lambda row: _built(row[2], row[3]), lambda row: pages.token(row[0], row[1])
    )
    return computetask_pb2.QueryTasksResponse(tasks=found, next_page_token=following)


def _by(column: str, resource: str, key: str) -> Filter:
    return (f"{column} = %s", [stored_key(resource, key)]) if key else None


# ------------------------------------------------------------------ inputs
def input_assets(
    pool: Pool, caller: Caller, request: computetask_pb2.GetTaskInputAssetsParam
) -> computetask_pb2.GetTaskInputAssetsResponse:
    """The assets of every input, in the task's order; a parent output without assets yields nothing."""
    stored_key("computetask", request.compute_task_key)
    with pool.snapshot() as cursor:
        found, function = _with_function(cursor, caller, request.compute_task_key)
        wanted = _references(cursor, found, function)
        assets = _assets(cursor, {asset for _, asset in wanted})
    answer = computetask_pb2.GetTaskInputAssetsResponse()
    for identifier, asset in wanted:
        if asset in assets:
            entry = ComputeTaskInputAsset(identifier=identifier)
            getattr(entry, _FIELDS[asset[0]]).CopyFrom(assets[asset])  # type: ignore[index]
            answer.assets.append(entry)
    return answer


def _with_function(cursor: Cursor, caller: Caller, key: str) -> tuple[ComputeTask, Function]:
    cursor.execute(
        "SELECT t.status, t.document, f.document FROM compute_task t JOIN function f ON f.key = t.function"
        " WHERE t.key = %s AND t.channel = %s",
        (key, caller.channel),
    )
    row = cursor.fetchone()
    if row is None:
        raise NotFound("computetask", key)
    if row[0] not in _WITH_INPUTS:
        name = computetask_pb2.ComputeTaskStatus.Name(row[0])
        raise BadRequest(f'inputs of task "{key}" cannot be had in status {name}')
    return _built(row[0], row[1]), Function.FromString(bytes(row[2]))


def _references(cursor: Cursor, task_: ComputeTask, function: Function) -> list[tuple[str, Asset]]:
    """(identifier, asset) of every input, parents' outputs resolved by position."""
    parents = {
        reference.parent_task_output.parent_task_key
        for reference in task_.inputs
        if reference.HasField("parent_task_output")
    }
    outputs: dict[tuple[str, str], list[Asset]] = {}
    if parents:
        cursor.execute(
            "SELECT task::text, identifier, kind, asset_key FROM output_asset"
            " WHERE task = ANY(%s::uuid[]) ORDER BY position",
            (sorted(parents),),
        )
        for parent, identifier, kind, key in cursor.fetchall():
            outputs.setdefault((parent, identifier), []).append((kind, key))
    wanted: list[tuple[str, Asset]] = []
    for reference in task_.inputs:
        if reference.HasField("parent_task_output"):
            output = reference.parent_task_output
            found: Sequence[Asset] = outputs.get(
                (output.parent_task_key, output.output_identifier), ()
            )
        else:
            found = [(function.inputs[reference.identifier].kind, reference.asset_key)]
        wanted.extend((reference.identifier, asset) for asset in found)
    return wanted


def _assets(cursor: Cursor, wanted: Iterable[Asset]) -> dict[Asset, Any]:
    by_kind: dict[int, list[str]] = {}
    for kind, key in wanted:
        if kind in _FIELDS:
            by_kind.setdefault(kind, []).append(key)
    found: dict[Asset, Any] = {}
    for kind, table in TABLES.items():
        if kind in by_kind:
            cursor.execute(
                f"SELECT key::text, document FROM {table} WHERE key = ANY(%s::uuid[])",  # noqa: S608
                (by_kind[kind],),
            )
            for key, stored in cursor.fetchall():
                found[kind, key] = DOCUMENTS[kind].FromString(bytes(stored))
    return found


# ------------------------------------------------------------------ outputs
def model(pool: Pool, caller: Caller, request: model_pb2.GetModelParam) -> model_pb2.Model:
    return document(pool, caller, "model", "model", request.key, model_pb2.Model)


def output_models(
    pool: Pool, caller: Caller, request: model_pb2.GetComputeTaskModelsParam
) -> model_pb2.GetComputeTaskModelsResponse:
    """Models of a task, disabled ones too; none for an unknown task."""
    stored_key("computetask", request.compute_task_key)
    with pool.cursor() as cursor:
        cursor.execute(
            "SELECT m.document FROM model m JOIN output_asset o ON o.asset_key = m.key::text"
            " WHERE m.task = %s AND m.channel = %s ORDER BY o.identifier, o.position",
            (request.compute_task_key, caller.channel),
        )
        rows = cursor.fetchall()
    return model_pb2.GetComputeTaskModelsResponse(
        models=[model_pb2.Model.FromString(bytes(row[0])) for row in rows]
    )


def performances(
    pool: Pool, caller: Caller, request: performance_pb2.QueryPerformancesParam
) -> performance_pb2.QueryPerformancesResponse:
    """Oldest first, then task key descending, then identifier."""
    asked = pages.size(request.page_size)
    after = pages.place(request.page_token)
    identifier = request.filter.compute_task_output_identifier.replace("\x00", "\ufffd")
    beyond: Filter = None
    if after:
        created, key, name = after
        beyond = (
            "(created > %s OR (created = %s AND (task < %s::uuid OR (task = %s AND identifier > %s))))",
            [created, created, key, key, name],
        )
    where, arguments = pages.conditions(
        [
            ("channel = %s", [caller.channel]),
            _by("task", "computetask", request.filter.compute_task_key),
            ("identifier = %s", [identifier]) if identifier else None,
            beyond,
        ]
    )
    with pool.cursor() as cursor:
        cursor.execute(
            "SELECT created, task::text, identifier, document FROM performance"  # noqa: S608
            f" WHERE {where} ORDER BY created, task DESC, identifier LIMIT %s",
            [*arguments, asked + 1],
        )
        rows = cursor.fetchall()
    found, following = pages.cut(
        rows,
        asked,
        lambda row: performance_pb2.Performance.FromString(bytes(row[3])),
        lambda row: pages.token(row[0], row[1], row[2]),
    )
    return performance_pb2.QueryPerformancesResponse(Performances=found, next_page_token=following)
