"""`substra-ray tokens`: what it does."""

from typing import TYPE_CHECKING
from uuid import UUID

from cli.access.answers import Answers, Refused

if TYPE_CHECKING:
    from backend.node import Node

COLUMNS = ("id", "user", "kind", "note", "created_at", "expires_at", "expired")


def listed(node: "Node", answers: Answers, *, user: str | None) -> None:
    from backend.access.tokens.administration import all_tokens

    with node.database.transaction() as session:
        answers.rows(COLUMNS, all_tokens(session, node.settings, user))


def revoke(node: "Node", answers: Answers, *, id_: str | None, user: str | None) -> None:
    """One token by its id, or all of a user, sessions of the front end included."""
    from backend.access.tokens import administration
    from backend.access.users.store import UserStore

    if (id_ is None) == (user is None):
        raise Refused("Give a token's id, or --user for all of a user.", 2)
    if user is not None:
        with node.database.transaction() as session:
            account = UserStore(session).account(user)
            if account is None:
                raise Refused(f"There is no user {user}.")
            count = administration.revoke_all(session, account.id)
        text = f"{count} tokens of {user} are revoked, and its sessions."
        answers.done(text, user=user, revoked=count)
        return
    try:
        key = UUID(id_)
    except ValueError:
        raise Refused(f"{id_} is no token's id.") from None
    with node.database.transaction() as session:
        if not administration.revoke(session, key):
            raise Refused(f"There is no token {key}.")
    answers.done(f"Token {key} is revoked.", id=key, revoked=1)
