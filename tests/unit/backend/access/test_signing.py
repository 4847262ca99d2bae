"""Session tokens: what is accepted, and all that is not (rest-api.md 3.1)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from backend.access.sessions import signing
from backend.access.sessions.signing import Signer, TokenInvalid
from backend.settings import Settings

KEY = "k" * 50
SIGNER = Signer(Settings(SECRET_KEY=KEY))
NOW = int(datetime.now(UTC).timestamp())
GOOD: dict[str, Any] = {
    "token_type": "access",
    "exp": NOW + 60,
    "iat": NOW,
    "jti": "a" * 32,
    "user_id": 7,
}


def test_what_is_signed_is_verified() -> None:
    signed = SIGNER.sign("refresh", 7)
    assert set(signed.claims) == {"token_type", "exp", "iat", "jti", "user_id"}
    assert len(signed.claims["jti"]) == 32
    assert signed.expires_at.timestamp() == signed.claims["exp"]
    claims = SIGNER.verify("refresh", signed.text)
    assert (claims.user_id, claims.jti) == (7, signed.claims["jti"])
    assert claims.issued_at == signed.claims["iat"]


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": NOW - 60},
        {"token_type": "refresh"},
        {"user_id": "7"},
        {"user_id": None},
        {"iat": NOW + 3600},
    ],
)
def test_wrong_claims_are_refused(changes: dict[str, Any]) -> None:
    text = jwt.encode({**GOOD, **changes}, KEY, algorithm="HS256")
    with pytest.raises(TokenInvalid):
        SIGNER.verify("access", text)


@pytest.mark.parametrize("missing", sorted(GOOD))
def test_every_claim_is_needed(missing: str) -> None:
    claims = {name: value for name, value in GOOD.items() if name != missing}
    with pytest.raises(TokenInvalid):
        SIGNER.verify("access", jwt.encode(claims, KEY, algorithm="HS256"))


@pytest.mark.parametrize(
    ("key", "algorithm"), [("x" * 50, "HS256"), ("", "none"), (KEY + "k" * 14, "HS512")]
)
def test_other_keys_and_algorithms_are_refused(key: str, algorithm: str) -> None:
    text = jwt.encode(GOOD, key, algorithm=algorithm)
    with pytest.raises(TokenInvalid):
        SIGNER.verify("access", text)


@pytest.mark.parametrize("text", ["", ".", "a.b.c", "ü.ü.ü", "a" * 10_000, "\ud800.a.b"])
def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(TokenInvalid):
        SIGNER.verify("access", text)


def test_token_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    past = datetime.now(UTC) - timedelta(days=2)
    monkeypatch.setattr(signing, "utc_now", lambda: past)
    text = SIGNER.sign("access", 7).text
    with pytest.raises(TokenInvalid):
        SIGNER.verify("access", text)


def test_without_a_key_every_process_has_its_own() -> None:
    one, two = Settings(SECRET_KEY=""), Settings()
    assert len(one.SECRET_KEY) >= 64
    assert one.SECRET_KEY != two.SECRET_KEY
    with pytest.raises(TokenInvalid):
        Signer(two).verify("access", Signer(one).sign("access", 7).text)
