"""What an organization tells about its queue."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from backend.access.caller import Caller
from backend.assets.tasks.states import FINAL, TaskStatus
from backend.engine.compute.demands import Site
from backend.engine.compute.tables import State
from backend.engine.waiting.rules import Row, position, reason
from backend.engine.waiting.store import WaitingStore
from backend.kit.errors import NotFound
from backend.node import Node


class Waiting:
    """The queue for one caller. Words of errors are for our own users: they may name paths and addresses."""

    def __init__(self, node: Node, caller: Caller) -> None:
        self._node = node
        self._caller = caller

    def worker(self, key: UUID) -> str:
        """Who works on a task, and so knows its place.

        Raises:
            NotFound: unknown, or of another channel (404).
        """
        with self._node.database.reading() as connection:
            task = WaitingStore(connection).task(key, self._caller.channel)
        if task is None:
            raise NotFound.of("ComputeTask")
        return str(task.worker)

    def of_task(self, key: UUID) -> dict[str, Any]:
        """Where the task stands, and why it waits."""
        with self._node.database.reading() as connection:
            store = WaitingStore(connection)
            task = store.task(key, self._caller.channel)
            if task is None:
                raise NotFound.of("ComputeTask")
            work = store.work(key)
            status = TaskStatus(task.status)
            ready = work is not None and work.state == State.READY
            place = (
                position(str(task.compute_plan_key), work.before, store.turns())
                if ready and work is not None and status not in FINAL
                else None
            )
            builds = None
            if status is TaskStatus.WAITING_FOR_BUILDER_SLOT and task.builder == self._node.own:
                builds = store.builds_before(task.function_key)
        row = self._row(task, work, status, builds)
        return {
            "key": key,
            "status": task.status,
            "worker": task.worker,
            "state": row.state,
            "position": place,
            "reason": reason(row, place),
            "attempts": row.attempts,
            "tries": row.tries,
            "not_before": row.not_before if row.state is State.NEW else None,
            "last_error": work.last_error if work is not None and self._trusted else None,
            "resources": {
                "cpus": work.cpus, "memory_bytes": work.memory_bytes, "gpus": work.gpus
            } if work is not None and work.state in (State.READY, State.LEASED) else None,
        }  # fmt: skip

    def overview(self) -> dict[str, Any]:
        """The whole queue of the caller's channel."""
        with self._node.database.reading() as connection:
            found = WaitingStore(connection).overview(self._caller.channel)
        return {"organization": self._node.own, "channel": self._caller.channel, **found}

    @property
    def _trusted(self) -> bool:
        return not self._caller.is_organization

    def _row(self, task: Any, work: Any, status: TaskStatus, builds: int | None) -> Row:
        row = Row(
            status=status,
            state=None,
            builds_before=builds,
            parents=task.parents,
            open_parents=task.open_parents,
        )
        if work is None:
            return row
        has = Site.of(self._node.settings).has
        fits = (
            work.busy_cpus + work.cpus <= has.cpus + 1e-6
            and work.busy_memory_bytes + work.memory_bytes <= has.memory_bytes
            and work.busy_gpus + work.gpus <= has.gpus + 1e-6
        )
        return replace(
            row,
            state=State(work.state),
            canceled=work.canceled,
            attempts=work.attempts,
            tries=work.tries,
            cause=work.cause,
            not_before=work.not_before,
            fits=fits,
            index=work.before,
        )
