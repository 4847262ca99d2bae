"""Secrets that must be read again (of other organizations, refresh tokens): encrypted at rest.

Fernet (AES-128-CBC with HMAC-SHA-256) with a key derived from SECRET_KEY for one purpose each, so that what was
encrypted for one place cannot be moved to another. A new SECRET_KEY makes them unreadable, unless the one
before it is still named (SECRET_KEY_PREVIOUS); without it, set them again.
"""

import base64
import hashlib
import hmac

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from backend.settings import Settings


class Undecryptable(Exception):
    """Encrypted with another SECRET_KEY, too old, or changed."""


class Cipher:
    """`purpose` names the place where the secrets are kept."""

    def __init__(self, settings: Settings, purpose: str) -> None:
        said = b"encryption:" + purpose.encode()
        keys = [
            hmac.new(key.encode(), said, hashlib.sha256).digest() for key in settings.secret_keys
        ]
        all_keys = [Fernet(base64.urlsafe_b64encode(key)) for key in keys]
        self._fernet, self._any = all_keys[0], MultiFernet(all_keys)

    def encrypt(self, secret: str) -> str:
        return self._fernet.encrypt(secret.encode()).decode()

    def renewed(self, encrypted: str) -> str:
        """The same secret encrypted with the present key, whichever of the two it was. Raises Undecryptable."""
        try:
            return self._any.rotate(encrypted.encode()).decode()
        except (InvalidToken, ValueError):
            raise Undecryptable from None

    def decrypt(self, encrypted: str, *, max_age_s: int | None = None) -> str:
        """Raises Undecryptable."""
        try:
            return self._any.decrypt(encrypted.encode(), ttl=max_age_s).decode()
        except (InvalidToken, ValueError):
            raise Undecryptable from None
