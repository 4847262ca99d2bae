"""All SQL about functions; reads give parts of JSON answers, built by PostgreSQL where they are nested."""

from collections.abc import Collection, Iterable
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import (
    Connection,
    Row,
    Select,
    Text,
    Uuid,
    bindparam,
    cast,
    delete,
    func,
    insert,
    select,
)
from sqlalchemy import literal_column as raw
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Session

from backend.access.visibility import visible
from backend.assets.functions.tables import (
    Function,
    FunctionFile,
    FunctionImage,
    FunctionInput,
    FunctionOutput,
)
from backend.assets.tasks.tables import ComputeTask
from backend.kit.addresses import asset_address
from backend.kit.answers import dumps
from backend.kit.columns import core
from backend.kit.filters import (
    Conditions,
    dates_between,
    matching,
    permitting,
    texts_in,
    uuids_in,
)
from backend.kit.listing import Listing
from backend.kit.pages import Page, PageRequest
from backend.kit.parameters import Parameters
from backend.kit.statements import CHANNEL, Statement, key_parameter

functions, tasks = core(Function).c, core(ComputeTask).c
ORDERING: dict[str, Any] = {
    "creation_date": functions.creation_date,
    "key": functions.key,
    "name": functions.name,
    "owner": functions.owner,
}


def _declared(table: Any, members: str) -> Any:
    """`{identifier: {...}}` of a function's inputs or outputs as text, identifiers sorted."""
    declared = core(table)
    entries = func.json_object_agg(
        raw(f"{declared.name}.identifier"),
        raw(f"json_build_object({members})"),
    )
    ordered = (
        select(declared)
        .where(declared.c.function_key == functions.key)
        .order_by(declared.c.identifier)
        .correlate(core(Function))
        .subquery(declared.name)
    )
    return cast(select(entries).select_from(ordered).scalar_subquery(), Text)


_INPUTS = _declared(FunctionInput, "'kind', kind, 'optional', optional, 'multiple', multiple")
_OUTPUTS = _declared(FunctionOutput, "'kind', kind, 'multiple', multiple")


_DOOR: Select[Any] = select(
    cast(functions.key, Text).label("key"),
    functions.name,
    functions.owner,
    functions.creation_date,
    cast(functions.metadata, Text).label("metadata_text"),
    functions.status,
    functions.description_checksum,
    functions.archive_checksum,
    functions.permissions_download_public,
    functions.permissions_download_authorized_ids,
    functions.permissions_process_public,
    functions.permissions_process_authorized_ids,
    _INPUTS.label("inputs_text"),
    _OUTPUTS.label("outputs_text"),
).where(visible(functions, CHANNEL))


def functions_of(channel: str) -> Select[Any]:
    """The one door to functions: those of a channel, with what their wire form needs."""
    return _DOOR.params(channel=channel)


def wire(row: Row[Any], base: str) -> dict[str, Any]:
    """A function as clients see it (rest-api.md 8.1)."""
    return {
        "key": row.key,
        "name": row.name,
        "owner": row.owner,
        "creation_date": row.creation_date,
        "metadata": orjson.Fragment(row.metadata_text),
        "permissions": {
            "download": {
                "public": row.permissions_download_public,
                "authorized_ids": row.permissions_download_authorized_ids,
            },
            "process": {
                "public": row.permissions_process_public,
                "authorized_ids": row.permissions_process_authorized_ids,
            },
        },
        "description": {
            "storage_address": asset_address(base, "function", row.key, "description"),
            "checksum": row.description_checksum,
        },
        "archive": {
            "storage_address": asset_address(base, "function", row.key, "file"),
            "checksum": row.archive_checksum,
        },
        "inputs": orjson.Fragment(row.inputs_text or "{}"),
        "outputs": orjson.Fragment(row.outputs_text or "{}"),
        "status": row.status,
    }


