"""Do the other organizations accept us? Each is asked, and what it says is put into words (deployment.md 7)."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from uuid import uuid4

import httpx
from sqlalchemy import select

from backend.access.organizations.tables import Organization, OutgoingOrganization
from backend.kit.columns import core
from backend.kit.errors import PeerUnreachable
from backend.node import Node

_ORGANIZATIONS, _OUTGOING = core(Organization), core(OutgoingOrganization)


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of asking one organization on one channel; `status` is None when nothing was answered."""

    organization: str
    channel: str
    url: str | None
    status: int | None
    accepted: bool
    cause: str


def check_all(node: Node) -> list[Checked]:
    """Ask every member of our channels, and whoever else we hold a secret for; eight at a time."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda pair: _check(node, *pair), sorted(set(_pairs(node)))))


def _pairs(node: Node) -> Iterator[tuple[str, str]]:
    with node.database.reading() as connection:
        columns = (_ORGANIZATIONS.c.organization_id, _ORGANIZATIONS.c.channel)
        members = [(row[0], row[1]) for row in connection.execute(select(*columns))]
        held = list(connection.execute(select(_OUTGOING.c.organization_id)).scalars())
    yield from members
    known = {organization for organization, _ in members}
    for organization in held:
        if organization not in known:
            yield from ((organization, channel) for channel in node.settings.CHANNELS)


def _check(node: Node, organization: str, channel: str) -> Checked:
    """First who answers there, then whether our secret is accepted: by asking for a model that nobody has."""

    def found(
        url: str | None, status: int | None, cause: str, *, accepted: bool = False
    ) -> Checked:
        return Checked(organization, channel, url, status, accepted, cause)

    url = node.exchange.address(organization, channel)
    if url is None:
        return found(None, None, "no outgoing secret or no address is known")
    try:
        info = node.exchange.ask(organization, channel, "info/", credentials=False)
        if wrong := _not_it(info, organization):
            return found(url, info.status_code, wrong)
        answer = node.exchange.ask(organization, channel, f"model/{uuid4()}/")
    except PeerUnreachable as error:
        return found(url, None, str(error))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return found(url, None, str(error) or type(error).__name__)
    status = answer.status_code
    return found(url, status, _meaning(status, node.own, channel), accepted=status == 404)


def _not_it(info: httpx.Response, organization: str) -> str | None:
    """Why this is not the organization; None when it is."""
    if info.is_redirect:
        return f"redirected to {info.headers.get('Location', 'nowhere')}"
    try:
        content = info.json()
        there = content["organization_id"]
    except (ValueError, KeyError, TypeError):
        return "no Substra organization answers at this address"
    return None if there == organization else f"{there} answers at this address"


def _meaning(status: int, own: str, channel: str) -> str:
    if status == 404:  # such a model is unknown, and we were let in far enough to be told so
        return "accepted"
    return {
        400: f"it does not know the channel {channel}",
        401: f"our outgoing secret is not its incoming secret for {own}",
        403: f"our secret is right, but {own} is no member of {channel} there",
        429: "it was asked too often, try again in a minute",
    }.get(status, "unexpected answer")
