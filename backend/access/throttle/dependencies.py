"""Which requests are counted: dependencies of the routes that are open to all (rest-api.md 1.6).

Beside these, every check of a password counts against the account that it names
(`Authentication.by_password`), and one by HTTP Basic against the address too.
"""

from fastapi import Depends, Request

from backend.access.caller import OptionalAccount, SessionNode
from backend.access.sessions.cookies import REFRESH
from backend.access.sessions.signing import Signer, TokenInvalid
from backend.access.throttle.bucket import prune, take
from backend.kit.addresses import client_address


def throttle_strangers(request: Request, node: SessionNode, account: OptionalAccount) -> None:
    """Only callers without credentials are counted."""
    if account is None:
        throttle_all(request, node)


def throttle_all(request: Request, node: SessionNode) -> None:
    """Every request is counted: for routes that ignore credentials."""
    take(node.database, "anon", client_address(request), node.settings.DEFAULT_THROTTLE_RATES)


def throttle_without_session(request: Request, node: SessionNode) -> None:
    """Browsers with a refresh token of ours are not counted: many of them may share one address."""
    try:
        Signer(node.settings).verify("refresh", request.cookies.get(REFRESH, ""))
    except TokenInvalid:
        throttle_all(request, node)


def throttle_log_ins(request: Request, node: SessionNode) -> None:
    """Routes that check a password, whatever other credentials were sent along: a bucket of their own too."""
    throttle_all(request, node)
    take(node.database, "login", client_address(request), node.settings.DEFAULT_THROTTLE_RATES)
    prune(node.database)


StrangersThrottled = Depends(throttle_strangers)
AllThrottled = Depends(throttle_all)
SessionsThrottled = Depends(throttle_without_session)
LogInsThrottled = Depends(throttle_log_ins)
