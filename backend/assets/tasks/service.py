"""What may be done with tasks: register them in bulk, read them and what they took and gave."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from backend.access.caller import Caller
from backend.assets.compute_plans import events as plan_events
from backend.assets.compute_plans import store as plans
from backend.assets.compute_plans.states import PlanChanges
from backend.assets.existing import AlreadyExists
from backend.assets.functions import store as functions
from backend.assets.tasks import assets, events, store
from backend.assets.tasks.registration import message
from backend.assets.tasks.schemas import NewTask
from backend.kit.errors import BadRequest, NotFound
from backend.kit.pages import Page, PageRequest
from backend.kit.parameters import Parameters
from backend.kit.validation import check_metadata
from backend.node import Node
from backend.ports.ledger.errors import LedgerError

MODEL = "ComputeTask"


class TaskService:
    """`base` is the address under which the caller reached this server: embedded functions point to it."""

    def __init__(self, node: Node, caller: Caller, base: str) -> None:
        self._node = node
        self._caller = caller
        self._channel = caller.channel
        self._base = base

    def register(self, new: Sequence[NewTask]) -> list[dict[str, Any]]:
        """Register tasks of one plan, all or none; the answer is in the ledger's (topological) order.

        Raises:
            BadRequest: no task, no known plan, several plans, or a reserved metadata key (400).
            AlreadyExists: a key is known to the ledger (409).
            LedgerError: the ledger refused, or could not be asked.
        """
        self._check(new)
        sent = {task.key: message(task) for task in new}  # of a repeated key the last one counts
        try:
            tasks = self._node.ledger.on(self._channel).register_tasks(list(sent.values()))
        except LedgerError as error:
            if error.already_exists:
                raise AlreadyExists(error.details, new[0].key) from None
            raise
        changes = PlanChanges()
        with self._node.database.transaction() as session:
            events.register(session, self._channel, tasks, changes)
            plan_events.settle(session, changes)
        with self._node.database.reading() as connection:
            rows = store.by_keys(connection, self._channel, [UUID(task.key) for task in tasks])
            results = self._results(connection, rows)
        return [
            {name: value for name, value in result.items() if name != "duration"}
            for result in results
        ]

    def _check(self, new: Sequence[NewTask]) -> None:
        keys = {task.compute_plan_key for task in new}
        with self._node.database.reading() as connection:
            known = plans.known(connection, self._channel, list(keys)) if keys else set()
        if not known:
            raise BadRequest("Invalid compute plan key")
        if len(keys) > 1:
            raise BadRequest("All tasks should have the same compute plan key")
        for task in new:
            check_metadata(task.metadata or {})

    def find(self, key: UUID) -> dict[str, Any]:
        """Raises NotFound: unknown in the caller's channel (404)."""
        with self._node.database.reading() as connection:
            row = store.find(connection, self._channel, key)
            if row is None:
                raise NotFound.of(MODEL)
            return self._results(connection, [row])[0]

    def page(
        self, parameters: Parameters, plan: UUID | None = None
    ) -> tuple[Page, list[dict[str, Any]]]:
        """One page of the channel's tasks, or of one plan's."""
        request = PageRequest.of(parameters, maximum=self._node.settings.PAGINATION_MAX_PAGE_SIZE)
        with self._node.database.reading() as connection:
            page = store.page(connection, self._channel, parameters, request, plan=plan)
            return page, self._results(connection, page.rows)

    def assets(
        self, parameters: Parameters, task: UUID, *, of_outputs: bool
    ) -> tuple[Page, list[dict[str, Any]]]:
        """One page of what a task takes or gave; an unknown task has nothing."""
        request = PageRequest.of(parameters, maximum=self._node.settings.PAGINATION_MAX_PAGE_SIZE)
        with self._node.database.reading() as connection:
            page = assets.page(
                connection, self._channel, task, parameters, request, of_outputs=of_outputs
            )
            return page, assets.results(connection, self._channel, page.rows, self._base)

    def _results(self, connection: Connection, rows: Sequence[Row[Any]]) -> list[dict[str, Any]]:
        keys = {row.function_key for row in rows}
        embedded = functions.embedded(connection, self._channel, keys, self._base)
        return [store.wire(row, embedded) for row in rows]
