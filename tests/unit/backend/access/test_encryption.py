"""Secrets at rest, and what travels sealed in a browser's cookie."""

import pytest
from cryptography.fernet import Fernet

from backend.access.encryption import Cipher, Undecryptable
from backend.access.oidc.attempts import LIFETIME_S, Attempt
from backend.access.organizations.secrets import VerifiedSecrets
from backend.access.users.passwords import Passwords
from backend.settings import Settings

SETTINGS = Settings(SECRET_KEY="k" * 50)
OTHER = Settings(SECRET_KEY="x" * 50)


def test_secret_comes_back_and_is_not_readable() -> None:
    cipher = Cipher(SETTINGS, "place")
    one, two = cipher.encrypt("schlüssel"), cipher.encrypt("schlüssel")
    assert cipher.decrypt(one) == cipher.decrypt(two) == "schlüssel"
    assert one != two
    assert "schl" not in one


@pytest.mark.parametrize("encrypted", ["", "plain", "gAAAAA", "ü"])
def test_what_was_not_encrypted_is_refused(encrypted: str) -> None:
    with pytest.raises(Undecryptable):
        Cipher(SETTINGS, "place").decrypt(encrypted)


def test_another_key_or_place_reads_nothing() -> None:
    encrypted = Cipher(SETTINGS, "place").encrypt("secret")
    for cipher in (Cipher(OTHER, "place"), Cipher(SETTINGS, "elsewhere")):
        with pytest.raises(Undecryptable):
            cipher.decrypt(encrypted)


def test_attempt_is_opened_by_its_state_only() -> None:
    attempt = Attempt.new("http://page.test/")
    sealed = attempt.sealed(SETTINGS)
    assert Attempt.opened(sealed, attempt.state, SETTINGS) == attempt
    for state in ("", "other", "\ud800"):
        assert Attempt.opened(sealed, state, SETTINGS) is None
    assert Attempt.opened(sealed, attempt.state, OTHER) is None
    assert Attempt.opened("", attempt.state, SETTINGS) is None


def test_attempt_is_good_for_ten_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = Attempt.new("")
    begun = Fernet.encrypt_at_time
    monkeypatch.setattr(Fernet, "encrypt", lambda self, data: begun(self, data, 1_000_000))
    sealed = attempt.sealed(SETTINGS)
    for age_s, opened in ((LIFETIME_S - 1, True), (LIFETIME_S + 1, False)):
        monkeypatch.setattr("time.time", lambda age_s=age_s: 1_000_000 + age_s)
        assert (Attempt.opened(sealed, attempt.state, SETTINGS) is not None) == opened


def test_verified_secret_is_hashed_once_and_only_for_its_hash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, changed = Passwords.hash("secret"), Passwords.hash("changed")
    verified, asked = VerifiedSecrets(most=1), []
    real = Passwords.verify

    def counted(secret: str, hashed: str | None) -> bool:
        asked.append(secret)
        return real(secret, hashed)

    monkeypatch.setattr(Passwords, "verify", staticmethod(counted))
    assert not verified.check("wrong", one)
    assert verified.check("secret", one)
    assert verified.check("secret", one)
    assert asked == ["wrong", "secret"]
    assert not verified.check("wrong", one)
    assert not verified.check("secret", changed)
    assert verified.check("changed", changed)
    assert not verified.knows("secret", one), "the oldest is forgotten"
    assert verified.knows("changed", changed)
