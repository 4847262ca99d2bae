"""All that the engine reads of tasks, their inputs and functions: a few queries for many tasks at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlmodel import Session

from backend.assets.compute_plans.states import PlanStatus
from backend.assets.tasks.states import TaskStatus
from backend.engine.compute.results import model_file, model_key


@dataclass(frozen=True, slots=True)
class InputAsset:
    """One asset that a task reads, and where its content is.

    `checksum` is of the content (models: salted with `salt`, the producing task). `file` is a storage key and
    `folder` an absolute path, both for assets of our own only.
    """

    identifier: str
    kind: str  # ASSET_…
    multiple: bool
    key: UUID
    owner: str
    checksum: str = ""
    salt: str = ""
    file: str | None = None
    folder: str | None = None
    available: bool = True
    expected: bool = False
    """Its task runs here and has no result yet: the model's key and file are known before (rule 1)."""


@dataclass(frozen=True, slots=True)
class OutputSlot:
    identifier: str
    kind: str
    multiple: bool


@dataclass(slots=True)
class TaskContext:
    """What preparation needs to know of a task; `plan_status` is None while the plan's row is not there."""

    key: UUID
    channel: str
    plan: UUID
    plan_status: PlanStatus | None
    status: TaskStatus
    rank: int
    function: UUID
    function_owner: str
    image: str | None  # SHA-256 of the manifest
    inputs: list[InputAsset] = field(default_factory=list)
    outputs: list[OutputSlot] = field(default_factory=list)
    function_metadata: dict[str, str] = field(default_factory=dict)
    plan_metadata: dict[str, str] = field(default_factory=dict)
    plan_tag: str = ""
    plan_name: str = ""
    function_name: str = ""
    unresolved: list[str] = field(default_factory=list)
    """Identifiers of inputs whose asset is not in the rows."""
    after: set[UUID] = field(default_factory=set)
    """Parents of ours whose models are expected."""


_TASKS = text("""
    SELECT t.key, t.channel, t.compute_plan_key, t.rank, t.status, t.function_key,
           p.status AS plan_status, p.metadata AS plan_metadata, f.metadata AS function_metadata,
           p.tag AS plan_tag, p.name AS plan_name, f.name AS function_name, f.owner AS function_owner,
           f.image_checksum, (
               SELECT json_agg(json_build_array(o.identifier, o.kind, o.multiple) ORDER BY o.identifier)
               FROM function_output o WHERE o.function_key = t.function_key) AS outputs
    FROM compute_task t
    LEFT JOIN compute_plan p ON p.key = t.compute_plan_key
    LEFT JOIN function f ON f.key = t.function_key
    WHERE t.key = ANY(:keys)
""")
_INPUTS = text("""
    WITH input AS (
        SELECT i.task_key, i.position, i.identifier, o.position AS item, t.function_key,
               COALESCE(i.asset_key, CASE WHEN o.asset_kind = 'ASSET_MODEL' THEN o.asset_key::uuid END) AS key,
               i.parent_task_key, i.parent_task_output_identifier
        FROM compute_task_input i JOIN compute_task t ON t.key = i.task_key
        LEFT JOIN compute_task_output_asset o
               ON o.task_key = i.parent_task_key AND o.identifier = i.parent_task_output_identifier
        WHERE i.task_key = ANY(:keys)
    )
    SELECT input.task_key, input.identifier, input.key, fi.kind, fi.multiple,
           input.parent_task_key, input.parent_task_output_identifier AS parent_output,
           m.owner AS model_owner, m.model_checksum, m.compute_task_key AS producer, m.model_address,
           mf.file AS model_file,
           d.owner AS manager_owner, d.opener_checksum, df.opener_file,
           s.owner AS sample_owner, sf.file AS sample_file, sf.path AS sample_path,
           sf.checksum AS sample_checksum
    FROM input
    JOIN function_input fi
      ON fi.function_key = input.function_key AND fi.identifier = input.identifier
    LEFT JOIN model m ON m.key = input.key
    LEFT JOIN model_file mf ON mf.key = input.key
    LEFT JOIN data_manager d ON d.key = input.key
    LEFT JOIN data_manager_file df ON df.key = input.key
    LEFT JOIN data_sample s ON s.key = input.key
    LEFT JOIN data_sample_file sf ON sf.key = input.key
    ORDER BY input.task_key, input.position, input.item
""")
_SLOTS = text("""
    SELECT t.key, o.identifier FROM compute_task t
    JOIN function_output o ON o.function_key = t.function_key
    WHERE t.key = ANY(:keys) AND t.worker = :me AND o.kind = 'ASSET_MODEL' AND NOT o.multiple
""")


