"""`/oidc/…`: a browser on its way to the provider and back (rest-api.md 3.4)."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response

from backend.access.caller import SessionNode
from backend.access.oidc.attempts import COOKIE, LIFETIME_S, Attempt
from backend.access.oidc.provider import ProviderError, ProviderRefused
from backend.access.oidc.service import SignOnService, UserInactive
from backend.access.sessions.cookies import REFRESH, clear_session, set_session
from backend.access.sessions.service import SessionService
from backend.kit.addresses import base_address, is_secure
from backend.kit.errors import Overloaded
from backend.kit.parameters import query_parameters

log = structlog.get_logger(__name__)
router = APIRouter(prefix="/oidc", tags=["single sign-on"])
HOME = "/"


def sign_on_service(node: SessionNode) -> SignOnService:
    return SignOnService(node)


SignOn = Annotated[SignOnService, Depends(sign_on_service)]


@router.get("/authenticate/", status_code=302)
def authenticate(request: Request, node: SessionNode, service: SignOn) -> Response:
    """Send the browser to the provider; `?next=` is where it wants to be afterwards."""
    next_address = query_parameters(request).get("next", "")
    try:
        address, attempt = service.begin(next_address, _callback(request))
    except ProviderError as error:
        raise Overloaded(f"The OIDC provider cannot be asked: {error}") from None
    response = RedirectResponse(address, status_code=302)
    _remember(response, request, attempt.sealed(node.settings), LIFETIME_S)
    return response


@router.get("/callback/", status_code=302)
def callback(request: Request, node: SessionNode, service: SignOn) -> Response:
    """Take the browser back: a session, or `/` without one."""
    parameters = query_parameters(request)
    attempt = Attempt.opened(
        request.cookies.get(COOKIE, ""), parameters.get("state", ""), node.settings
    )
    response: Response = RedirectResponse(HOME, status_code=302)
    code = parameters.get("code", "")
    if attempt is None or not code:
        log.warning("sign_on_failed", reason=parameters.get("error", "no attempt")[:100])
    else:
        try:
            begun = service.finish(code, attempt, _callback(request))
            response = RedirectResponse(attempt.next or HOME, status_code=302)
            set_session(response, request, node.settings, begun.access, begun.refresh)
        except (ProviderError, ProviderRefused, UserInactive) as error:
            log.warning("sign_on_failed", reason=repr(error)[:300])
    _remember(response, request, "", 0)
    return response


@router.get("/logout/", status_code=302)
def log_out(request: Request, node: SessionNode, service: SignOn) -> Response:
    """End the session here; the provider's own goes on."""
    SessionService(node).log_out(request.cookies.get(REFRESH))
    response = RedirectResponse(HOME, status_code=302)
    clear_session(response, request, node.settings)
    return response


def _callback(request: Request) -> str:
    return base_address(request) + "/oidc/callback/"


def _remember(response: Response, request: Request, sealed: str, seconds: int) -> None:
    """`Lax`: the cookie comes along when the provider sends the browser back, and with nobody's forms."""
    root: str = request.scope.get("root_path", "").rstrip("/")
    response.set_cookie(
        COOKIE,
        sealed,
        max_age=seconds,
        path=f"{root}/oidc/",
        secure=is_secure(request),
        httponly=True,
        samesite="lax",
    )
