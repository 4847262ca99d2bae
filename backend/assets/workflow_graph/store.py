"""All SQL of workflow graphs: two queries a graph, for the tasks, and for the edges with the functions."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, Text, Uuid, bindparam, cast, func, literal, select, union_all
from sqlalchemy import literal_column as raw
from sqlalchemy.dialects.postgresql import ARRAY

from backend.access.visibility import visible
from backend.assets.functions.tables import Function, FunctionInput, FunctionOutput
from backend.assets.tasks.tables import ComputeTask, ComputeTaskInput
from backend.kit.columns import core
from backend.kit.statements import CHANNEL, Rows, Statement, key_parameter

tasks, inputs, functions = core(ComputeTask).c, core(ComputeTaskInput).c, core(Function).c


_PLAN = key_parameter("plan")
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


def _among(name: str) -> Any:
    return func.any(cast(bindparam(name), ARRAY(Uuid(as_uuid=False))))


_EDGE, _FUNCTION = "edge", "function"
_EDGES = select(
    literal(_EDGE).label("part"),
    cast(inputs.parent_task_key, Text).label("source"),
    inputs.parent_task_output_identifier.label("output"),
    cast(inputs.task_key, Text).label("target"),
    inputs.identifier.label("input"),
    inputs.position.label("place"),
).where(inputs.parent_task_key == _among("keys"), visible(inputs, CHANNEL))
"""From the side of the parents, which are tasks of the same plan: inputs that are data are not read."""


def tasks_of_plan(connection: Connection, channel: str, plan: UUID, limit: int) -> Rows:
    """At most `limit` tasks of a plan, by rank."""
    return _TASKS.rows(connection, {"channel": channel, "plan": str(plan), "limit": limit})


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


_FUNCTIONS = select(
    literal(_FUNCTION),
    cast(functions.key, Text),
    functions.name,
    _INPUTS,
    _OUTPUTS,
    literal(0),
).where(functions.key == _among("functions"), visible(functions, CHANNEL))
_REST = Statement(union_all(_EDGES, _FUNCTIONS).order_by("part", "target", "place"))


@dataclass(frozen=True, slots=True)
class Declared:
    """A function's name, and `[{"kind", "identifier"}]` of its inputs and outputs as text."""

    name: str
    inputs_text: str | None
    outputs_text: str | None


def edges_and_functions(
    connection: Connection, channel: str, keys: Collection[str], used: Collection[str]
) -> tuple[list[dict[str, Any]], dict[str, Declared]]:
    """One edge for each input that is an output of one of the tasks `keys`; the functions `used`, by key."""
    values = {"channel": channel, "keys": list(keys), "functions": list(used)}
    edges, declared = [], {}
    for row in _REST.rows(connection, values):
        if row.part == _FUNCTION:
            declared[row.source] = Declared(row.output, row.target, row.input)
            continue
        edges.append(
            {
                "source_task_key": row.source,
                "source_output_identifier": row.output,
                "target_task_key": row.target,
                "target_input_identifier": row.input,
            }
        )
    return edges, declared


def wire(task: Any, function: Declared | None) -> dict[str, Any]:
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
