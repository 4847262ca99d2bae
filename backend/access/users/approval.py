"""Users without a channel: an administrator lets them in, or sends them away (rest-api.md 4)."""

from typing import Any

from backend.access.caller import Caller
from backend.access.users.service import DEFAULT_ROLE, role_of
from backend.access.users.store import UserStore, wire
from backend.kit.errors import NotFound
from backend.kit.pages import Page, PageRequest
from backend.kit.parameters import Parameters
from backend.node import Node


class ApprovalService:
    """For administrators: whoever is let in joins the administrator's channel."""

    def __init__(self, node: Node, caller: Caller) -> None:
        self._node = node
        self._caller = caller

    def page(self, parameters: Parameters) -> tuple[Page, list[dict[str, Any]]]:
        wanted = PageRequest.of(parameters, maximum=self._node.settings.PAGINATION_MAX_PAGE_SIZE)
        with self._node.database.transaction(durable=False) as session:
            page = UserStore(session).awaiting_page(parameters, wanted)
        return page, [{"username": row.username, "email": row.email} for row in page.rows]

    def approve(self, username: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Raises NotFound (404): nobody of this name waits, or somebody else was faster."""
        role = role_of(fields) or DEFAULT_ROLE
        with self._node.database.transaction() as session:
            store = UserStore(session)
            id_ = store.awaiting(username)
            if id_ is None or not store.join(id_, self._caller.channel, role):
                raise NotFound("User not found")
            row = store.find(self._caller.channel, username)
        if row is None:
            raise NotFound("User not found")
        return wire(row)

    def remove(self, username: str) -> None:
        """Only of those that wait: others are removed by their own route.

        Raises:
            NotFound: nobody of this name waits (404).
        """
        with self._node.database.transaction() as session:
            store = UserStore(session)
            id_ = store.awaiting(username)
            if id_ is None:
                raise NotFound("User not found")
            store.remove(id_)
