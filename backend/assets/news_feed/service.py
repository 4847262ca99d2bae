"""The news of a channel, page by page."""

from typing import Any

from backend.access.caller import Caller
from backend.assets.news_feed import store
from backend.kit.pages import Page, PageRequest
from backend.kit.parameters import Parameters
from backend.node import Node


class NewsFeedService:
    def __init__(self, node: Node, caller: Caller) -> None:
        self._node = node
        self._channel = caller.channel

    def page(self, parameters: Parameters) -> tuple[Page, list[dict[str, Any]]]:
        """One page of the news.

        Raises:
            Invalid: a bound is no moment (400).
        """
        request = PageRequest.of(parameters, maximum=self._node.settings.PAGINATION_MAX_PAGE_SIZE)
        with self._node.database.reading() as connection:
            page = store.page(connection, self._channel, parameters, request)
        return page, [store.wire(row) for row in page.rows]
