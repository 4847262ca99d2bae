"""What the ledger's events do to performances."""

import struct
from collections.abc import Sequence
from datetime import UTC

from sqlalchemy import text
from sqlmodel import Session

from protos.orchestrator import event_pb2, performance_pb2


def apply(session: Session, channel: str, events: Sequence[event_pb2.Event]) -> None:
    """PERFORMANCE events: insert."""
    register(session, channel, [event.performance for event in events])


def register(
    session: Session, channel: str, performances: Sequence[performance_pb2.Performance]
) -> None:
    """Insert performances of known tasks that are not there yet, in the ledger's form."""
    rows = [
        {
            "task": p.compute_task_key,
            "identifier": p.compute_task_output_identifier,
            "channel": channel,
            "value": shortest(p.performance_value),
            "creation_date": p.creation_date.ToDatetime(UTC),
        }
        for p in sorted(
            performances, key=lambda p: (p.compute_task_key, p.compute_task_output_identifier)
        )
    ]
    if rows:
        session.connection().execute(
            text(
                """
                INSERT INTO performance
                       (compute_task_key, identifier, compute_plan_key, channel, value, creation_date)
                SELECT key, :identifier, compute_plan_key, :channel, :value, :creation_date
                  FROM compute_task WHERE key = CAST(:task AS uuid)
                ON CONFLICT DO NOTHING
                """
            ),
            rows,
        )


def shortest(value: float) -> float:
    """The number with the fewest digits that is the same 32-bit float: 0.3, not 0.30000001192092896.

    The ledger's wire has 32-bit floats; clients compare with what the function returned.
    """
    single = struct.pack("<f", value)
    for digits in range(6, 9):
        candidate = float(f"{value:.{digits}g}")
        try:
            if struct.pack("<f", candidate) == single:
                return candidate
        except OverflowError:  # rounded up beyond the largest 32-bit float
            continue
    return value
