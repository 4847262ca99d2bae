"""`substra-ray users`: what it does."""

from typing import TYPE_CHECKING, Any

import typer

from cli.access.answers import Answers, Refused
from cli.access.passwords import secret

if TYPE_CHECKING:
    from sqlalchemy import Row

    from backend.access.users.store import UserStore
    from backend.node import Node

COLUMNS = ("username", "channel", "role", "active", "single_sign_on", "date_joined")


def add(
    node: "Node",
    answers: Answers,
    name: str,
    *,
    role: str,
    channel: str | None,
    generate: bool,
    weak: bool,
) -> None:
    """A new account of one channel."""
    from backend.access.account_file import AccountFileInvalid, channel_of
    from backend.access.users.passwords import Passwords
    from backend.access.users.service import checked_name
    from backend.access.users.store import UserStore

    try:
        joined = channel_of(channel, node.settings, name)
    except AccountFileInvalid as error:
        raise Refused(str(error)) from None
    checked_name(name)
    password, shown = _password(node, name, generate=generate, weak=weak)
    with node.database.transaction() as session:
        store = UserStore(session)
        id_ = store.add(name, Passwords.hash(password))
        if id_ is None:
            raise Refused(f"There is a user {name} already.")
        store.join(id_, joined, role)
    made: dict[str, Any] = {"username": name, "channel": joined, "role": role}
    extra = {"password": password} if shown else {}
    text = f"Added {name} to {joined} as {role}." + (f" Password: {password}" if shown else "")
    answers.done(text, **made, **extra)


def listed(node: "Node", answers: Answers, *, channel: str | None) -> None:
    from backend.access.users.administration import all_users

    with node.database.transaction() as session:
        answers.rows(COLUMNS, all_users(session, channel))


def role(node: "Node", answers: Answers, name: str, chosen: str) -> None:
    """Change a role; somebody who waits for approval joins the only channel, or the one of `users approve`."""
    from backend.access.users.store import UserStore

    with node.database.transaction() as session:
        store = UserStore(session)
        account = _known(store, name)
        if account.channel is None:
            raise Refused(f"{name} has no channel yet: substra-ray users approve {name}.")
        store.set_role(account.channel, name, chosen)
    answers.done(f"{name} is {chosen} of {account.channel}.", username=name, role=chosen)


def approve(node: "Node", answers: Answers, name: str, *, role: str, channel: str | None) -> None:
    """Let a user who signed on first into a channel."""
    from backend.access.account_file import AccountFileInvalid, channel_of
    from backend.access.users.store import UserStore

    try:
        joined = channel_of(channel, node.settings, name)
    except AccountFileInvalid as error:
        raise Refused(str(error)) from None
    with node.database.transaction() as session:
        store = UserStore(session)
        account = _known(store, name)
        if not store.join(account.id, joined, role):
            raise Refused(f"{name} is a user of {account.channel} already.")
    answers.done(f"{name} is {role} of {joined}.", username=name, channel=joined, role=role)


def password(node: "Node", answers: Answers, name: str, *, generate: bool, weak: bool) -> None:
    """A new password; sessions and tokens that began with the old one end."""
    from backend.access.users.passwords import Passwords
    from backend.access.users.store import UserStore

    with node.database.transaction() as session:
        account = _known(UserStore(session), name)
    chosen, shown = _password(node, name, generate=generate, weak=weak)
    with node.database.transaction() as session:
        UserStore(session).set_password(account.id, Passwords.hash(chosen))
    extra = {"password": chosen} if shown else {}
    text = f"The password of {name} is changed." + (f" It is: {chosen}" if shown else "")
    answers.done(text, username=name, **extra)


def delete(node: "Node", answers: Answers, name: str, *, yes: bool) -> None:
    """Remove an account with its tokens; its plans stay."""
    from backend.access.users.store import UserStore

    with node.database.transaction() as session:
        account = _known(UserStore(session), name)
    if not yes and not typer.confirm(f"Remove {name} with all tokens?", err=True):
        raise Refused("Nothing is removed.")
    with node.database.transaction() as session:
        UserStore(session).remove(account.id)
    answers.done(f"{name} is removed.", username=name)


def _known(store: "UserStore", name: str) -> "Row[Any]":
    account = None if "\0" in name else store.account(name)
    if account is None:
        raise Refused(f"There is no user {name}.")
    return account


def _password(node: "Node", name: str, *, generate: bool, weak: bool) -> tuple[str, bool]:
    from backend.access.users.service import check_password

    chosen, shown = secret(f"Password of {name}", generate=generate)
    if not weak and not shown:
        check_password(chosen, name, node.settings.PASSWORD_MINIMUM_LENGTH)
    return chosen, shown
