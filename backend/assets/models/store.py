"""All reading of models: what a caller may see, as parts of JSON answers."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, Select, Text, cast, select
from sqlmodel import Session

from backend.access.visibility import visible
from backend.assets.models.tables import Model, ModelFile
from backend.kit.addresses import asset_address
from backend.kit.columns import core
from backend.kit.filters import Conditions, dates_between, texts_in, uuids_in
from backend.kit.listing import Listing
from backend.kit.pages import Page, PageRequest
from backend.kit.parameters import Parameters
from backend.kit.statements import CHANNEL, Statement, key_parameter

models = core(Model).c
ORDERING: dict[str, Any] = {"creation_date": models.creation_date, "key": models.key}


_DOOR: Select[Any] = select(
    cast(models.key, Text).label("key"),
    cast(models.compute_task_key, Text).label("compute_task_key"),
    *(column for column in models if column.name not in ("key", "compute_task_key")),
).where(visible(models, CHANNEL))
_ONE = Statement(_DOOR.where(models.key == key_parameter()))


def models_of(channel: str) -> Select[Any]:
    """The one door to models: those of a channel."""
    return _DOOR.params(channel=channel)


def conditions(parameters: Parameters) -> Conditions:
    """The filters of `/model/` (rest-api.md 6.5).

    Raises:
        Invalid: a malformed value (400).
    """
    return [
        *uuids_in(parameters, "key", models.key),
        *texts_in(parameters, "owner", models.owner),
        *uuids_in(parameters, "compute_task_key", models.compute_task_key),
        *uuids_in(parameters, "compute_task", models.compute_task_key),
        *dates_between(parameters, "creation_date", models.creation_date),
    ]


_LISTING = Listing(
    _DOOR,
    filters=conditions,
    fields=ORDERING,
    default=[models.creation_date],
    key=models.key,
)


def page(
    connection: Session | Connection, channel: str, parameters: Parameters, request: PageRequest
) -> Page:
    """One page of the models of a channel."""
    return _LISTING.page(connection, parameters, request, channel=channel)


def find(connection: Session | Connection, channel: str, key: UUID) -> Row[Any] | None:
    """One model; None when the channel has no such model."""
    return _ONE.first(connection, {"channel": channel, "key": str(key)})


def file_of(connection: Session | Connection, key: UUID) -> str | None:
    """Where the storage holds a model of our own; None when it is not (or no longer) there."""
    files = core(ModelFile).c
    return connection.execute(select(files.file).where(files.key == key)).scalar_one_or_none()


def wire_by_key(
    connection: Session | Connection, channel: str, keys: Iterable[UUID], base: str
) -> dict[UUID, dict[str, Any]]:
    """The wire forms of some models, by key; unknown ones are left out."""
    rows = connection.execute(models_of(channel).where(models.key.in_(list(keys)))).all()
    return {UUID(row.key): wire(row, base) for row in rows}


def selected(channel: str, keys: Iterable[str]) -> Select[Any]:
    """Some models of a channel."""
    return models_of(channel).where(models.key.in_([UUID(key) for key in keys]))


def wire(row: Row[Any], base: str) -> dict[str, Any]:
    """A model as clients see it (rest-api.md 13); a disabled one has no address."""
    address = None
    if row.model_address is not None:
        address = {
            "storage_address": asset_address(base, "model", row.key, "file"),
            "checksum": row.model_checksum,
        }
    return {
        "key": row.key,
        "compute_task_key": row.compute_task_key,
        "owner": row.owner,
        "creation_date": row.creation_date,
        "permissions": {
            "process": {
                "public": row.permissions_process_public,
                "authorized_ids": row.permissions_process_authorized_ids,
            },
            "download": {
                "public": row.permissions_download_public,
                "authorized_ids": row.permissions_download_authorized_ids,
            },
        },
        "address": address,
    }
