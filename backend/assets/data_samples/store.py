"""All SQL about data samples; reads give parts of JSON answers."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, Select, Text, cast, delete, func, insert, select
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlmodel import Session

from backend.access.visibility import visible
from backend.assets.data_samples.tables import DataManagerSample, DataSample, DataSampleFile
from backend.kit.columns import core
from backend.kit.filters import Conditions, dates_between, texts_in, uuids_in
from backend.kit.listing import Listing
from backend.kit.pages import Page, PageRequest
from backend.kit.parameters import Parameters
from backend.kit.statements import CHANNEL, Statement, key_parameter

samples, links = core(DataSample).c, core(DataManagerSample).c
ORDERING: dict[str, Any] = {
    "creation_date": samples.creation_date,
    "key": samples.key,
    "owner": samples.owner,
}
_MANAGERS = (
    select(
        func.array_agg(
            aggregate_order_by(cast(links.data_manager_key, Text), links.data_manager_key)
        )
    )
    .where(links.data_sample_key == samples.key)
    .correlate(core(DataSample))
    .scalar_subquery()
)
_DOOR: Select[Any] = select(
    cast(samples.key, Text).label("key"),
    samples.owner,
    samples.creation_date,
    _MANAGERS.label("manager_keys"),
).where(visible(samples, CHANNEL))
_ONE = Statement(_DOOR.where(samples.key == key_parameter()))


def samples_of(channel: str) -> Select[Any]:
    """The one door to data samples: those of a channel, with what their wire form needs."""
    return _DOOR.params(channel=channel)


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
        samples.key
        == func.any(func.array(select(links.data_sample_key).where(condition).scalar_subquery()))
        for condition in uuids_in(parameters, "dataset_key", links.data_manager_key)
    ]
    return [
        *uuids_in(parameters, "key", samples.key),
        *texts_in(parameters, "owner", samples.owner),
        *of_dataset,
        *dates_between(parameters, "creation_date", samples.creation_date),
    ]


_LISTING = Listing(
    _DOOR,
    filters=conditions,
    fields=ORDERING,
    default=[samples.creation_date],
    key=samples.key,
    along=[samples.creation_date, samples.key],
)


def page(
    connection: Session | Connection, channel: str, parameters: Parameters, request: PageRequest
) -> Page:
    """One page of the data samples of a channel."""
    return _LISTING.page(connection, parameters, request, channel=channel)


def find(connection: Session | Connection, channel: str, key: UUID) -> dict[str, Any] | None:
    """One data sample; None when the channel has no such data sample."""
    row = _ONE.first(connection, {"channel": channel, "key": str(key)})
    return wire(row) if row is not None else None


def selected(channel: str, keys: Iterable[str]) -> Select[Any]:
    """Some data samples of a channel."""
    return samples_of(channel).where(samples.key.in_([UUID(key) for key in keys]))


def add_files(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    session.connection().execute(insert(core(DataSampleFile)), list(rows))


def forget_files(session: Session, keys: Sequence[UUID]) -> None:
    table = core(DataSampleFile)
    session.connection().execute(delete(table).where(table.c.key.in_(list(keys))))
