"""SECRET_KEY is replaced while people work: with the one before it still named, nothing ends."""

from collections.abc import Callable, Iterator

import httpx
import pytest
from sqlalchemy import select
from sqlmodel import Session

from backend.access.account_file import Accounts, apply
from backend.access.authentication import Authentication
from backend.access.organizations.secrets import OutgoingSecrets, set_outgoing
from backend.access.provisioning import provision
from backend.access.sessions.signing import Signer
from backend.access.users.reset_links import ResetLinks
from backend.access.users.tables import User
from backend.kit.columns import core
from backend.kit.errors import Unauthenticated
from backend.node import Node
from backend.settings import Settings, UserSettings

As = Callable[..., httpx.Client]
NEW = "n" * 64


def changed(settings: Settings, *, previous: bool) -> Settings:
    """The same organization with another key; `previous`: it still knows the one before."""
    before = settings.SECRET_KEY if previous else ""
    return settings.model_copy(update={"SECRET_KEY": NEW, "SECRET_KEY_PREVIOUS": before})


@pytest.fixture
def after(node: Node) -> Iterator[Callable[[bool], Node]]:
    """The node as a process with the new key has it."""
    made: list[Node] = []

    def start(previous: bool) -> Node:
        found = Node.build(changed(node.settings, previous=previous))
        made.append(found)
        return found

    yield start
    for found in made:
        found.close()


def test_tokens_work_on_and_are_taken_over(
    node: Node, speaking: As, after: Callable[[bool], Node]
) -> None:
    header = speaking("alice").headers["Authorization"]
    with pytest.raises(Unauthenticated):
        Authentication(after(False)).by_token(header)
    found = Authentication(after(True)).by_token(header)
    assert found is not None
    assert found.username == "alice"
    # it was used once: the previous key is not needed for it any more
    again = Authentication(after(False)).by_token(header)
    assert again is not None
    assert again.username == "alice"
    with pytest.raises(Unauthenticated):
        Authentication(node).by_token(header)


def test_sessions_and_reset_links_work_on(node: Node) -> None:
    signed = Signer(node.settings).sign("access", 7)
    link = ResetLinks(node.settings).make("alice", "hash")
    both = changed(node.settings, previous=True)
    assert Signer(both).verify("access", signed.text).user_id == 7
    ResetLinks(both).check(link, "alice", "hash")
    with pytest.raises(Unauthenticated):
        ResetLinks(both).check(link, "alice", "another hash")
    with pytest.raises(Unauthenticated):
        ResetLinks(changed(node.settings, previous=False)).check(link, "alice", "hash")


def test_secrets_of_organizations_are_encrypted_anew(
    node: Node, after: Callable[[bool], Node]
) -> None:
    with node.database.transaction() as session:
        set_outgoing(session, node.settings, "MyOrg9MSP", "a secret", "http://org-9")
    assert outgoing(after(False)) is None
    both = after(True)
    assert outgoing(both) == "a secret"
    provision(both)
    assert outgoing(after(False)) == "a secret"


def outgoing(node: Node) -> str | None:
    found = OutgoingSecrets(node.settings, node.database)("MyOrg9MSP", "mychannel")
    return found.outgoing if found is not None else None


def test_account_file_sets_no_password_back(node: Node, after: Callable[[bool], Node]) -> None:
    listed = UserSettings(username="alice", password="quartz-lantern-95", channel="mychannel")
    accounts = Accounts(
        users=[(listed, None)],
        incoming=[("MyOrg9MSP", "incoming")],
        outgoing=[("MyOrg9MSP", "outgoing", "http://org-9")],
    )
    assert outcomes(node, accounts) == {"created"}
    with node.database.transaction() as session:
        users = core(User)
        own = users.update().where(users.c.username == "alice").values(password="her own")
        session.connection().execute(own)
        set_outgoing(session, node.settings, "MyOrg9MSP", "by hand", None)
    both = after(True)
    assert outcomes(both, accounts) == {"unchanged"}
    provision(both)
    alone = after(False)
    assert outcomes(alone, accounts) == {"unchanged"}
    with node.database.transaction() as session:
        assert password(session) == "her own"
    assert outgoing(alone) == "by hand"


def outcomes(node: Node, accounts: Accounts) -> set[str]:
    with node.database.transaction() as session:
        return {entry["outcome"] for entry in apply(session, node.settings, accounts)}


def password(session: Session) -> str:
    users = core(User)
    query = select(users.c.password).where(users.c.username == "alice")
    found: str = session.connection().execute(query).scalar_one()
    return found


def test_neither_key_is_shown() -> None:
    text = repr(Settings(SECRET_KEY="one-key", SECRET_KEY_PREVIOUS="other-key"))
    assert "one-key" not in text
    assert "other-key" not in text
