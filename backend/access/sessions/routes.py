"""`/me/…`: log-in, refresh and log-out of the front end (rest-api.md 3.1).

Credentials sent along are ignored: a stale session must not keep its owner from a new one.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from backend.access.caller import SessionNode
from backend.access.sessions.cookies import REFRESH, clear_session, set_session
from backend.access.sessions.service import Begun, SessionService
from backend.access.throttle.dependencies import LogInsThrottled, SessionsThrottled
from backend.access.users.credentials import Credentials
from backend.kit.addresses import client_address
from backend.kit.answers import JsonAnswer
from backend.kit.bodies import document

router = APIRouter(prefix="/me", tags=["session"])


async def body(request: Request) -> dict[str, Any]:
    return await document(request)


def session_service(node: SessionNode) -> SessionService:
    return SessionService(node)


Fields = Annotated[dict[str, Any], Depends(body)]
Sessions = Annotated[SessionService, Depends(session_service)]


@router.post("/login/", dependencies=[LogInsThrottled])
def log_in(fields: Fields, request: Request, node: SessionNode, service: Sessions) -> JsonAnswer:
    """Exchange a user name and a password for the three cookies."""
    begun = service.log_in(Credentials.of(fields, client_address(request)))
    return _answer(begun, request, node)


@router.post("/refresh/", dependencies=[SessionsThrottled])
def refresh(request: Request, node: SessionNode, service: Sessions) -> JsonAnswer:
    """New cookies for the refresh cookie, which works once."""
    return _answer(service.refresh(request.cookies.get(REFRESH)), request, node)


@router.get("/logout/", dependencies=[SessionsThrottled])
def log_out(request: Request, node: SessionNode, service: Sessions) -> JsonAnswer:
    """End the session and clear its cookies."""
    service.log_out(request.cookies.get(REFRESH))
    response = JsonAnswer({})
    clear_session(response, request, node.settings)
    return response


def _answer(begun: Begun, request: Request, node: SessionNode) -> JsonAnswer:
    response = JsonAnswer(begun.access.claims)
    set_session(response, request, node.settings, begun.access, begun.refresh)
    return response
