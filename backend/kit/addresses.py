"""Absolute addresses: of this request, and of assets as the caller has to see them (rest-api.md 7, rule 26)."""

import re
from uuid import UUID

from fastapi import Request

_HOST = re.compile(r"^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$")


def _from_the_right(value: str, trusted: int) -> str | None:
    """The entry that the outermost trusted proxy wrote: the n-th from the right (rule 28)."""
    entries = [entry.strip() for entry in value.split(",") if entry.strip()]
    return entries[-trusted] if 0 < trusted <= len(entries) else None


def _trusted(request: Request) -> int:
    return int(getattr(request.app.state, "trusted_proxies", 0))


def is_secure(request: Request) -> bool:
    """Whether the client's own connection was https, X-Forwarded-Proto only from trusted proxies."""
    trusted = _trusted(request)
    forwarded = _from_the_right(request.headers.get("x-forwarded-proto", ""), trusted)
    if trusted and forwarded is None:
        forwarded = request.headers.get("x-forwarded-proto") or None
    return (forwarded or request.scope["scheme"]) == "https"


def base_address(request: Request) -> str:
    """`<scheme>://<host>/<prefix>` under which this request came, without a final slash.

    The host is the forwarded one only behind trusted proxies; a host that cannot be one is replaced by the
    configured domain.
    """
    host = request.headers.get("host", "")
    if _trusted(request):
        forwarded = request.headers.get("x-forwarded-host", "").rpartition(",")[2].strip()
        host = forwarded or host
    if not _HOST.fullmatch(host):
        return str(request.app.state.default_domain).rstrip("/")
    scheme = "https" if is_secure(request) else "http"
    return f"{scheme}://{host}{request.scope.get('root_path', '').rstrip('/')}"


def request_address(request: Request) -> str:
    """The address of this request without its query: base + path below the prefix."""
    root = request.scope.get("root_path", "").rstrip("/")
    path: str = request.scope["path"]
    return base_address(request) + (path.removeprefix(root) if root else path)


def client_address(request: Request) -> str:
    """Who is asking, for throttling: the forwarded address behind trusted proxies, else the peer's."""
    trusted = _trusted(request)
    forwarded = _from_the_right(request.headers.get("x-forwarded-for", ""), trusted)
    return forwarded or (request.client.host if request.client else "unknown")


def asset_address(base: str, kind: str, key: UUID | str, file: str) -> str:
    """Where `file` of an asset is read by the caller: always at the organization that it called.

    >>> asset_address("http://h/org-1", "function", "k", "description")
    'http://h/org-1/function/k/description/'
    """
    return f"{base}/{kind}/{key}/{file}/"