def conditions(parameters: Parameters) -> Conditions:
    """The filters of `/function/` (rest-api.md 6.5).

    Raises:
        Invalid: a malformed value (400).
    """
    used = [
        functions.key.in_(select(tasks.function_key).where(condition))
        for condition in uuids_in(parameters, "compute_plan_key", tasks.compute_plan_key)
    ]
    return [
        *uuids_in(parameters, "key", functions.key),
        *texts_in(parameters, "owner", functions.owner),
        *texts_in(parameters, "name", functions.name),
        *used,
        *dates_between(parameters, "creation_date", functions.creation_date),
        *permitting(
            parameters,
            "can_process",
            functions.permissions_process_public,
            functions.permissions_process_authorized_ids,
        ),
        *matching(parameters, [functions.key, functions.name]),
    ]


_LISTING: dict[str, Any] = {
    "filters": conditions,
    "fields": ORDERING,
    "default": [functions.creation_date],
    "key": functions.key,
}
_USED = select(tasks.function_key).where(
    tasks.compute_plan_key == key_parameter("plan"), visible(tasks, CHANNEL)
)
_ALL = Listing(_DOOR, **_LISTING)
_PLANS = Listing(_DOOR.where(functions.key.in_(_USED)), **_LISTING)


def page(
    connection: Session | Connection,
    channel: str,
    parameters: Parameters,
    request: PageRequest,
    plan: UUID | None = None,
) -> Page:
    """One page of the functions of a channel, or of those that a plan's tasks use."""
    if plan is None:
        return _ALL.page(connection, parameters, request, channel=channel)
    return _PLANS.page(connection, parameters, request, channel=channel, plan=str(plan))


def find(
    connection: Session | Connection, channel: str, key: UUID, base: str
) -> dict[str, Any] | None:
    """One function; None when the channel has no such function."""
    return wire_by_key(connection, channel, [key], base).get(key)


def wire_by_key(
    connection: Session | Connection, channel: str, keys: Iterable[UUID], base: str
) -> dict[UUID, dict[str, Any]]:
    """The wire forms of some functions, by key; unknown ones are left out."""
    wanted = list(keys)
    if not wanted:
        return {}
    rows = connection.execute(functions_of(channel).where(functions.key.in_(wanted))).all()
    return {UUID(row.key): wire(row, base) for row in rows}


_EMBEDDED = Statement(
    _DOOR.where(functions.key == func.any(cast(bindparam("keys"), ARRAY(Uuid(as_uuid=False)))))
)


def embedded(
    connection: Session | Connection, channel: str, keys: Collection[str], base: str
) -> dict[str, orjson.Fragment]:
    """Functions in the form in which each of their tasks shows them, by key: serialized once for all tasks."""
    if not keys:
        return {}
    rows = _EMBEDDED.rows(connection, {"channel": channel, "keys": list(keys)})
    return {row.key: orjson.Fragment(dumps(wire(row, base))) for row in rows}


def permission(connection: Connection, channel: str, key: UUID) -> Any | None:
    """What a download needs to know: owner, `process` permission, checksums, the image's checksum."""
    query = select(
        functions.owner,
        functions.permissions_process_public.label("public"),
        functions.permissions_process_authorized_ids.label("authorized_ids"),
        functions.archive_checksum,
        functions.description_checksum,
        functions.image_checksum,
    ).where(visible(functions, channel), functions.key == key)
    return connection.execute(query).one_or_none()


def files(connection: Connection, key: UUID) -> Row[Any] | None:
    """The stored files of one of our own functions."""
    table = core(FunctionFile)
    return connection.execute(select(table).where(table.c.key == key)).one_or_none()


def image_checksum(connection: Connection, key: UUID) -> str | None:
    """The checksum of our own image of a function; it stands here before the ledger names it."""
    table = core(FunctionImage)
    query = select(table.c.checksum).where(table.c.function_key == key)
    return connection.execute(query).scalar_one_or_none()


def add_files(session: Session, values: dict[str, Any]) -> None:
    session.connection().execute(insert(core(FunctionFile)).values(**values))


def forget_files(session: Session, key: UUID) -> None:
    table = core(FunctionFile)
    session.connection().execute(delete(table).where(table.c.key == key))


def rename(session: Session, channel: str, key: UUID, name: str) -> None:
    table = core(Function)
    session.connection().execute(
        table.update().where(table.c.key == key, visible(table, channel)).values(name=name)
    )
