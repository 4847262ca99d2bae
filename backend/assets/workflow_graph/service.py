"""The graph of a plan, up to a size that a browser can draw."""

from typing import Any
from uuid import UUID

from backend.access.caller import Caller
from backend.assets.workflow_graph import store
from backend.kit.errors import PermissionDenied
from backend.node import Node

MOST_TASKS = 5000


class WorkflowGraphService:
    def __init__(self, node: Node, caller: Caller) -> None:
        self._node = node
        self._channel = caller.channel

    def of_plan(self, plan: UUID) -> dict[str, Any]:
        """Tasks and edges; an unknown plan has none of them.

        Raises:
            PermissionDenied: more than 5,000 tasks (403, the contract's status).
        """
        with self._node.database.reading() as connection:
            tasks = store.tasks_of_plan(connection, self._channel, plan, MOST_TASKS + 1)
            if len(tasks) > MOST_TASKS:
                raise PermissionDenied(
                    f"Cannot build workflow graph for more than {MOST_TASKS} tasks."
                )
            edges, functions = store.edges_and_functions(
                connection,
                self._channel,
                [task.key for task in tasks],
                {task.function_key for task in tasks},
            )
        return {
            "tasks": [store.wire(task, functions.get(task.function_key)) for task in tasks],
            "edges": edges,
        }
