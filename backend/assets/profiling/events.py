"""What the ledger's events do to profiling: the steps of function builds. Tasks are not profiled there."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from protos.orchestrator import event_pb2


def _is_uuid(value: str) -> bool:
    try:
        UUID(value)
    except ValueError:
        return False
    return True


def apply(session: Session, channel: str, events: Sequence[event_pb2.Event]) -> None:
    """PROFILING_STEP events; a step that comes again (a rebuild) takes the newer duration.

    The ledger checks nothing of a step (orchestrator.md 8.4): one of something that is no function of the
    channel is dropped.
    """
    rows = [
        {
            "function": event.profiling_step.asset_key,
            "step": event.profiling_step.step[:100],
            "duration": event.profiling_step.duration,
            "channel": channel,
        }
        for event in events
        if _is_uuid(event.profiling_step.asset_key)
    ]
    if rows:
        session.connection().execute(
            text(
                """
                INSERT INTO function_profiling_step (function_key, step, channel, duration)
                SELECT key, :step, channel, :duration
                  FROM function WHERE key = CAST(:function AS uuid) AND channel = :channel
                ON CONFLICT (function_key, step) DO UPDATE SET duration = excluded.duration
                """
            ),
            rows,
        )
