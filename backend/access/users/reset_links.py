"""Tokens of password-reset links: each works for one user, seven days at most, and once.

A token is signed with a key made of the server's secret and the user's current password hash: changing the
password voids it, so nothing has to be stored.
"""

import hashlib
import hmac
from datetime import timedelta

import jwt

from backend.kit.clock import utc_now
from backend.kit.errors import Unauthenticated
from backend.settings import Settings

LIFETIME = timedelta(days=7)
ALGORITHM = "HS256"


class ResetLinks:
    def __init__(self, settings: Settings) -> None:
        self._secret = settings.SECRET_KEY

    def make(self, username: str, password_hash: str) -> str:
        claims = {"sub": username, "exp": utc_now() + LIFETIME, "purpose": "password reset"}
        return jwt.encode(claims, self._key(username, password_hash), algorithm=ALGORITHM)

    def check(self, token: str, username: str, password_hash: str | None) -> None:
        """Accept a token. `password_hash` is None for an unknown user, whose tokens are all wrong.

        Raises:
            Unauthenticated: 401 with the reason.
        """
        key = self._key(username, password_hash or "")
        try:
            claims = jwt.decode(
                token, key, algorithms=[ALGORITHM], options={"require": ["exp", "sub"]}
            )
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("token not valid: Signature has expired") from None
        except (jwt.InvalidTokenError, ValueError):
            raise Unauthenticated("token not valid: Signature verification failed") from None
        if password_hash is None or claims["sub"] != username:
            raise Unauthenticated("token not valid: Signature verification failed")

    def _key(self, username: str, password_hash: str) -> str:
        said = f"password reset\0{username}\0{password_hash}".encode(errors="surrogatepass")
        return hmac.new(self._secret.encode(), said, hashlib.sha256).hexdigest()
