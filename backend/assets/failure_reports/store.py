"""All reading of failure reports: whose log explains a task or an asset, and who may read it."""

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, select
from sqlmodel import Session

from backend.access.visibility import visible
from backend.assets.failure_reports.tables import FailureReport, LogFile
from backend.assets.functions.tables import Function
from backend.assets.tasks.tables import ComputeTask
from backend.kit.columns import core

reports, tasks, functions = core(FailureReport).c, core(ComputeTask).c, core(Function).c

FUNCTION = "FAILED_ASSET_FUNCTION"


@dataclass(frozen=True, slots=True)
class Log:
    """The log of a failed asset. `owner` is the organization that holds it, None when there is no log."""

    asset: UUID
    owner: str | None
    checksum: str
    public: bool
    authorized_ids: tuple[str, ...]


def log_of_task(connection: Session | Connection, channel: str, task: UUID) -> Log | None:
    """The log that explains a task: its own, or its function's when the build failed.

    None when the channel has no such task.
    """
    query = select(
        tasks.function_key,
        tasks.error_type,
        tasks.logs_address,
        tasks.logs_checksum,
        tasks.logs_owner,
        tasks.logs_permission_public,
        tasks.logs_permission_authorized_ids,
    ).where(tasks.key == task, visible(tasks, channel))
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    owner = row.logs_owner if row.logs_address else None
    if row.error_type == "ERROR_TYPE_BUILD":
        return _of_function(connection, channel, row.function_key, owner, row.logs_checksum)
    return Log(
        task,
        owner,
        row.logs_checksum or "",
        row.logs_permission_public,
        tuple(row.logs_permission_authorized_ids),
    )


def log_of_asset(connection: Session | Connection, channel: str, asset: UUID) -> Log | None:
    """The log that a report about a task or function names; None when no report has one."""
    query = select(
        reports.asset_type, reports.owner, reports.logs_address, reports.logs_checksum
    ).where(reports.asset_key == asset, visible(reports, channel))
    report: Row[Any] | None = connection.execute(query).one_or_none()
    if report is None or report.logs_address is None:
        return None
    owner, checksum = report.owner, report.logs_checksum or ""
    if report.asset_type == FUNCTION:
        return _of_function(connection, channel, asset, owner, checksum)
    log = log_of_task(connection, channel, asset)
    return log and replace(log, asset=asset, owner=owner, checksum=checksum)


def _of_function(
    connection: Session | Connection,
    channel: str,
    function: UUID,
    owner: str | None,
    checksum: str | None,
) -> Log | None:
    query = select(
        functions.permissions_process_public, functions.permissions_process_authorized_ids
    ).where(functions.key == function, visible(functions, channel))
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return Log(
        function,
        owner,
        checksum or "",
        row.permissions_process_public,
        tuple(row.permissions_process_authorized_ids),
    )


def file_of(connection: Session | Connection, asset: UUID) -> str | None:
    """Where the storage holds a log of our own; None when it is not there."""
    files = core(LogFile).c
    query = select(files.file).where(files.asset_key == asset)
    return connection.execute(query).scalar_one_or_none()
