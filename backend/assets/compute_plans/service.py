"""What may be done with compute plans: register, rename, cancel, read."""

from typing import Any
from uuid import UUID

from sqlalchemy import text

from backend.access.caller import Caller
from backend.assets.compute_plans import events, store
from backend.assets.compute_plans.schemas import NewComputePlan, NewName
from backend.assets.existing import AlreadyExists
from backend.kit.errors import NotFound
from backend.kit.pages import Page, PageRequest
from backend.kit.parameters import Parameters
from backend.kit.validation import check_metadata
from backend.node import Node
from backend.ports.ledger.errors import LedgerError
from protos.orchestrator import computeplan_pb2

PAGE_SIZE = 10
MODEL = "ComputePlan"


class ComputePlanService:
    def __init__(self, node: Node, caller: Caller) -> None:
        self._node = node
        self._caller = caller
        self._channel = caller.channel

    def register(self, new: NewComputePlan) -> dict[str, Any]:
        """Register a plan in the ledger and show it with the caller as its creator.

        The creator is committed before the ledger hears of the plan, so that its event may come first.

        Raises:
            BadRequest: a metadata key is reserved (400).
            AlreadyExists: the key is known to the ledger (409).
            LedgerError: the ledger refused, or could not be asked.
        """
        check_metadata(new.metadata or {})
        noted = self._note_creator(new.key)
        sent = computeplan_pb2.NewComputePlan(
            key=str(new.key), name=new.name, tag=new.tag or "", metadata=new.metadata or {}
        )
        try:
            plan = self._node.ledger.on(self._channel).register_plan(sent)
        except LedgerError as error:
            if noted and not error.outcome_unknown:
                self._forget_creator(new.key)
            if error.already_exists:
                raise AlreadyExists(error.details, new.key) from None
            raise
        with self._node.database.transaction() as session:
            events.register(session, self._channel, [plan])
            found = store.find(session, self._channel, new.key)
        if found is None:
            raise NotFound.of(MODEL)
        return {name: value for name, value in found.items() if name != "duration"}

    def _note_creator(self, key: UUID) -> bool:
        """True when there was no creator of this plan yet."""
        with self._node.database.transaction() as session:
            result = session.connection().execute(
                text(
                    "INSERT INTO compute_plan_creator (compute_plan_key, channel, user_id)"
                    " VALUES (:key, :channel, :user) ON CONFLICT DO NOTHING"
                ),
                {"key": key, "channel": self._channel, "user": self._caller.user_id},
            )
            return result.rowcount == 1

    def _forget_creator(self, key: UUID) -> None:
        with self._node.database.transaction() as session:
            session.connection().execute(
                text("DELETE FROM compute_plan_creator WHERE compute_plan_key = :key"),
                {"key": key},
            )

    def rename(self, key: UUID, new: NewName) -> dict[str, Any]:
        """Give a plan another name; the answer shows it at once.

        Raises:
            NotFound: unknown in the caller's channel (404).
            LedgerError: not the caller's organization's plan (403), or the name's length (400).
        """
        self.find(key)
        self._node.ledger.on(self._channel).update_plan(str(key), new.name)
        with self._node.database.transaction() as session:
            session.connection().execute(
                text("UPDATE compute_plan SET name = :name WHERE key = :key"),
                {"name": new.name, "key": key},
            )
        return self.find(key)

    def cancel(self, key: UUID) -> None:
        """Cancel a plan; workers stop its tasks when the ledger's event reaches them.

        Raises:
            NotFound: unknown in the caller's channel (404).
            LedgerError: not the caller's organization's plan (403); it has ended already (400).
        """
        self.find(key)
        ledger = self._node.ledger.on(self._channel)
        try:
            ledger.cancel_plan(str(key))
        except LedgerError as error:
            lost = error.outcome_unknown or error.repeated
            if not (lost and ledger.plan(str(key)).HasField("cancelation_date")):
                raise

    def find(self, key: UUID) -> dict[str, Any]:
        """Raises NotFound: unknown in the caller's channel (404)."""
        with self._node.database.reading() as connection:
            found = store.find(connection, self._channel, key)
        if found is None:
            raise NotFound.of(MODEL)
        return found

    def page(self, parameters: Parameters) -> Page:
        """One page of the channel's plans."""
        request = PageRequest.of(
            parameters,
            default=PAGE_SIZE,
            maximum=self._node.settings.PAGINATION_MAX_PAGE_SIZE,
        )
        with self._node.database.reading() as connection:
            return store.page(connection, self._channel, parameters, request)

    def metadata_keys(self) -> list[str]:
        """The distinct metadata keys of the channel's plans, alphabetically."""
        with self._node.database.reading() as connection:
            return store.metadata_keys(connection, self._channel)
