"""Which passwords people may choose (rest-api.md 4)."""

import pytest

from backend.access.users.password_rules import broken_rules

GOOD = "quartz-lantern-95-gravel"


@pytest.mark.parametrize(
    ("password", "username", "shortest", "messages"),
    [
        (GOOD, "alice", 20, []),
        (GOOD[:20], "alice", 20, []),
        ("v7#qLx!2", "alice", 9, ["too short. It must contain at least 9 characters."]),
        ("x9" * 33, "alice", 9, ["too long. It must contain at most 64 characters."]),
        ("alice.lantern.grave", "alice.lantern.gravel", 9, ["similar to the username"]),
        ("password", "alice", 8, ["too common", "too easy to guess"]),
        ("83749201746520183746", "alice", 20, ["entirely numeric"]),
        ("aaaaaaaaaaaaaaaaaaaaaa", "alice", 20, ["too easy to guess"]),
    ],
)
def test_broken_rules_are_named(
    password: str, username: str, shortest: int, messages: list[str]
) -> None:
    found = broken_rules(password, username, shortest)
    assert len(found) >= len(messages)
    for part in messages:
        assert any(part in message for message in found), found
    assert bool(found) == bool(messages)


def test_empty_password_is_too_short() -> None:
    assert "too short" in broken_rules("", "alice", 20)[0]
