"""Performances: of one plan, and of the whole channel."""

from typing import Any
from uuid import UUID

from backend.access.caller import Caller
from backend.assets.performances import store
from backend.kit.pages import Page, PageRequest
from backend.kit.parameters import Parameters
from backend.node import Node

PAGE_SIZE = 1000


class PerformanceService:
    def __init__(self, node: Node, caller: Caller) -> None:
        self._node = node
        self._channel = caller.channel

    def of_plan(self, plan: UUID, parameters: Parameters) -> dict[str, Any]:
        """Every performance of a plan, with the ranks and rounds of its tasks (rest-api.md 14.1)."""
        with self._node.database.reading() as connection:
            statistics = store.ranks_and_rounds(connection, self._channel, plan)
            rows = store.of_plan(connection, self._channel, plan, parameters)
        return {
            "results": [
                {
                    "compute_task": {
                        "key": row.compute_task_key,
                        "function_key": row.function_key,
                        "rank": row.rank,
                        "round_idx": row.round_idx,
                        "worker": row.worker,
                    },
                    "identifier": row.identifier,
                    "perf": row.value,
                }
                for row in rows
            ],
            "compute_plan_statistics": None
            if statistics is None
            else {
                "compute_tasks_distinct_ranks": statistics[0],
                "compute_tasks_distinct_rounds": statistics[1],
            },
        }

    def page(self, parameters: Parameters) -> tuple[Page, list[dict[str, Any]]]:
        """One page of the channel's performances, each with what its plan tells."""
        request = PageRequest.of(
            parameters, default=PAGE_SIZE, maximum=self._node.settings.PAGINATION_MAX_PAGE_SIZE
        )
        with self._node.database.reading() as connection:
            page = store.page(connection, self._channel, parameters, request)
        return page, [store.listed(row) for row in page.rows]
