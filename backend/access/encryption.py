"""Secrets that must be read again (of other organizations, refresh tokens): encrypted at rest.

Fernet (AES-128-CBC with HMAC-SHA-256) with a key derived from SECRET_KEY for one purpose each, so that what was
encrypted for one place cannot be moved to another. A new SECRET_KEY makes them unreadable: set them again.
"""

import base64
import hashlib
import hmac

from cryptography.fernet import Fernet, InvalidToken

from backend.settings import Settings


class Undecryptable(Exception):
    """Encrypted with another SECRET_KEY, too old, or changed."""


class Cipher:
    """`purpose` names the place where the secrets are kept."""

    def __init__(self, settings: Settings, purpose: str) -> None:
        said = b"encryption:" + purpose.encode()
        key = hmac.new(settings.SECRET_KEY.encode(), said, hashlib.sha256).digest()
        self._fernet = Fernet(base64.urlsafe_b64encode(key))

    def encrypt(self, secret: str) -> str:
        return self._fernet.encrypt(secret.encode()).decode()

    def decrypt(self, encrypted: str, *, max_age_s: int | None = None) -> str:
        """Raises Undecryptable."""
        try:
            return self._fernet.decrypt(encrypted.encode(), ttl=max_age_s).decode()
        except (InvalidToken, ValueError):
            raise Undecryptable from None
