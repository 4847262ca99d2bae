"""`substra-ray organizations`: what it does."""

from typing import TYPE_CHECKING

import typer

from cli.access.answers import REFUSED, Answers, Refused
from cli.access.passwords import secret

if TYPE_CHECKING:
    from backend.node import Node

COLUMNS = ("organization", "channels", "incoming", "outgoing", "url")
CHECKED = ("organization", "channel", "url", "status", "accepted", "cause")


def add_incoming(node: "Node", answers: Answers, name: str, *, generate: bool) -> None:
    """Let an organization call us."""
    from backend.access.organizations.secrets import set_incoming

    _check_name(name)
    chosen, shown = secret(f"Secret of {name}", generate=generate)
    with node.database.transaction() as session:
        set_incoming(session, name, chosen)
    extra = {"secret": chosen} if shown else {}
    text = f"{name} may call us." + (f" Its secret: {chosen}" if shown else "")
    answers.done(text, organization=name, **extra)


def add_outgoing(
    node: "Node", answers: Answers, name: str, *, url: str | None, generate: bool
) -> None:
    """Call an organization with this secret."""
    from backend.access.organizations.secrets import set_outgoing

    _check_name(name)
    if url is not None and not url.startswith(("http://", "https://")):
        raise Refused(f"{url}: an address begins with http:// or https://.")
    chosen, shown = secret(f"Secret for {name}", generate=generate)
    with node.database.transaction() as session:
        set_outgoing(session, node.settings, name, chosen, url)
    extra = {"secret": chosen} if shown else {}
    text = f"We call {name} with this secret." + (f" It is: {chosen}" if shown else "")
    answers.done(text, organization=name, **extra)


def listed(node: "Node", answers: Answers) -> None:
    """Who is known from where; secrets are never shown."""
    from backend.access.organizations.secrets import all_organizations

    with node.database.transaction() as session:
        rows = all_organizations(session)
    answers.rows(COLUMNS, [{**row, "channels": ", ".join(row["channels"])} for row in rows])


def check(node: "Node", answers: Answers) -> None:
    """Ask every organization; status 1 when one of them does not accept us."""
    from dataclasses import asdict

    from backend.access.organizations.check import check_all

    found = check_all(node)
    answers.rows(CHECKED, [asdict(checked) for checked in found])
    if not all(checked.accepted for checked in found):
        raise typer.Exit(REFUSED)


def _check_name(name: str) -> None:
    if not 0 < len(name) <= 64 or ":" in name or not name.isprintable():
        raise Refused("An organization's id has 1 to 64 printable characters without a colon.")
