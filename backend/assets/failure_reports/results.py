"""The logs of failed tasks and builds of this organization, on their way into rows (rules 1 and 3).

Order of a failure: the log is in the storage, `record_log` is committed, then the ledger gets the report.
"""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session

from backend.assets.failure_reports.tables import LogFile
from backend.kit.clock import utc_now
from backend.kit.columns import core

TASK, FUNCTION = "FAILED_ASSET_COMPUTE_TASK", "FAILED_ASSET_FUNCTION"
logs = core(LogFile).c


def storage_key(asset: UUID) -> str:
    """Where the storage holds the log of a task or function of ours."""
    return f"logs/{asset}/log"


def registered_path(asset: UUID) -> str:
    """The path below DEFAULT_DOMAIN of the address that the ledger gets."""
    return f"logs/{asset}/file/"


def record_log(
    session: Session, channel: str, asset: UUID, asset_type: str, *, checksum: str, size: int
) -> None:
    """Note a log under its `storage_key`; a later one (a repeated build) replaces the earlier.

    `asset_type` is TASK or FUNCTION, `checksum` the SHA-256 of the bytes, `size` in bytes.
    """
    values = {
        "channel": channel,
        "asset_type": asset_type,
        "file": storage_key(asset),
        "checksum": checksum,
        "size": size,
        "creation_date": utc_now(),
    }
    query = insert(core(LogFile)).values(asset_key=asset, **values)
    query = query.on_conflict_do_update(index_elements=["asset_key"], set_=values)
    session.connection().execute(query)


def file_of(session: Session, asset: UUID) -> str | None:
    """The storage key of a log of ours; None when there is none."""
    query = select(logs.file).where(logs.asset_key == asset)
    return session.connection().execute(query).scalar_one_or_none()
