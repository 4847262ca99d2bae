"""Session tokens as JSON Web Tokens: HS256 with the server's SECRET_KEY (rest-api.md 3.1)."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import uuid4

import jwt

from backend.kit.clock import utc_now
from backend.settings import Settings

ALGORITHM = "HS256"
Kind = Literal["access", "refresh"]


class TokenInvalid(Exception):
    """Not ours, expired, or of the other kind."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A token on the wire and what it says."""

    text: str
    claims: dict[str, Any]
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says."""

    user_id: int
    jti: str
    issued_at: int  # epoch seconds


class Signer:
    """Signs and verifies the session tokens of one organization."""

    def __init__(self, settings: Settings) -> None:
        self._keys = settings.secret_keys
        self._lifetimes: dict[str, timedelta] = {
            "access": timedelta(minutes=settings.ACCESS_TOKEN_LIFETIME),
            "refresh": timedelta(minutes=settings.REFRESH_TOKEN_LIFETIME),
        }

    def sign(self, kind: Kind, user_id: int) -> Signed:
        now = utc_now().replace(microsecond=0)
        expires_at = now + self._lifetimes[kind]
        claims = {
            "token_type": kind,
            "exp": int(expires_at.timestamp()),
            "iat": int(now.timestamp()),
            "jti": uuid4().hex,
            "user_id": user_id,
        }
        return Signed(jwt.encode(claims, self._keys[0], algorithm=ALGORITHM), claims, expires_at)

    def verify(self, kind: Kind, text: str) -> Claims:
        """What a token of this kind says.

        Raises:
            TokenInvalid: the signature, the moment, the kind or a claim is wrong.
        """
        claims = self._claims(text)
        user_id, issued_at = claims["user_id"], claims["iat"]
        if claims["token_type"] != kind or not isinstance(user_id, int):
            raise TokenInvalid
        return Claims(user_id, str(claims["jti"]), int(issued_at))

    def _claims(self, text: str) -> dict[str, Any]:
        required = ["exp", "iat", "jti", "token_type", "user_id"]
        for key in self._keys:
            try:
                claims: dict[str, Any] = jwt.decode(
                    text, key, algorithms=[ALGORITHM], options={"require": required}
                )
            except jwt.InvalidSignatureError:
                continue
            except (jwt.InvalidTokenError, ValueError):
                break
            return claims
        raise TokenInvalid
