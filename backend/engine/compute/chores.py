"""Chores of ring 1: cancel what a canceled plan left, disable transient outputs, delete disabled models."""

from collections.abc import Callable
from uuid import UUID, uuid4

import structlog
from sqlalchemy import text

from backend.assets.compute_plans.states import PlanStatus
from backend.assets.tasks.states import FINAL
from backend.engine.bridge.consequences import names
from backend.engine.compute.canceling import cancel_tasks
from backend.engine.compute.decisions import back_off_s, nobody_needs
from backend.engine.compute.leases import heartbeat
from backend.engine.compute.queue import Claimed, WorkQueue
from backend.engine.compute.tables import Kind
from backend.kit.database import Database
from backend.ports.ledger.client import ChannelLedger
from backend.ports.ledger.errors import LedgerError
from backend.ports.storage import Storage
from protos.orchestrator import function_pb2

log = structlog.get_logger()

_OPEN_TASKS = text("""
    SELECT key FROM compute_task
    WHERE compute_plan_key = :plan AND worker = :me AND NOT (status = ANY(:final)) ORDER BY rank, key
""")
_UNBUILT = text("""
    SELECT DISTINCT f.key FROM function f JOIN compute_task t ON t.function_key = f.key
    WHERE t.compute_plan_key = :plan AND f.owner = :me
      AND f.status IN ('FUNCTION_STATUS_WAITING', 'FUNCTION_STATUS_BUILDING') ORDER BY f.key
""")
PLANS_OF_FUNCTION = text("""
    SELECT DISTINCT p.key, p.status FROM compute_task t JOIN compute_plan p ON p.key = t.compute_plan_key
    WHERE t.function_key = :function
""")
_TRANSIENT = text("""
    SELECT DISTINCT o.identifier FROM compute_task t
    JOIN compute_task_output_asset o ON o.task_key = t.key AND o.asset_kind = 'ASSET_MODEL'
    JOIN model m ON m.key = o.asset_key::uuid AND m.model_address IS NOT NULL
    WHERE t.key = :task AND (t.outputs -> o.identifier ->> 'transient')::boolean ORDER BY o.identifier
""")
_MODEL_FILE = text("SELECT file FROM model_file WHERE key = :key")
_FORGET_MODEL = text("DELETE FROM model_file WHERE key = :key")
KINDS = (Kind.CANCEL, Kind.DISABLE, Kind.DELETE)


class Chores:
    """Does the small work of one organization, one piece at a time."""

    def __init__(
        self,
        database: Database,
        me: str,
        storage: Storage,
        drop_model: Callable[[UUID], None],
        ledger: Callable[[str], ChannelLedger],
    ) -> None:
        """`drop_model`: a disabled model leaves what was made ready for tasks."""
        self._database = database
        self._me = me
        self._storage = storage
        self._drop_model = drop_model
        self._ledger = ledger
        self._holder = uuid4()

    def inherit(self) -> None:
        """Go on with what a process that died had begun, without waiting for the end of its lease."""
        with self._database.transaction(durable=False) as session:
            WorkQueue(session).inherit(KINDS, self._holder)

    def turn(self) -> bool:
        """Do one chore; False when there is none."""
        with self._database.transaction(durable=False) as session:
            work = WorkQueue(session).claim(KINDS, self._holder)
        if work is None:
            return False
        try:
            with heartbeat(self._database, work) as lost:
                self._do(work, lost)
        except (LedgerError, OSError) as error:
            log.warning("chore_repeated", kind=work.kind, key=str(work.key), error=str(error))
            with self._database.transaction() as session:
                WorkQueue(session).retry(
                    work, str(error), after_s=back_off_s(work.attempts, most=30)
                )
            return True
        with self._database.transaction(durable=False) as session:
            WorkQueue(session).settle(work)
        return True

    def _do(self, work: Claimed, lost: Callable[[], bool]) -> None:
        if work.kind is Kind.CANCEL:
            self._cancel(work, lost)
        elif work.kind is Kind.DISABLE:
            self._disable(work)
        else:
            self._delete(work)

    def _cancel(self, work: Claimed, lost: Callable[[], bool]) -> None:
        """The ledger does not cascade (rule 6): functions that nobody needs, then our own tasks."""
        ledger = self._ledger(work.channel)
        for function in self._keys(_UNBUILT, plan=work.key, me=self._me):
            cancel_unneeded(self._database, ledger, function)
        tasks = self._keys(_OPEN_TASKS, plan=work.key, me=self._me, final=names(FINAL))
        error = cancel_tasks(ledger, tasks, "compute plan canceled", lost).error
        if error is not None:
            raise error

    def _disable(self, work: Claimed) -> None:
        """A refusal means that a child was added meanwhile: its end brings this chore again."""
        ledger = self._ledger(work.channel)
        with self._database.reading() as connection:
            identifiers = connection.execute(_TRANSIENT, {"task": work.key}).scalars().all()
        for identifier in identifiers:
            try:
                ledger.disable_output(str(work.key), identifier)
            except LedgerError as error:
                if error.outcome_unknown:
                    raise
                log.info("output_kept", task=str(work.key), output=identifier, reason=error.details)

    def _delete(self, work: Claimed) -> None:
        self._drop_model(work.key)
        with self._database.reading() as connection:
            file = connection.execute(_MODEL_FILE, {"key": work.key}).scalar()
        if file is not None:
            self._storage.delete(file)
            with self._database.transaction() as session:
                session.connection().execute(_FORGET_MODEL, {"key": work.key})

    def _keys(self, statement: object, **values: object) -> list[UUID]:
        with self._database.reading() as connection:
            return list(connection.execute(statement, values).scalars())  # type: ignore[call-overload]


def cancel_unneeded(database: Database, ledger: ChannelLedger, function: UUID) -> bool:
    """Cancel a function of ours that is not built yet and that only ended plans use; True when canceled."""
    with database.reading() as connection:
        rows = connection.execute(PLANS_OF_FUNCTION, {"function": function}).all()
    if not nobody_needs([PlanStatus(row.status) for row in rows]):
        return False
    try:
        ledger.apply_function_action(str(function), function_pb2.FUNCTION_ACTION_CANCELED)
    except LedgerError as error:
        if error.illegal_transition is None:
            raise
        return error.illegal_transition[1] == "FUNCTION_STATUS_CANCELED"
    log.info("function_canceled", function=str(function))
    return True
