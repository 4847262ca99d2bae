"""Who is asking: the dependencies by which routes say whom they let in (rest-api.md 3 and 19).

`CurrentCaller`: a user with a channel. `AdminCaller`: one who administers it. `FileCaller`: a user, or an
organization by HTTP Basic (download, model, profiling and log routes). `SessionNode`: the organization's parts.
All are cheap: one query, no transaction.
"""

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from backend.access.account import Account
from backend.access.authentication import Authentication
from backend.access.oidc.validity import confirmed
from backend.access.sessions.cookies import SIGNATURE
from backend.kit.addresses import client_address
from backend.kit.errors import BadRequest, PermissionDenied, Unauthenticated
from backend.node import Node

CHANNEL_HEADER = "Substra-Channel-Name"
PROXY_HEADER = "Substra-Proxy-Asset"


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller that acts in one channel.

    `organization` is the MSP id whose permissions count: the own one for a user, its own for an organization.
    `proxied`: an organization that asks for one of its users (rest-api.md 18).
    """

    organization: str
    channel: str
    username: str | None = None
    user_id: int | None = None
    role: str = "USER"
    is_organization: bool = False
    proxied: bool = False

    @property
    def is_admin(self) -> bool:
        return self.role == "ADMIN"


def session_node(request: Request) -> Node:
    return cast("Node", request.app.state.node)


SessionNode = Annotated[Node, Depends(session_node)]


def optional_account(request: Request, node: SessionNode) -> Account | None:
    """The user behind a token or a session, None for a stranger.

    Raises:
        Unauthenticated: wrong credentials (401). AccessLapsed: of a single sign-on user (403).
    """
    return _user_account(request, node)


def current_account(account: Annotated[Account | None, Depends(optional_account)]) -> Account:
    """A user, with a channel or without."""
    if account is None:
        raise Unauthenticated
    return account


def current_caller(
    account: Annotated[Account, Depends(current_account)], node: SessionNode
) -> Caller:
    """A user with a channel.

    Raises:
        Unauthenticated: no or wrong credentials (401).
        PermissionDenied: a user without a channel (403).
    """
    return _user(account, node)


def admin_caller(caller: Annotated[Caller, Depends(current_caller)]) -> Caller:
    """An administrator of its channel.

    Raises:
        PermissionDenied: any other user (403).
    """
    if not caller.is_admin:
        raise PermissionDenied
    return caller


def file_caller(request: Request, node: SessionNode) -> Caller:
    """A user, or an organization by HTTP Basic.

    Raises:
        Unauthenticated: no or wrong credentials (401).
        PermissionDenied: no channel, or no member of the channel named (403).
        BadRequest: an organization named no channel (400).
    """
    authentication = Authentication(node)
    header = request.headers.get("Authorization")
    identity = authentication.by_basic(header, client_address(request))
    if identity is None:
        return _user(current_account(_user_account(request, node)), node)
    if isinstance(identity, Account):
        return _user(confirmed(node, identity), node)
    channel = request.headers.get(CHANNEL_HEADER, "")
    if not channel:
        raise BadRequest("Could not determine channel name")
    if not authentication.is_member(identity, channel):
        raise PermissionDenied
    return Caller(
        organization=identity,
        channel=channel,
        is_organization=True,
        proxied=PROXY_HEADER in request.headers,
    )


def _user_account(request: Request, node: Node) -> Account | None:
    authentication = Authentication(node)
    header = request.headers.get("Authorization")
    account = authentication.by_token(header)
    if account is None:
        account = authentication.by_session(header, request.cookies.get(SIGNATURE))
    return None if account is None else confirmed(node, account)


def _user(account: Account, node: Node) -> Caller:
    if account.channel is None:
        raise PermissionDenied
    return Caller(
        organization=node.own,
        channel=account.channel,
        username=account.username,
        user_id=account.id,
        role=account.role or "USER",
    )


OptionalAccount = Annotated[Account | None, Depends(optional_account)]
CurrentAccount = Annotated[Account, Depends(current_account)]
CurrentCaller = Annotated[Caller, Depends(current_caller)]
AdminCaller = Annotated[Caller, Depends(admin_caller)]
FileCaller = Annotated[Caller, Depends(file_caller)]
