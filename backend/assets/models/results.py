"""The models of a finished task, on their way from its outputs into rows (rules 1 and 3).

Order of a result: the outputs are adopted into the storage, `record_files` is committed, the ledger is told,
its answer goes into `events.register`. A file whose model the ledger does not know after an hour is the
Janitor's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid5

from sqlalchemy import delete, select
from sqlmodel import Session

from backend.assets.models.tables import ModelFile
from backend.kit.bulk import insert_rows
from backend.kit.clock import utc_now
from backend.kit.columns import core

files = core(ModelFile).c


@dataclass(frozen=True, slots=True)
class NewModelFile:
    """An output in the storage. `checksum`: SHA-256 of its bytes and the ASCII task key; `size` in bytes."""

    key: UUID
    checksum: str
    size: int


def model_key(task: UUID, identifier: str, index: int = 0) -> UUID:
    """The same key however often a result is reported (rule 1)."""
    return uuid5(task, f"{identifier}/{index}")


def storage_key(model: UUID) -> str:
    """Where the storage holds a model of ours."""
    return f"models/{model}/model"


def registered_path(model: UUID) -> str:
    """The path below DEFAULT_DOMAIN of the address that the ledger gets."""
    return f"model/{model}/file/"


def record_files(session: Session, channel: str, new: Sequence[NewModelFile]) -> None:
    """Note where models lie that the ledger is about to hear of; twice is as good as once."""
    now = utc_now()
    rows = [
        {
            "key": file.key,
            "channel": channel,
            "file": storage_key(file.key),
            "checksum": file.checksum,
            "size": file.size,
            "creation_date": now,
        }
        for file in sorted(new, key=lambda file: file.key)
    ]
    insert_rows(session, ModelFile, rows)


def file_of(session: Session, model: UUID) -> str | None:
    """The storage key of a model of ours; None when its file is not (or no longer) here."""
    query = select(files.file).where(files.key == model)
    return session.connection().execute(query).scalar_one_or_none()


def forget_file(session: Session, model: UUID) -> str | None:
    """Drop the row of a file that is to be deleted; its storage key, None when there was none."""
    query = delete(core(ModelFile)).where(files.key == model).returning(files.file)
    return session.connection().execute(query).scalar_one_or_none()
