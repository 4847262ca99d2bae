"""Ray's dashboard behind the API's log-in: `/ray-dashboard/compute/`, and `/ray-dashboard/api/` on Serve."""

import mimetypes
from typing import Annotated

import anyio.to_thread
import orjson
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from backend.access.account import Account
from backend.access.authentication import Authentication
from backend.access.caller import SessionNode, optional_account
from backend.access.oidc.validity import confirmed
from backend.access.sessions.cookies import HEADER_PAYLOAD, SIGNATURE
from backend.kit.errors import NotFound, PermissionDenied, Unauthenticated
from backend.monitoring.dashboard import (
    ANSWERED_HERE,
    DashboardUnavailable,
    Heads,
    is_shown,
    page_file,
)
from backend.settings import Settings

router = APIRouter(tags=["ray-dashboard"])
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
}


def administrator(request: Request, node: SessionNode) -> Account:
    """An administrator, by a token, by the front end's session, or by the cookies of that session alone.

    A browser that opens a page sends cookies and no header. Cookies alone would not do where something changes:
    another site's page could send them.

    Raises:
        Unauthenticated: a stranger (401). PermissionDenied: any other user (403).
    """
    account = optional_account(request, node) or _by_cookies(request, node)
    if account is None:
        raise Unauthenticated
    if account.channel is None or account.role != "ADMIN":
        raise PermissionDenied
    return account


@router.get("/ray-dashboard/{cluster}/{path:path}")
async def show_dashboard(
    request: Request,
    cluster: str,
    path: str,
    node: SessionNode,
    account: Annotated[Account, Depends(administrator)],
) -> Response:
    """A file of Ray's page, or what the head of a cluster tells that page. 502: the head does not answer."""
    heads = _heads(node.settings)
    if not heads.knows(cluster):
        raise NotFound
    file = page_file(path)
    if file is not None:
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        content = await anyio.to_thread.run_sync(file.read_bytes)
        return Response(content, headers=HEADERS, media_type=kind)
    if path in ANSWERED_HERE:
        return _json(ANSWERED_HERE[path])
    if not is_shown(path):
        raise NotFound
    try:
        return _json(await heads.read(cluster, path, request.url.query))
    except DashboardUnavailable as error:
        return _json(orjson.dumps({"detail": str(error)}), status=502)


def _json(content: bytes, status: int = 200) -> Response:
    return Response(content, status_code=status, headers=HEADERS, media_type="application/json")


def _by_cookies(request: Request, node: SessionNode) -> Account | None:
    if "Authorization" in request.headers:
        return None
    header = f"JWT {request.cookies.get(HEADER_PAYLOAD, '')}"
    account = Authentication(node).by_session(header, request.cookies.get(SIGNATURE))
    return None if account is None else confirmed(node, account)


def _heads(settings: Settings) -> Heads:
    return Heads(settings.RAY_DASHBOARDS, lambda: _token(settings))


def _token(settings: Settings) -> str | None:
    if settings.RAY_TOKEN_PATH is None:
        return None
    return settings.RAY_TOKEN_PATH.read_text("utf-8").strip()
