"""All SQL of workflow graphs: three queries a graph, for the tasks, their functions and the edges."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, Text, Uuid, bindparam, cast, func, select
from sqlalchemy import literal_column as raw
from sqlalchemy.dialects.postgresql import ARRAY

from backend.access.visibility import visible
from backend.assets.functions.tables import Function, FunctionInput, FunctionOutput
from backend.assets.tasks.tables import ComputeTask, ComputeTaskInput
from backend.kit.columns import core
from backend.kit.statements import CHANNEL, Rows, Statement, key_parameter

tasks, inputs, functions = core(ComputeTask).c, core(ComputeTaskInput).c, core(Function).c


_PLAN, _KEYS = key_parameter("plan"), cast(bindparam("keys"), ARRAY(Uuid(as_uuid=False)))
_TASKS = Statement(
    select(
        cast(tasks.key, Text).label("key"),
        tasks["rank"],
        tasks.worker,
        tasks.status,
        cast(tasks.function_key, Text).label("function_key"),
    )
    .where(tasks.compute_plan_key == _PLAN, visible(tasks, CHANNEL))
    .order_by(tasks["rank"], tasks.key)
    .limit(bindparam("limit"))
)
_EDGES = Statement(
    select(
        cast(inputs.parent_task_key, Text).label("source_task_key"),
        inputs.parent_task_output_identifier.label("source_output_identifier"),
        cast(inputs.task_key, Text).label("target_task_key"),
        inputs.identifier.label("target_input_identifier"),
    )
    .where(inputs.parent_task_key == func.any(_KEYS), visible(inputs, CHANNEL))
    .order_by(inputs.task_key, inputs.position)
)
"""From the side of the parents, which are tasks of the same plan: inputs that are data are not read."""


def tasks_of_plan(connection: Connection, channel: str, plan: UUID, limit: int) -> Rows:
    """At most `limit` tasks of a plan, by rank."""
    return _TASKS.rows(connection, {"channel": channel, "plan": str(plan), "limit": limit})


def edges(connection: Connection, channel: str, keys: list[str]) -> list[dict[str, Any]]:
    """One for each input that is an output of one of the tasks."""
    rows = _EDGES.rows(connection, {"channel": channel, "keys": keys})
    return [row._asdict() for row in rows]


def _specifications(table: Any) -> Any:
    """`[{"kind", "identifier"}]` of a function's inputs or outputs as text, by identifier."""
    declared = core(table)
    entry = func.json_build_object(
        "kind", raw(f"{declared.name}.kind"), "identifier", raw(f"{declared.name}.identifier")
    )
    ordered = (
        select(declared)
        .where(declared.c.function_key == functions.key)
        .order_by(declared.c.identifier)
        .correlate(core(Function))
        .subquery(declared.name)
    )
    return cast(select(func.json_agg(entry)).select_from(ordered).scalar_subquery(), Text)


_INPUTS, _OUTPUTS = _specifications(FunctionInput), _specifications(FunctionOutput)


_DECLARATIONS = Statement(
    select(
        cast(functions.key, Text).label("key"),
        functions.name,
        _INPUTS.label("inputs_text"),
        _OUTPUTS.label("outputs_text"),
    ).where(
        functions.key == func.any(_KEYS),
        visible(functions, CHANNEL),
    )
)


def declarations(connection: Connection, channel: str, keys: Collection[str]) -> dict[str, Any]:
    """Name and declarations of some functions, by key."""
    rows = _DECLARATIONS.rows(connection, {"channel": channel, "keys": list(keys)})
    return {row.key: row for row in rows}


def wire(task: Any, function: Any | None) -> dict[str, Any]:
    """A task of the graph; a function that has not arrived yet has no name and no declarations."""
    return {
        "key": task.key,
        "rank": task.rank,
        "worker": task.worker,
        "status": task.status,
        "function_name": function.name if function else "",
        "inputs_specs": orjson.Fragment((function and function.inputs_text) or "[]"),
        "outputs_specs": orjson.Fragment((function and function.outputs_text) or "[]"),
    }
