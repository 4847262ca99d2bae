"""What a task takes and gives: the asset lists of rest-api.md 12.4.

An input stands for its own asset, or for every asset that the parent's output has become so far.
"""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, Select, String, cast, literal, select, union_all
from sqlmodel import Session

from backend.access.visibility import visible
from backend.assets.data_managers import store as data_managers
from backend.assets.data_samples import store as data_samples
from backend.assets.functions.tables import FunctionInput
from backend.assets.models import store as models
from backend.assets.performances import store as performances
from backend.assets.tasks.tables import ComputeTask, ComputeTaskInput, ComputeTaskOutputAsset
from backend.kit.columns import core
from backend.kit.documents import documents
from backend.kit.filters import Conditions
from backend.kit.pages import Page, PageRequest
from backend.kit.parameters import Parameters, listed

KINDS = ("ASSET_DATA_SAMPLE", "ASSET_DATA_MANAGER", "ASSET_MODEL", "ASSET_PERFORMANCE")

tasks, inputs = core(ComputeTask).c, core(ComputeTaskInput).c
outputs, declared = core(ComputeTaskOutputAsset).c, core(FunctionInput).c


def _inputs_of(channel: str, task: UUID) -> Select[Any]:
    own = (
        select(
            inputs.identifier,
            declared.kind.label("kind"),
            cast(inputs.asset_key, String).label("asset_key"),
            inputs.position.label("position"),
            literal(0).label("output_position"),
        )
        .join_from(core(ComputeTaskInput), core(ComputeTask), tasks.key == inputs.task_key)
        .join(
            core(FunctionInput),
            (declared.function_key == tasks.function_key)
            & (declared.identifier == inputs.identifier),
        )
        .where(inputs.task_key == task, visible(inputs, channel), inputs.asset_key.is_not(None))
    )
    of_parents = (
        select(
            inputs.identifier,
            outputs.asset_kind,
            outputs.asset_key,
            inputs.position,
            outputs.position,
        )
        .join_from(
            core(ComputeTaskInput),
            core(ComputeTaskOutputAsset),
            (outputs.task_key == inputs.parent_task_key)
            & (outputs.identifier == inputs.parent_task_output_identifier),
        )
        .where(inputs.task_key == task, visible(inputs, channel))
    )
    return select(union_all(own, of_parents).subquery("assets"))


def _outputs_of(channel: str, task: UUID) -> Select[Any]:
    assets = (
        select(
            outputs.identifier,
            outputs.asset_kind.label("kind"),
            outputs.asset_key,
            outputs.position,
            literal(0).label("output_position"),
        )
        .where(outputs.task_key == task, visible(outputs, channel))
        .subquery("assets")
    )
    return select(assets)


def page(
    connection: Session | Connection,
    channel: str,
    task: UUID,
    parameters: Parameters,
    request: PageRequest,
    *,
    of_outputs: bool,
) -> Page:
    """A page of (identifier, kind, asset key), in the order of identifiers and positions."""
    query = (_outputs_of if of_outputs else _inputs_of)(channel, task)
    assets = query.selected_columns
    order = [assets.identifier, assets.position, assets.output_position]
    return request.rows(connection, query.where(*_conditions(parameters, assets)), order)


def _conditions(parameters: Parameters, assets: Any) -> Conditions:
    """Kinds that do not exist are dropped: the UI asks inputs for performances (rest-api.md 12.4)."""
    kinds = [kind for kind in listed(parameters, "kind") if kind in KINDS]
    identifiers = listed(parameters, "identifier")
    conditions: Conditions = []
    if kinds:
        conditions.append(assets.kind.in_(kinds))
    if identifiers:
        conditions.append(assets.identifier.in_(identifiers))
    return conditions


def results(
    connection: Connection, channel: str, rows: Sequence[Row[Any]], base: str
) -> list[dict[str, Any]]:
    """The items of a page: one query, whatever kinds occur."""
    keys: dict[str, set[str]] = {}
    for row in rows:
        keys.setdefault(row.kind, set()).add(row.asset_key)
    queries = {
        kind: _SELECTED[kind](channel, found) for kind, found in keys.items() if kind in _SELECTED
    }
    assets: dict[str, dict[str, Any]] = {}
    for kind, row in documents(connection, queries):
        key, asset = _wire(kind, row, base)
        assets[key] = asset
    return [
        {"identifier": row.identifier, "kind": row.kind, "asset": assets[row.asset_key]}
        for row in rows
        if row.asset_key in assets
    ]


_SELECTED: dict[str, Callable[[str, set[str]], Select[Any]]] = {
    "ASSET_DATA_SAMPLE": data_samples.selected,
    "ASSET_DATA_MANAGER": data_managers.selected,
    "ASSET_MODEL": models.selected,
    "ASSET_PERFORMANCE": performances.selected,
}


def _wire(kind: str, row: Any, base: str) -> tuple[str, dict[str, Any]]:
    """The key by which a page names an asset, and its wire form."""
    if kind == "ASSET_PERFORMANCE":
        return f"{row.compute_task_key}|{row.identifier}", performances.wire(row)
    if kind == "ASSET_MODEL":
        return row.key, models.wire(row, base)
    if kind == "ASSET_DATA_MANAGER":
        return row.key, data_managers.wire(row, base)
    return row.key, data_samples.wire(row)
