"""One browser's way to the provider and back, in a sealed cookie of that browser.

State, nonce and PKCE verifier lie encrypted with the browser that began: a callback from another one (log-in
CSRF) finds no attempt, and any replica can finish what another began.
"""

import hmac
import json
from dataclasses import asdict, dataclass
from secrets import token_urlsafe
from typing import Self
from urllib.parse import urlsplit

from backend.access.encryption import Cipher, Undecryptable
from backend.settings import Settings

COOKIE = "oidc_attempt"
LIFETIME_S = 600
PURPOSE = "sign-on attempts"


@dataclass(frozen=True, slots=True)
class Attempt:
    """`next`: where the browser goes after all; empty for the default."""

    state: str
    nonce: str
    verifier: str
    next: str

    @classmethod
    def new(cls, next_address: str) -> Self:
        return cls(token_urlsafe(32), token_urlsafe(32), token_urlsafe(64), next_address)

    def sealed(self, settings: Settings) -> str:
        return Cipher(settings, PURPOSE).encrypt(json.dumps(asdict(self)))

    @classmethod
    def opened(cls, sealed: str, state: str, settings: Settings) -> Self | None:
        """The attempt of this browser that has this state; None when there is none, or it is too old."""
        try:
            text = Cipher(settings, PURPOSE).decrypt(sealed, max_age_s=LIFETIME_S)
        except Undecryptable:
            return None
        attempt = cls(**json.loads(text))
        given = state.encode(errors="surrogatepass")
        return attempt if hmac.compare_digest(attempt.state.encode(), given) else None


def remembered(next_address: str, settings: Settings) -> str:
    """`next`, if it leads to a page of ours: the common domain, or an origin that the settings list.

    Anything else would let a link of a stranger carry our users away; it becomes empty.
    """
    try:
        parts = urlsplit(next_address)
        host = (parts.hostname or "").lower()
        origin = f"{parts.scheme}://{parts.netloc}"
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not host or "\\" in next_address:
        return ""
    domain = (settings.COMMON_HOST_DOMAIN or "").lower().lstrip(".")
    if domain and (host == domain or host.endswith("." + domain)):
        return next_address
    return next_address if origin in settings.CORS_ORIGIN_WHITELIST else ""
