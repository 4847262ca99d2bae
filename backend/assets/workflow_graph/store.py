"""All SQL of workflow graphs: two queries a graph, one for the tasks and one for their functions."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, Row, Select, Text, cast, func, select
from sqlalchemy import literal_column as raw

from backend.access.visibility import visible
from backend.assets.functions.tables import Function, FunctionInput, FunctionOutput
from backend.assets.tasks.tables import ComputeTask
from backend.kit.columns import core

tasks, functions = core(ComputeTask).c, core(Function).c


def tasks_of_plan(
    connection: Connection, channel: str, plan: UUID, limit: int
) -> Sequence[Row[Any]]:
    """At most `limit` tasks of a plan, by rank; `inputs` is their list in its wire form."""
    query: Select[Any] = (
        select(
            tasks.key,
            tasks["rank"],
            tasks.worker,
            tasks.status,
            tasks.function_key,
            tasks.inputs,
        )
        .where(tasks.compute_plan_key == plan, visible(tasks, channel))
        .order_by(tasks["rank"], tasks.key)
        .limit(limit)
    )
    return connection.execute(query).all()


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


def declarations(connection: Connection, keys: Iterable[UUID]) -> dict[UUID, Row[Any]]:
    """Name and declarations of some functions, by key."""
    query = select(
        functions.key,
        functions.name,
        _INPUTS.label("inputs_text"),
        _OUTPUTS.label("outputs_text"),
    ).where(functions.key.in_(list(keys)))
    return {row.key: row for row in connection.execute(query)}


def wire(task: Row[Any], function: Row[Any] | None) -> dict[str, Any]:
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


def edges(graph: Iterable[Row[Any]]) -> list[dict[str, Any]]:
    """One for each input that is an output of another task."""
    return [
        {
            "source_task_key": entry["parent_task_key"],
            "source_output_identifier": entry["parent_task_output_identifier"],
            "target_task_key": task.key,
            "target_input_identifier": entry["identifier"],
        }
        for task in graph
        for entry in task.inputs
        if entry["parent_task_key"] is not None
    ]
