"""Hashes, and that every check costs the same whoever is asked for (issue 4: accounts)."""

import base64
import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from pwdlib.hashers.argon2 import Argon2Hasher

from backend.access.users import passwords
from backend.access.users.django_hashes import DjangoHasher
from backend.access.users.passwords import Passwords


def django(password: str, iterations: int = 1000, salt: str = "salt") -> str:
    """As Django writes it, computed here without our own code."""
    digest = hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), iterations)
    return f"pbkdf2_sha256${iterations}${salt}${base64.b64encode(digest).decode()}"


def test_hash_is_argon2id_with_its_own_salt() -> None:
    one, two = Passwords.hash("secret"), Passwords.hash("secret")
    assert one.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert one != two
    assert Passwords.verify("secret", one)
    assert not Passwords.verify("Secret", one)
    assert not Passwords.is_outdated(one)


def test_django_hashes_are_verified_and_outdated() -> None:
    moved = django("correct horse")
    assert Passwords.verify("correct horse", moved)
    assert not Passwords.verify("wrong horse", moved)
    assert Passwords.is_outdated(moved)


def test_django_hash_made_by_the_hasher_is_one_that_it_verifies() -> None:
    made = DjangoHasher().hash("secret", salt=b"grain")
    assert made.startswith("pbkdf2_sha256$870000$grain$")
    assert Passwords.verify("secret", made)


@pytest.mark.parametrize(
    "hashed",
    [
        "",
        "plain",
        "!unusable",
        "pbkdf2_sha256$",
        "pbkdf2_sha256$0$salt$YWJj",
        "pbkdf2_sha256$10$salt$",
        "pbkdf2_sha256$10$salt$not base64",
        "pbkdf2_sha256$x$salt$YWJj",
        "md5$salt$0123",
        "$argon2id$broken",
    ],
)
def test_a_malformed_hash_lets_nobody_in(hashed: str) -> None:
    for password in ("", "plain", "secret", hashed):
        assert not Passwords.verify(password, hashed)


def test_no_account_lets_nobody_in_even_with_the_stand_ins_password() -> None:
    assert not Passwords.verify("", None)
    assert not Passwords.verify("", None, django(""))


def test_argon2_of_another_cost_is_outdated() -> None:
    cheap = Argon2Hasher(time_cost=1, memory_cost=8 * 1024, parallelism=1).hash("secret")
    assert Passwords.verify("secret", cheap)
    assert Passwords.is_outdated(cheap)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every hash computation of a check, with its cost, in order."""
    passwords._nobody()  # the stand-in is made once a process
    done: list[str] = []

    def counted(name: str, verify: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
        def verified(password: Any, hashed: Any) -> bool:
            done.append(f"{name} {hashed.split('$')[1 if name == 'django' else 3]}")
            return verify(password, hashed)

        return verified

    monkeypatch.setattr(passwords._ARGON2, "verify", counted("argon2", passwords._ARGON2.verify))
    monkeypatch.setattr(passwords._DJANGO, "verify", counted("django", passwords._DJANGO.verify))
    return done


@pytest.mark.parametrize("moved_users_left", [False, True])
def test_every_account_costs_the_same_work(work: list[str], moved_users_left: bool) -> None:
    left = django("other") if moved_users_left else None
    known, moved = Passwords.hash("secret"), django("secret")
    accounts: dict[str, str | None] = {"unknown": None, "without password": "", "known": known}
    if moved_users_left:
        accounts["moved"] = moved
    costs = {}
    for name, hashed in accounts.items():
        for password in ("secret", "wrong"):
            work.clear()
            Passwords.verify(password, hashed, left)
            costs[name, password] = list(work)
    expected = ["argon2 m=19456,t=2,p=1"] + (["django 1000"] if moved_users_left else [])
    assert set(map(tuple, costs.values())) == {tuple(expected)}
