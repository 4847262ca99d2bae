"""Profiling: read by everybody of the channel, written by this organization's own components only."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from backend.access.caller import Caller
from backend.assets.profiling import store
from backend.assets.profiling.durations import microseconds
from backend.assets.tasks import store as tasks
from backend.kit.errors import Conflict, Invalid, NotFound, PermissionDenied
from backend.kit.pages import Page, PageRequest
from backend.kit.parameters import Parameters
from backend.node import Node

PAGE_SIZE = 1000
REQUIRED = "This field is required."


class ProfilingService:
    def __init__(self, node: Node, caller: Caller) -> None:
        self._node = node
        self._caller = caller
        self._channel = caller.channel

    def page(self, parameters: Parameters) -> tuple[Page, list[dict[str, Any]]]:
        """One page of the profilings of the channel."""
        request = PageRequest.of(
            parameters, default=PAGE_SIZE, maximum=self._node.settings.PAGINATION_MAX_PAGE_SIZE
        )
        with self._node.database.reading() as connection:
            page = store.page(connection, self._channel, request)
            rundowns = store.steps_of(connection, [row.compute_task_key for row in page.rows])
        results = [store.wire(row, rundowns.get(row.compute_task_key, [])) for row in page.rows]
        return page, results

    def find(self, task: UUID) -> dict[str, Any]:
        """Raises NotFound: the task's profiling has not started here (404)."""
        with self._node.database.reading() as connection:
            row = store.find(connection, self._channel, task)
            if row is None:
                raise NotFound.of("TaskProfiling")
            rundown = store.steps_of(connection, [task]).get(task, [])
        return store.wire(row, rundown)

    def of_function(self, key: UUID) -> dict[str, Any]:
        """Raises NotFound: unknown function (404)."""
        with self._node.database.reading() as connection:
            found = store.of_function(connection, self._channel, key)
        if found is None:
            raise NotFound.of("Function")
        return found

    def start(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Start the clock of a task.

        Raises:
            PermissionDenied: not one of our own components (403).
            Invalid: no key (400). NotFound: unknown task (404). Conflict: it runs already (409).
        """
        self._check_own()
        try:
            task = UUID(str(fields.get("compute_task_key", "")))
        except ValueError:
            raise Invalid({"compute_task_key": ["Must be a valid UUID."]}) from None
        self._check_task(task)
        with self._node.database.transaction() as session:
            started = store.start(session, self._channel, task)
        if not started:
            raise Conflict(f"TaskProfiling with key {task} already exists")
        return self.find(task)

    def restart(self, task: UUID) -> dict[str, Any]:
        """Set the clock of a task to now. Raises as `start`, without conflict."""
        self._check_own()
        self._check_task(task)
        with self._node.database.transaction() as session:
            store.restart(session, self._channel, task)
        return self.find(task)

    def set_step(
        self, task: UUID, step: object, fields: Mapping[str, Any], *, new: bool
    ) -> dict[str, Any]:
        """Note how long a step took: a new one, or one that is known.

        Raises:
            PermissionDenied: not one of our own components (403).
            Invalid: step or duration malformed (400). NotFound: no profiling, or no such step (404).
            Conflict: a new step is there already (409).
        """
        self._check_own()
        if not isinstance(step, str) or not 0 < len(step) <= 100:
            raise Invalid({"step": [REQUIRED]})
        duration = microseconds(str(fields.get("duration", "")))
        if duration is None:
            message = "Duration has wrong format. Use one of these formats instead: [DD] HH:MM:SS."
            raise Invalid({"duration": [message]})
        with self._node.database.transaction() as session:
            if store.find(session, self._channel, task) is None:
                raise NotFound.of("TaskProfiling")
            known = store.has_step(session, task, step)
            if new and known:
                raise Conflict(f"ProfilingStep with key {step} already exists")
            if not new and not known:
                raise NotFound.of("ProfilingStep")
            store.set_steps(session, task, {step: duration})
        return {"step": step, "duration": duration}

    def _check_own(self) -> None:
        if not (
            self._caller.is_organization and self._caller.organization == self._node.settings.MSP_ID
        ):
            raise PermissionDenied

    def _check_task(self, task: UUID) -> None:
        with self._node.database.reading() as connection:
            if tasks.find(connection, self._channel, task) is None:
                raise NotFound.of("ComputeTask")
