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
        self._secrets = settings.secret_keys

    def make(self, username: str, password_hash: str) -> str:
        claims = {"sub": username, "exp": utc_now() + LIFETIME, "purpose": "password reset"}
        key = self._key(self._secrets[0], username, password_hash)
        return jwt.encode(claims, key, algorithm=ALGORITHM)

    def check(self, token: str, username: str, password_hash: str | None) -> None:
        """Accept a token. `password_hash` is None for an unknown user, whose tokens are all wrong.

        Raises:
            Unauthenticated: 401 with the reason.
        """
        for secret in self._secrets:
            key = self._key(secret, username, password_hash or "")
            try:
                claims = jwt.decode(
                    token, key, algorithms=[ALGORITHM], options={"require": ["exp", "sub"]}
                )
            except jwt.ExpiredSignatureError:
                raise Unauthenticated("token not valid: Signature has expired") from None
            except jwt.InvalidSignatureError:
                continue
            except (jwt.InvalidTokenError, ValueError):
                break
            if password_hash is not None and claims["sub"] == username:
                return
        raise Unauthenticated("token not valid: Signature verification failed")

    @staticmethod
    def _key(secret: str, username: str, password_hash: str) -> str:
        said = f"password reset\0{username}\0{password_hash}".encode(errors="surrogatepass")
        return hmac.new(secret.encode(), said, hashlib.sha256).hexdigest()
