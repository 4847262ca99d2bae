"""Password hashes of Django, `pbkdf2_sha256$<iterations>$<salt>$<base64>`: verified, never made."""

import base64
import binascii
import hashlib
import hmac
import re

from pwdlib.hashers import HasherProtocol

PREFIX = "pbkdf2_sha256$"
_FORM = re.compile(r"pbkdf2_sha256\$(\d{1,8})\$([^$]+)\$([A-Za-z0-9+/=]+)")
SAMPLE_ITERATIONS = 870_000  # Django 5.1's


class DjangoHasher(HasherProtocol):
    """pwdlib's view on such hashes. Every one of them is due to be replaced by the current hasher's."""

    @classmethod
    def identify(cls, hash: str | bytes) -> bool:  # noqa: A002  (the protocol's name)
        return _FORM.fullmatch(_text(hash)) is not None

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        """In Django's form, for an account that is to look like a moved one."""
        given = (salt or b"unsalted").decode()
        digest = _derived(password, given, SAMPLE_ITERATIONS, 32)
        return f"{PREFIX}{SAMPLE_ITERATIONS}${given}${base64.b64encode(digest).decode()}"

    def verify(self, password: str | bytes, hash: str | bytes) -> bool:  # noqa: A002
        parts = _FORM.fullmatch(_text(hash))
        if parts is None:
            return False
        iterations, salt, encoded = int(parts[1]), parts[2], parts[3]
        try:
            expected = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            return False
        if not iterations or not expected:
            return False
        return hmac.compare_digest(_derived(password, salt, iterations, len(expected)), expected)

    def check_needs_rehash(self, hash: str | bytes) -> bool:  # noqa: A002
        return True


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _derived(password: str | bytes, salt: str, iterations: int, length: int) -> bytes:
    plain = password.encode() if isinstance(password, str) else password
    return hashlib.pbkdf2_hmac("sha256", plain, salt.encode(), iterations, length)
