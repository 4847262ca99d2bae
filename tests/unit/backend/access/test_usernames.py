"""User names made of e-mail addresses (rest-api.md 3.4)."""

from itertools import islice

import pytest

from backend.access.oidc.usernames import namesakes, username_of


@pytest.mark.parametrize(
    ("email", "append", "name"),
    [
        ("alice@hospital.test", False, "alice"),
        ("Élodie.D'Arc@x.test", False, "elodie-d-arc"),
        ("--a..b__c--@x.test", False, "a-b-c"),
        ("ALICE+work@x.test", False, "alice-work"),
        ("straße@x.test", False, "strasse"),
        ("alice@care.hospital.org", True, "alice-care-hospital"),
        ("alice@localhost", True, "alice"),
        ("a@b@care.org", False, "a-b"),
        ("x" * 300 + "@y.test", False, "x" * 140),
    ],
)
def test_name_is_the_sanitised_local_part(email: str, append: bool, name: str) -> None:
    assert username_of(email, "issuer", "subject", append_domain=append) == name


@pytest.mark.parametrize("email", ["", "@x.test", "漢字@x.test", "no address"])
def test_without_a_usable_address_the_identity_names_the_user(email: str) -> None:
    one, other = (username_of(email, "issuer", subject) for subject in ("a", "b"))
    assert one != other
    assert len(one) == 43
    assert set(one) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_namesakes_are_numbered_from_two() -> None:
    assert list(islice(namesakes("alice"), 3)) == ["alice", "alice-2", "alice-3"]
