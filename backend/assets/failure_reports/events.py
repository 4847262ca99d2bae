"""What the ledger's events do to failure reports, and to the tasks that failed with them.

A report follows the FAILED event of its task (orchestrator.md 8.3). The report of a build explains every task
of the function, also those registered later (`tasks.events.register`).
"""

from collections.abc import Sequence
from datetime import UTC
from typing import Any

from sqlalchemy import text
from sqlmodel import Session

from backend.assets.failure_reports.tables import FailureReport
from backend.kit.bulk import insert_rows
from backend.kit.wire import name_of
from protos.orchestrator import event_pb2, failure_report_pb2


def apply(session: Session, channel: str, events: Sequence[event_pb2.Event]) -> None:
    """FAILURE_REPORT events: keep the report, tell it to the task or to all tasks of the function."""
    register(session, channel, [event.failure_report for event in events])


def register(
    session: Session, channel: str, reports: Sequence[failure_report_pb2.FailureReport]
) -> None:
    """Reports in the ledger's form."""
    rows = [_row(channel, report) for report in sorted(reports, key=lambda r: r.asset_key)]
    insert_rows(session, FailureReport, rows)
    for row in rows:
        of_function = row["asset_type"] == "FAILED_ASSET_FUNCTION"
        column = "function_key" if of_function else "key"
        session.connection().execute(
            text(
                f"""
                WITH failed AS (
                  SELECT key FROM compute_task
                   WHERE {column} = CAST(:asset_key AS uuid) AND channel = :channel
                     AND error_type IS DISTINCT FROM :error_type
                   ORDER BY key FOR UPDATE)
                UPDATE compute_task t
                   SET error_type = :error_type, logs_address = :logs_address,
                       logs_checksum = :logs_checksum, logs_owner = :owner
                  FROM failed WHERE t.key = failed.key
                """  # noqa: S608
            ),
            row,
        )


def _row(channel: str, report: failure_report_pb2.FailureReport) -> dict[str, Any]:
    address = report.logs_address if report.HasField("logs_address") else None
    return {
        "asset_key": report.asset_key,
        "channel": channel,
        "asset_type": name_of(failure_report_pb2.FailedAssetKind, report.asset_type),
        "error_type": name_of(failure_report_pb2.ErrorType, report.error_type),
        "owner": report.owner,
        "creation_date": report.creation_date.ToDatetime(UTC),
        "logs_address": address.storage_address or None if address else None,
        "logs_checksum": address.checksum or None if address else None,
    }
