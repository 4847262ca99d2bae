"""Fetching what a group of requests needs: few set-based queries, and none for what is in memory."""

from collections.abc import Iterable
from typing import Any, cast

from psycopg2.extensions import cursor as Cursor  # noqa: N812

from orchestrator.needs import Needs
from orchestrator.rules.states import TaskStatus
from orchestrator.state import DOCUMENTS, Kind, Known, Link, Task
from protos.orchestrator.common_pb2 import (
    ASSET_COMPUTE_PLAN,
    ASSET_COMPUTE_TASK,
    ASSET_DATA_MANAGER,
    ASSET_DATA_SAMPLE,
    ASSET_FAILURE_REPORT,
    ASSET_FUNCTION,
    ASSET_MODEL,
)
from protos.orchestrator.organization_pb2 import Organization

TABLES: dict[Kind, str] = {
    ASSET_FUNCTION: "function",
    ASSET_DATA_MANAGER: "data_manager",
    ASSET_DATA_SAMPLE: "data_sample",
    ASSET_COMPUTE_PLAN: "compute_plan",
    ASSET_COMPUTE_TASK: "compute_task",
    ASSET_MODEL: "model",
    ASSET_FAILURE_REPORT: "failure_report",
}
_DOCUMENT, _TAKEN, _ADDRESS = range(3)

TASK_COLUMNS = (
    "t.key::text, t.owner, t.worker, t.plan::text, t.function::text, t.status, t.pending,"
    " t.has_disabled"
)


def load_organizations(cursor: Cursor, known: Known) -> None:
    cursor.execute("SELECT id, document FROM organization WHERE channel = %s", (known.channel,))
    for name, document in cursor.fetchall():
        known.organizations[name] = Organization.FromString(document)


def load(cursor: Cursor, known: Known, needs: Needs) -> None:
    """Fetch what is not in memory. What is in neither place stays absent: it does not exist."""
    _load_documents(cursor, known, needs)
    missing = _absent(known, needs.tasks | needs.children | needs.links)
    if missing:
        _load_tasks(cursor, known, missing)
    if needs.children:
        _load_children(cursor, known, needs.children)
    if needs.links:
        _load_links(cursor, known, needs.links)
    if needs.builds:
        _load_builds(cursor, known, needs.builds)


def _load_documents(cursor: Cursor, known: Known, needs: Needs) -> None:
    """Documents, taken keys and taken addresses, all in one query."""
    parts: list[str] = []
    arguments: list[Any] = []
    for kind, keys in needs.documents.items():
        kept = known.documents[kind]
        missing: list[str] = []
        for key in keys:
            if key in kept:
                kept.move_to_end(key)
            else:
                missing.append(key)
        if missing:
            parts.append(
                f"SELECT {_DOCUMENT}, {kind:d}, key::text, document FROM {TABLES[kind]}"  # noqa: S608
                " WHERE key = ANY(%s::uuid[]) AND channel = %s"
            )
            arguments += [sorted(missing), known.channel]
    for kind, keys in needs.fresh.items():
        if keys:
            parts.append(f"SELECT {_TAKEN}, {kind:d}, t.key, NULL FROM {_in_use(kind)} t(key)")  # noqa: S608
            arguments.append(sorted(keys))
    if needs.addresses:
        parts.append(f"SELECT {_ADDRESS}, 0, a, NULL FROM ledger_addresses_in_use(%s) a")  # noqa: S608
        arguments.append(sorted(needs.addresses))
    if not parts:
        return
    cursor.execute(" UNION ALL ".join(parts), arguments)
    for what, kind, key, document in cursor.fetchall():
        if what == _DOCUMENT:
            known.documents[kind][key] = DOCUMENTS[kind].FromString(bytes(document))
        elif what == _TAKEN:
            known.taken.setdefault(kind, set()).add(key)
        else:
            known.addresses.add(key)


def _in_use(kind: Kind) -> str:
    """Those keys of the argument that any channel has. The database keeps the plans of its functions."""
    if kind in (ASSET_MODEL, ASSET_COMPUTE_TASK):
        return f"ledger_{TABLES[kind].removeprefix('compute_')}s_in_use(%s::uuid[])"
    return f"(SELECT key::text FROM {TABLES[kind]} WHERE key = ANY(%s::uuid[]))"  # noqa: S608


