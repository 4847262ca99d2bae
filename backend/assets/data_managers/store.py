"""All SQL about data managers; reads give parts of JSON answers."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import (
    Connection,
    Row,
    Select,
    Text,
    cast,
    delete,
    func,
    insert,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlmodel import Session

from backend.access.visibility import visible
from backend.assets.data_managers.tables import DataManager, DataManagerFile
from backend.assets.data_samples.tables import DataManagerSample
from backend.kit.addresses import asset_address
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

managers = core(DataManager).c
links = core(DataManagerSample).c
ORDERING: dict[str, Any] = {
    "creation_date": managers.creation_date,
    "key": managers.key,
    "name": managers.name,
    "owner": managers.owner,
}


SAMPLE_KEYS = (
    select(
        func.string_agg(
            cast(links.data_sample_key, Text),
            aggregate_order_by(
                literal_column("'\",\"'"), links.sample_creation_date, links.data_sample_key
            ),
        )
    )
    .where(links.data_manager_key == managers.key)
    .correlate(core(DataManager))
    .scalar_subquery()
    .label("sample_keys")
)
"""The keys of a data manager's samples, by creation date and key: the inside of a JSON list."""

_DOOR: Select[Any] = select(
    cast(managers.key, Text).label("key"),
    managers.name,
    managers.owner,
    managers.creation_date,
    cast(managers.metadata, Text).label("metadata_text"),
    managers.description_checksum,
    managers.opener_checksum,
    managers.permissions_download_public,
    managers.permissions_download_authorized_ids,
    managers.permissions_process_public,
    managers.permissions_process_authorized_ids,
    managers.logs_permission_public,
    managers.logs_permission_authorized_ids,
).where(visible(managers, CHANNEL))
_WITH_SAMPLES = _DOOR.add_columns(SAMPLE_KEYS)
_ONE = Statement(_WITH_SAMPLES.where(managers.key == key_parameter()))


def managers_of(channel: str) -> Select[Any]:
    """The one door to data managers: those of a channel, with what their wire form needs."""
    return _DOOR.params(channel=channel)


def wire(row: Row[Any], base: str) -> dict[str, Any]:
    """A data manager as the assets of a task show it (rest-api.md 9.1): without its samples.

    `type` is empty: the user interface looks for it.
    """
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
            "storage_address": asset_address(base, "data_manager", row.key, "description"),
            "checksum": row.description_checksum,
        },
        "opener": {
            "storage_address": asset_address(base, "data_manager", row.key, "opener"),
            "checksum": row.opener_checksum,
        },
        "logs_permission": {
            "public": row.logs_permission_public,
            "authorized_ids": row.logs_permission_authorized_ids,
        },
        "type": "",
    }


def whole(row: Any, base: str) -> dict[str, Any]:
    """The wire form of lists and details: with `data_sample_keys`."""
    keys = f'["{row.sample_keys}"]' if row.sample_keys else "[]"
    return {**wire(row, base), "data_sample_keys": orjson.Fragment(keys)}


def conditions(parameters: Parameters) -> Conditions:
    """The filters of `/data_manager/` (rest-api.md 6.5).

    Raises:
        Invalid: a malformed value (400).
    """
    holding = [
        managers.key.in_(select(links.data_manager_key).where(condition))
        for condition in uuids_in(parameters, "data_sample_key", links.data_sample_key)
    ]
    return [
        *uuids_in(parameters, "key", managers.key),
        *texts_in(parameters, "owner", managers.owner),
        *texts_in(parameters, "name", managers.name),
        *holding,
        *dates_between(parameters, "creation_date", managers.creation_date),
        *permitting(
            parameters,
            "can_process",
            managers.permissions_process_public,
            managers.permissions_process_authorized_ids,
        ),
        *permitting(
            parameters,
            "can_access_logs",
            managers.logs_permission_public,
            managers.logs_permission_authorized_ids,
        ),
        *matching(parameters, [managers.key, managers.name]),
    ]


_LISTING = Listing(
    _WITH_SAMPLES,
    filters=conditions,
    fields=ORDERING,
    default=[managers.creation_date],
    key=managers.key,
)


def page(
    connection: Session | Connection, channel: str, parameters: Parameters, request: PageRequest
) -> Page:
    """One page of the data managers of a channel."""
    return _LISTING.page(connection, parameters, request, channel=channel)


def find(
    connection: Session | Connection, channel: str, key: UUID, base: str
) -> dict[str, Any] | None:
    """One data manager with its samples; None when the channel has no such data manager."""
    row = _ONE.first(connection, {"channel": channel, "key": str(key)})
    return whole(row, base) if row is not None else None


def selected(channel: str, keys: Iterable[str]) -> Select[Any]:
    """Some data managers of a channel, without their samples."""
    return managers_of(channel).where(managers.key.in_([UUID(key) for key in keys]))


def permission(connection: Connection, channel: str, key: UUID) -> Any | None:
    """What a download needs to know: owner, `process` permission, checksums."""
    query = select(
        managers.owner,
        managers.permissions_process_public.label("public"),
        managers.permissions_process_authorized_ids.label("authorized_ids"),
        managers.opener_checksum,
        managers.description_checksum,
    ).where(visible(managers, channel), managers.key == key)
    return connection.execute(query).one_or_none()


def files(connection: Connection, key: UUID) -> Row[Any] | None:
    """The stored files of one of our own data managers."""
    table = core(DataManagerFile)
    return connection.execute(select(table).where(table.c.key == key)).one_or_none()


def unknown_here(connection: Connection, channel: str, keys: Iterable[UUID]) -> list[UUID]:
    """Which of `keys` are no data managers of our own in this channel."""
    table, wanted = core(DataManagerFile), list(keys)
    query = select(table.c.key).where(visible(table, channel), table.c.key.in_(wanted))
    known = set(connection.execute(query).scalars())
    return [key for key in wanted if key not in known]


def add_files(session: Session, values: dict[str, Any]) -> None:
    session.connection().execute(insert(core(DataManagerFile)).values(**values))


def forget_files(session: Session, key: UUID) -> None:
    table = core(DataManagerFile)
    session.connection().execute(delete(table).where(table.c.key == key))


def rename(session: Session, channel: str, key: UUID, name: str) -> None:
    table = core(DataManager)
    session.connection().execute(
        table.update().where(table.c.key == key, visible(table, channel)).values(name=name)
    )
