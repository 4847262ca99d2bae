"""Apply batches of events to the rows and the work queue, one transaction a batch with the cursor."""

from collections.abc import Callable, Sequence

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlmodel import Session

from backend.assets.apply import Applied, apply_events
from backend.engine.bridge.consequences import Offers, follow, tidy
from backend.engine.bridge.store import CursorStore
from backend.kit.database import Database
from protos.orchestrator import event_pb2

log = structlog.get_logger()
TRANSIENT = (OperationalError, InterfaceError, PoolTimeout)
"""Errors of the database's availability (deadlocks included): the batch is repeated, nothing is parked."""
Apply = Callable[[Session, str, Sequence[event_pb2.Event]], Applied]


class CursorMoved(Exception):
    """Somebody else applied events of this channel meanwhile: subscribe again from the cursor."""


class Applier:
    """Moves one channel forward. `cursor` is the id of the last event that is in the rows."""

    def __init__(
        self,
        database: Database,
        channel: str,
        me: str,
        wake: Callable[[set[str]], None],
        offers: Offers,
        apply: Apply = apply_events,
    ) -> None:
        self._database = database
        self._channel = channel
        self.me = me
        self._wake = wake
        self._offers = offers
        self._apply = apply
        self.cursor = ""

    def load(self) -> str:
        with self._database.transaction() as session:
            self.cursor = CursorStore(session, self._channel).read()
        return self.cursor

    def check(self) -> None:
        """Raises CursorMoved when PostgreSQL forgot our last batches: it crashed, and we wait for no flush."""
        with self._database.transaction(durable=False) as session:
            if CursorStore(session, self._channel).read() != self.cursor:
                raise CursorMoved

    def restart(self) -> None:
        """The ledger does not know our cursor: the whole history again (all of it is idempotent)."""
        log.warning("cursor_unknown", channel=self._channel, cursor=self.cursor)
        with self._database.transaction() as session:
            CursorStore(session, self._channel).restart()
        self.cursor = ""

    def apply(self, events: Sequence[event_pb2.Event]) -> None:
        """Apply consecutive events; one that cannot be applied is parked, and the channel goes on.

        Raises:
            CursorMoved: another bridge was here.
            sqlalchemy errors of `TRANSIENT`: nothing was changed, repeat the batch.
        """
        try:
            self._commit(events)
        except (CursorMoved, *TRANSIENT):
            raise
        except Exception as error:
            if len(events) > 1:
                log.warning(
                    "batch_failed", channel=self._channel, events=len(events), error=repr(error)
                )
                for event in events:
                    self.apply([event])
            else:
                self._park(events[0], error)

    def _commit(self, events: Sequence[event_pb2.Event]) -> None:
        with self._database.transaction(durable=False) as session:
            if not CursorStore(session, self._channel).move(self.cursor, events[-1].id):
                raise CursorMoved
            applied = self._apply(session, self._channel, events)
            topics = follow(session, applied, self.me, self._channel, self._offers)
        self.cursor = events[-1].id
        self._wake(topics)
        self._tidy(applied)

    def _tidy(self, applied: Applied) -> None:
        if not applied.tasks_final:
            return
        try:
            with self._database.transaction(durable=False) as session:
                topics = tidy(session, applied, self.me)
        except SQLAlchemyError as error:
            log.warning("not_tidied", channel=self._channel, error=str(error).splitlines()[0])
            return
        self._wake(topics)

    def _park(self, event: event_pb2.Event, error: Exception) -> None:
        log.error(
            "event_parked",
            channel=self._channel,
            event_id=event.id,
            asset=event.asset_key,
            error=repr(error),
        )
        with self._database.transaction() as session:
            store = CursorStore(session, self._channel)
            if not store.move(self.cursor, event.id):
                raise CursorMoved
            store.park(event, repr(error)[:2000])
        self.cursor = event.id
