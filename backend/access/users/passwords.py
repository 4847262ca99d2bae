"""Password hashes: argon2id with OWASP's smallest cost (19 MiB, two passes); Django's are verified too.

Every check costs the same, whether the account exists or not, so that time does not tell names: one argon2
computation, and while accounts with Django's hashes are left, one of theirs beside it. What the account's own
hash does not need is computed on a stand-in.
"""

from functools import cache

from pwdlib.hashers.argon2 import Argon2Hasher

from backend.access.users.django_hashes import PREFIX, DjangoHasher

_ARGON2 = Argon2Hasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_DJANGO = DjangoHasher()


@cache
def _nobody() -> str:
    """A hash that no password is checked against in earnest."""
    return _ARGON2.hash("")


class Passwords:
    @staticmethod
    def hash(password: str) -> str:
        return _ARGON2.hash(password)

    @staticmethod
    def verify(password: str, hashed: str | None, django_hash: str | None = None) -> bool:
        """Whether the password is the hash's.

        `hashed`: None when there is no such account: False, after the same work. `django_hash`: any of Django's
        hashes that the database still holds; its cost is paid in every check.
        """
        plain = password.encode(errors="surrogatepass")
        moved = hashed is not None and hashed.startswith(PREFIX)
        argon2 = hashed if hashed and not moved else _nobody()
        matches = _ARGON2.verify(plain, argon2)
        if moved or django_hash is not None:
            django = hashed if hashed is not None and moved else django_hash
            matched_django = _DJANGO.verify(plain, django or "")
            matches = matched_django if moved else matches
        return matches and bool(hashed)

    @staticmethod
    def is_hash(text: str) -> bool:
        """Whether this is a hash that `verify` understands and the column can hold."""
        known = DjangoHasher.identify(text) or Argon2Hasher.identify(text)
        return known and len(text) <= 255

    @staticmethod
    def is_outdated(hashed: str) -> bool:
        """Whether a verified password should be hashed anew: by Django, or at another cost."""
        if not Argon2Hasher.identify(hashed):
            return True
        return _ARGON2.check_needs_rehash(hashed)
