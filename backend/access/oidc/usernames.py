"""User names made of e-mail addresses (rest-api.md 3.4): pure rules."""

import base64
import hashlib
import re
import unicodedata
from collections.abc import Iterator

LONGEST = 140  # leaves room for the number of a namesake in the column's 150


def _sanitised(text: str) -> str:
    """Accents dropped, lower case, every other character than a-z, 0-9 a single hyphen.

    >>> _sanitised("Zoë.O'Hara+test")
    'zoe-o-hara-test'
    """
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(c for c in plain if not unicodedata.combining(c)).casefold()
    return re.sub(r"-+", "-", re.sub(r"[^a-z0-9-]", "-", plain)).strip("-")


def username_of(email: str, issuer: str, subject: str, *, append_domain: bool = False) -> str:
    """The name that a new user of a provider should get, before namesakes are looked for.

    >>> username_of("alice@care.hospital.org", "i", "s", append_domain=True)
    'alice-care-hospital'
    """
    local, _, domain = email.rpartition("@")
    name = _sanitised(local)
    if not name:
        digest = hashlib.sha256((issuer + subject).encode()).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")
    if append_domain and (suffix := _sanitised(domain.rpartition(".")[0])):
        name = f"{name}-{suffix}"
    return name[:LONGEST]


def namesakes(name: str) -> Iterator[str]:
    """The name, then the name with -2, -3, …"""
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1
