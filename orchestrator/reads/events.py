"""Reads of events: pages, and the batches of a stream that lags behind (orchestrator.md 9.3, 9.4)."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator import pages
from orchestrator.database import Pool
from orchestrator.errors import Malformed, UnknownEvent
from orchestrator.events import COLUMNS, FROM, from_row, wire_of_row
from orchestrator.identity import Caller
from orchestrator.validation import is_key
from protos.orchestrator import event_pb2
from protos.orchestrator.common_pb2 import DESCENDING

BATCH_BYTES = 1_000_000
"""Of assets in one batch of a stream that lags behind."""


def events(
    pool: Pool, caller: Caller, request: event_pb2.QueryEventsParam
) -> event_pb2.QueryEventsResponse:
    """In the channel's own order, which is also that of the timestamps."""
    asked = pages.size(request.page_size)
    after = pages.number(request.page_token)
    descending = request.sort == DESCENDING
    wanted = request.filter
    metadata = dict(wanted.metadata)
    reason = metadata.pop("reason", None)
    key = wanted.asset_key.replace("\x00", "\ufffd")
    where, arguments = pages.conditions(
        [
            ("e.channel = %s", [caller.channel]),
            (f"e.position {'<' if descending else '>'} %s", [after]) if after is not None else None,
            ("e.asset_key = %s", [key]) if key else None,
            ("e.asset_kind = %s", [wanted.asset_kind]) if wanted.asset_kind else None,
            ("e.event_kind = %s", [wanted.event_kind]) if wanted.event_kind else None,
            ("e.reason = %s", [reason.replace("\x00", "\ufffd")]) if reason is not None else None,
            ("false", []) if metadata else None,  # no event has any other entry
            ("e.moment >= %s", [_moment(wanted.start)]) if wanted.HasField("start") else None,
            ("e.moment <= %s", [_moment(wanted.end)]) if wanted.HasField("end") else None,
        ]
    )
    with pool.cursor() as cursor:
        cursor.execute(
            f"SELECT {COLUMNS} FROM {FROM} WHERE {where}"  # noqa: S608
            f" ORDER BY e.position {'DESC' if descending else 'ASC'} LIMIT %s",
            [*arguments, asked + 1],
        )
        rows = cursor.fetchall()
    found, following = pages.cut(rows, asked, from_row, lambda row: str(row[0]))
    return event_pb2.QueryEventsResponse(events=found, next_page_token=following)


def _moment(stamp: Timestamp) -> datetime:
    """A filter's date; what lies outside the calendar is refused."""
    try:
        return stamp.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise Malformed("invalid timestamp in filter") from None


def position(pool: Pool, caller: Caller, event: str) -> int:
    """Where a stream starts: after `event`, or at the channel's beginning.

    Raises:
        UnknownEvent: the channel has no such event.
    """
    if not event:
        return 0
    if not is_key(event):
        raise UnknownEvent(event[:100])
    with pool.cursor() as cursor:
        cursor.execute(
            "SELECT position FROM event WHERE id = %s AND channel = %s", (event, caller.channel)
        )
        row = cursor.fetchone()
    if row is None:
        raise UnknownEvent(event)
    return int(row[0])


def after(pool: Pool, channel: str, start: int, limit: int) -> list[tuple[int, bytes]]:
    """At most `limit` events after a position, as position and wire form; fewer when they are large.

    A slow subscriber holds one batch, so its bytes are bounded too.
    """
    with pool.cursor() as cursor:
        cursor.execute(_BATCH, (channel, start, start + limit, BATCH_BYTES))
        rows = cursor.fetchall()
    return [(row[0], wire_of_row(row)) for row in rows]


# Positions have no gap, so a range of them is a number of events; with LIMIT and old statistics the planner
# would join and sort all that follow, for each batch. The sizes are known without reading what PostgreSQL
# stores apart, and the first event of a batch always fits.
_BATCH = f"""
SELECT position, id, asset_key, asset_kind, event_kind, channel, moment, reason, payload, status, slim, document
  FROM (SELECT b.*, sum(size) OVER (ORDER BY position) - size AS before
          FROM (SELECT {COLUMNS}, octet_length(coalesce(e.payload, t.document)) AS size
                  FROM {FROM} WHERE e.channel = %s AND e.position > %s AND e.position <= %s) b) c
 WHERE before < %s ORDER BY position
"""  # noqa: S608


def heads(pool: Pool) -> dict[str, int]:
    """Position of the last event of every channel."""
    with pool.cursor() as cursor:
        cursor.execute("SELECT channel, position FROM channel_head")
        return {channel: int(position_) for channel, position_ in cursor.fetchall()}
