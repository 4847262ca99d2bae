"""The three cookies of a session (rest-api.md 3.1).

`Secure` exactly when the request came by https, and bound to this host unless COMMON_HOST_DOMAIN says
otherwise (rule 28). The contract has no SameSite attribute: the page lives on another host of the same site.
"""

from datetime import UTC, datetime

from fastapi import Request
from fastapi.responses import Response

from backend.access.sessions.signing import Signed
from backend.kit.addresses import is_secure
from backend.settings import Settings

HEADER_PAYLOAD, SIGNATURE, REFRESH = "header.payload", "signature", "refresh"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def set_session(
    response: Response, request: Request, settings: Settings, access: Signed, refresh: Signed
) -> None:
    """Hand a session to the browser; only `header.payload` is for its scripts."""
    header_payload, _, signature = access.text.rpartition(".")
    secure, domain = is_secure(request), settings.COMMON_HOST_DOMAIN or None
    for name, value, token in (
        (HEADER_PAYLOAD, header_payload, access),
        (SIGNATURE, signature, access),
        (REFRESH, refresh.text, refresh),
    ):
        response.set_cookie(
            name,
            value,
            max_age=token.claims["exp"] - token.claims["iat"],
            expires=token.expires_at,
            domain=domain,
            secure=secure,
            httponly=name != HEADER_PAYLOAD,
            samesite=None,
        )


def clear_session(response: Response, request: Request, settings: Settings) -> None:
    """Make the browser forget: the same names, path and domain, expired at the epoch."""
    for name in (HEADER_PAYLOAD, SIGNATURE, REFRESH):
        response.set_cookie(
            name,
            "",
            max_age=0,
            expires=_EPOCH,
            domain=settings.COMMON_HOST_DOMAIN or None,
            secure=is_secure(request),
            httponly=name != HEADER_PAYLOAD,
            samesite=None,
        )
