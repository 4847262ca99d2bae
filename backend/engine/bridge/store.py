"""All SQL of the bridge's cursor and of parked events."""

from sqlalchemy import text
from sqlmodel import Session

from protos.orchestrator import event_pb2

_CREATE = text(
    "INSERT INTO last_event (channel, event_id) VALUES (:channel, '') ON CONFLICT DO NOTHING"
)
_READ = text("SELECT event_id FROM last_event WHERE channel = :channel")
_MOVE = text("""
    UPDATE last_event SET event_id = :event_id WHERE channel = :channel AND event_id = :cursor
    RETURNING channel
""")
_RESTART = text("UPDATE last_event SET event_id = '' WHERE channel = :channel")
_PARK = text("""
    INSERT INTO parked_event (event_id, channel, content, error)
    VALUES (:event_id, :channel, :content, :error)
    ON CONFLICT (event_id) DO UPDATE SET error = :error, parked = now()
""")


class CursorStore:
    """The cursor of one channel inside the caller's transaction."""

    def __init__(self, session: Session, channel: str) -> None:
        self._connection = session.connection()
        self._channel = channel

    def read(self) -> str:
        """The id of the last applied event; its row is made when missing."""
        self._connection.execute(_CREATE, {"channel": self._channel})
        return str(self._connection.execute(_READ, {"channel": self._channel}).scalar_one())

    def move(self, cursor: str, event_id: str) -> bool:
        """Move from one event to a later one; False when the cursor is elsewhere.

        Nobody else applies events of this channel until the transaction ends.
        """
        values = {"channel": self._channel, "cursor": cursor, "event_id": event_id}
        return self._connection.execute(_MOVE, values).first() is not None

    def restart(self) -> None:
        self._connection.execute(_RESTART, {"channel": self._channel})

    def park(self, event: event_pb2.Event, error: str) -> None:
        values = {
            "event_id": event.id,
            "channel": self._channel,
            "content": event.SerializeToString(),
            "error": error,
        }
        self._connection.execute(_PARK, values)
