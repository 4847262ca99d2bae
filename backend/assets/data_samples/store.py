"""All SQL about data samples; reads give parts of JSON answers."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, Select, Text, cast, delete, func, insert, select
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlmodel import Session

from backend.assets.data_samples.tables import DataManagerSample, DataSample, DataSampleFile
from backend.kit.columns import core
from backend.kit.filters import Conditions, dates_between, ordered_by, texts_in, uuids_in
from backend.kit.pages import Page, PageRequest
from backend.kit.parameters import Parameters

samples, links = core(DataSample).c, core(DataManagerSample).c
ORDERING: dict[str, Any] = {
    "creation_date": samples.creation_date,
    "key": samples.key,
    "owner": samples.owner,
}
_MANAGER = cast(links.data_manager_key, Text)
_MANAGERS = (
    select(func.array_agg(aggregate_order_by(_MANAGER, links.data_manager_key)))
    .where(links.data_sample_key == samples.key)
    .correlate(core(DataSample))
    .scalar_subquery()
)


def samples_of(channel: str) -> Select[Any]:
    """The one door to data samples: those of a channel, with what their wire form needs."""
    return select(
        samples.key, samples.owner, samples.creation_date, _MANAGERS.label("manager_keys")
    ).where(samples.channel == channel)


def wire(row: Row[Any]) -> dict[str, Any]:
    """A data sample as clients see it (rest-api.md 10.1)."""
    return {
        "key": row.key,
        "owner": row.owner,
        "creation_date": row.creation_date,
        "data_manager_keys": row.manager_keys or [],
    }


def conditions(parameters: Parameters) -> Conditions:
    """The filters of `/data_sample/` (rest-api.md 6.5).

    Raises:
        Invalid: a malformed value (400).
    """
    of_dataset = [
        samples.key.in_(select(links.data_sample_key).where(condition))
        for condition in uuids_in(parameters, "dataset_key", links.data_manager_key)
    ]
    return [
        *uuids_in(parameters, "key", samples.key),
        *texts_in(parameters, "owner", samples.owner),
        *of_dataset,
        *dates_between(parameters, "creation_date", samples.creation_date),
    ]


def page(
    connection: Session | Connection, channel: str, parameters: Parameters, request: PageRequest
) -> Page:
    """One page of the data samples of a channel."""
    query = samples_of(channel).where(*conditions(parameters))
    order = ordered_by(parameters, ORDERING, [samples.creation_date], samples.key)
    return request.rows(connection, query, order)


def find(connection: Session | Connection, channel: str, key: UUID) -> dict[str, Any] | None:
    """One data sample; None when the channel has no such data sample."""
    return wire_by_key(connection, channel, [key]).get(key)


def wire_by_key(
    connection: Session | Connection, channel: str, keys: Iterable[UUID]
) -> dict[UUID, dict[str, Any]]:
    """The wire forms of some data samples; unknown ones are left out."""
    query = samples_of(channel).where(samples.key.in_(list(keys)))
    return {row.key: wire(row) for row in connection.execute(query)}


def add_files(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    session.connection().execute(insert(core(DataSampleFile)), list(rows))


def forget_files(session: Session, keys: Sequence[UUID]) -> None:
    table = core(DataSampleFile)
    session.connection().execute(delete(table).where(table.c.key.in_(list(keys))))
