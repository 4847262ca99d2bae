"""Password hashes: argon2id with OWASP's smallest cost (19 MiB, two passes)."""

from functools import cache

from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher

_HASHER = PasswordHash((Argon2Hasher(time_cost=2, memory_cost=19 * 1024, parallelism=1),))


@cache
def _nobody() -> str:
    """A hash that no password is checked against in earnest: unknown names cost the same time."""
    return _HASHER.hash("")


class Passwords:
    @staticmethod
    def hash(password: str) -> str:
        return _HASHER.hash(password)

    @staticmethod
    def verify(password: str, hashed: str | None) -> bool:
        """False for a wrong password, and always, after the same work, when there is no hash."""
        try:
            matches = _HASHER.verify(password, hashed or _nobody())
        except UnknownHashError:
            return False
        return matches and hashed is not None