def task_contexts(
    session: Session, keys: Sequence[UUID], *, ahead_for: str | None = None
) -> dict[UUID, TaskContext]:
    """The contexts of the tasks whose rows are there.

    `ahead_for`: with the models that parents of this organization's own will produce.
    """
    if not keys:
        return {}
    connection = session.connection()
    contexts = {
        row.key: TaskContext(
            key=row.key,
            channel=row.channel,
            plan=row.compute_plan_key,
            plan_status=PlanStatus(row.plan_status) if row.plan_status else None,
            status=TaskStatus(row.status),
            rank=row.rank,
            function=row.function_key,
            function_owner=row.function_owner or "",
            image=row.image_checksum,
            outputs=[OutputSlot(*output) for output in row.outputs or ()],
            function_metadata=row.function_metadata or {},
            plan_metadata=row.plan_metadata or {},
            plan_tag=row.plan_tag or "",
            plan_name=row.plan_name or "",
            function_name=row.function_name or "",
        )
        for row in connection.execute(_TASKS, {"keys": list(keys)})
    }
    rows = connection.execute(_INPUTS, {"keys": list(keys)}).all()
    slots = _slots(session, rows, ahead_for) if ahead_for else frozenset()
    for row in rows:
        asset = _asset(row)
        context = contexts[row.task_key]
        if asset is None and ahead_for and (row.parent_task_key, row.parent_output) in slots:
            asset = _expected(row, ahead_for)
            context.after.add(row.parent_task_key)
        if asset is None:
            context.unresolved.append(row.identifier)
        else:
            context.inputs.append(asset)
    return contexts


def _slots(session: Session, rows: Sequence[Row[Any]], me: str) -> frozenset[tuple[UUID, str]]:
    """Those outputs of unfinished parents of ours that are one model: (task, identifier)."""
    parents = {row.parent_task_key for row in rows if row.key is None and row.parent_task_key}
    if not parents:
        return frozenset()
    found = session.connection().execute(_SLOTS, {"keys": list(parents), "me": me})
    return frozenset((row.key, row.identifier) for row in found)


def _expected(row: Row[Any], me: str) -> InputAsset:
    key = model_key(row.parent_task_key, row.parent_output, 0)
    return InputAsset(
        identifier=row.identifier,
        kind=row.kind,
        multiple=row.multiple,
        key=key,
        owner=me,
        file=model_file(key),
        expected=True,
    )


def _asset(row: object) -> InputAsset | None:
    """None when the rows do not tell (yet) what the input is."""
    kind: str = row.kind  # type: ignore[attr-defined]
    values = dict(row._mapping)  # type: ignore[attr-defined]
    common = {
        "identifier": values["identifier"],
        "kind": kind,
        "multiple": values["multiple"],
        "key": values["key"],
    }
    if kind == "ASSET_MODEL" and values["model_owner"]:
        return InputAsset(
            **common,
            owner=values["model_owner"],
            checksum=values["model_checksum"] or "",
            salt=str(values["producer"]),
            file=values["model_file"],
            available=values["model_address"] is not None,
        )
    if kind == "ASSET_DATA_MANAGER" and values["manager_owner"]:
        return InputAsset(
            **common,
            owner=values["manager_owner"],
            checksum=values["opener_checksum"],
            file=values["opener_file"],
        )
    if kind == "ASSET_DATA_SAMPLE" and values["sample_owner"]:
        return InputAsset(
            **common,
            owner=values["sample_owner"],
            checksum=values["sample_checksum"] or "",
            file=values["sample_file"],
            folder=values["sample_path"],
        )
    return None
