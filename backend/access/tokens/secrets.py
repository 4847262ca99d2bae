"""Secrets of tokens: 160 random bits, of which the database keeps a keyed digest only."""

import hashlib
import hmac
import secrets


def new_secret() -> str:
    """40 hex digits."""
    return secrets.token_hex(20)


def digest_of(secret: str, key: str) -> str:
    """HMAC-SHA-256 in hex. `key` is the server's SECRET_KEY: a stolen database opens nothing."""
    return hmac.new(key.encode(), secret.encode(), hashlib.sha256).hexdigest()