def _absent(known: Known, keys: Iterable[str]) -> list[str]:
    """Tasks that are not in memory with their document; the others are marked as used."""
    missing = []
    for key in keys:
        task = known.tasks.get(key)
        if task is None or task.document is None:
            missing.append(key)
        else:
            known.tasks.move_to_end(key)
    return missing


def _load_tasks(cursor: Cursor, known: Known, keys: list[str]) -> None:
    cursor.execute(
        f"SELECT {TASK_COLUMNS}, t.document FROM compute_task t"  # noqa: S608
        " WHERE t.key = ANY(%s::uuid[]) AND t.channel = %s",
        (sorted(keys), known.channel),
    )
    for *columns, document in cursor.fetchall():
        present = known.tasks.get(columns[0])
        if present is None:
            known.tasks[columns[0]] = _task(columns, bytes(document))
        else:
            present.document = bytes(document)  # its status in memory may be newer than the table's
            known.tasks[present.key] = present


def _load_children(cursor: Cursor, known: Known, parents: Iterable[str]) -> None:
    """Children of tasks, without their documents: a cascade touches thousands of them."""
    unknown = [p for p in parents if p in known.tasks and known.tasks[p].children is None]
    if unknown:
        cursor.execute(
            f"SELECT p.parent::text, {TASK_COLUMNS} FROM task_parent p"  # noqa: S608
            " JOIN compute_task t ON t.key = p.child WHERE p.parent = ANY(%s::uuid[])"
            " ORDER BY t.created, t.key",
            (sorted(unknown),),
        )
        for parent in unknown:
            known.tasks[parent].children = []
        for parent, *columns in cursor.fetchall():
            child = known.tasks.setdefault(columns[0], _task(columns, None))
            cast("list[str]", known.tasks[parent].children).append(child.key)
    evicted = {
        child
        for parent in parents
        if parent in known.tasks
        for child in known.tasks[parent].children or ()
        if child not in known.tasks
    }
    if evicted:
        _load_light(cursor, known, "t.key = ANY(%s::uuid[])", sorted(evicted))


def _load_builds(cursor: Cursor, known: Known, functions: Iterable[str]) -> None:
    """Tasks of functions that wait for the builder (7) or build (8), oldest first."""
    wanted = sorted(functions)
    rows = _load_light(cursor, known, "t.function = ANY(%s::uuid[]) AND t.status IN (7, 8)", wanted)
    for function in wanted:
        known.builds[function] = []
    for task in rows:
        known.builds[task.function].append(task.key)


def _load_light(cursor: Cursor, known: Known, condition: str, keys: list[str]) -> list[Task]:
    cursor.execute(
        f"SELECT {TASK_COLUMNS} FROM compute_task t WHERE {condition}"  # noqa: S608
        " AND t.channel = %s ORDER BY t.created, t.key",
        (keys, known.channel),
    )
    return [
        known.tasks.setdefault(columns[0], _task(columns, None)) for columns in cursor.fetchall()
    ]


def _load_links(cursor: Cursor, known: Known, tasks: Iterable[str]) -> None:
    unknown = [key for key in tasks if key in known.tasks and known.tasks[key].links is None]
    if not unknown:
        return
    cursor.execute(
        "SELECT task::text, identifier, position, kind, asset_key FROM output_asset"
        " WHERE task = ANY(%s::uuid[]) ORDER BY task, identifier, position",
        (sorted(unknown),),
    )
    for key in unknown:
        known.tasks[key].links = {}
    for row in cursor.fetchall():
        link = Link(*row)
        links = known.tasks[link.task].links
        assert links is not None
        links.setdefault(link.identifier, []).append(link)


def _task(columns: Any, document: bytes | None) -> Task:
    key, owner, worker, plan, function, status, pending, has_disabled = columns
    return Task(
        key,
        owner,
        worker,
        plan,
        function,
        cast("TaskStatus", status),
        pending,
        has_disabled,
        document,
    )
