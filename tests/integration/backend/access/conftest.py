"""People of an organization, and what they hold."""

from collections.abc import Callable

import httpx
import pytest

from backend.access.users.passwords import Passwords
from backend.access.users.store import UserStore
from backend.node import Node

GOOD = "quartz-lantern-95-gravel"  # a password that the rules accept
As = Callable[..., httpx.Client]


def add_user(
    node: Node, username: str, channel: str | None = "mychannel", role: str = "USER"
) -> int:
    """An account with the password `GOOD`, without the route."""
    with node.database.transaction() as session:
        store = UserStore(session)
        id_ = store.add(username, Passwords.hash(GOOD), f"{username}@hospital.test")
        assert id_ is not None
        if channel is not None:
            store.join(id_, channel, role)
    return id_


@pytest.fixture
def speaking(client: httpx.Client, node: Node) -> As:
    """`speaking("alice")`: a client with alice's token; the account is made when there is none."""

    def speaks(
        username: str, channel: str | None = "mychannel", role: str = "USER"
    ) -> httpx.Client:
        with node.database.transaction() as session:
            known = UserStore(session).account(username)
        if known is None:
            add_user(node, username, channel, role)
        answer = client.post(
            "/org-1/api-token-auth/", data={"username": username, "password": GOOD}
        )
        assert answer.status_code == 200, answer.text
        headers = {"Authorization": f"Token {answer.json()['token']}"}
        return httpx.Client(base_url=client.base_url, headers=headers, timeout=60)

    return speaks
