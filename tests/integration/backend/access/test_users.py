"""Users of a channel and their passwords (rest-api.md 4)."""

from datetime import timedelta

import jwt
import pytest
from httpx import Client
from sqlalchemy import text

from backend.access.users import reset_links
from backend.access.users.reset_links import ResetLinks
from backend.kit.clock import utc_now
from backend.node import Node
from tests.integration.backend.access.conftest import GOOD, As, add_user

USERS = "/org-1/users/"
FORBIDDEN = {"detail": "You do not have permission to perform this action."}
UNKNOWN = {"detail": "No User matches the given query."}
OTHER = "meadow.piano.73.umbrella"


def shape(username: str, role: str = "USER") -> dict[str, object]:
    return {"username": username, "channel": "mychannel", "role": role, "is_external_user": False}


def test_administrator_creates_shows_changes_and_removes(user: Client) -> None:
    made = user.post(USERS, json={"username": "alice", "password": GOOD, "role": "USER"})
    assert (made.status_code, made.json()) == (201, shape("alice"))
    assert user.get(f"{USERS}alice/").json() == shape("alice")
    changed = user.put(f"{USERS}alice/", json={"role": "ADMIN", "username": "bob"})
    assert (changed.status_code, changed.json()) == (200, shape("alice", "ADMIN"))
    assert user.put(f"{USERS}alice/", json={}).json() == shape("alice", "ADMIN")
    gone = user.delete(f"{USERS}alice/")
    assert (gone.status_code, gone.content) == (204, b"")
    for answer in (
        user.get(f"{USERS}alice/"),
        user.put(f"{USERS}alice/", json={"role": "USER"}),
        user.delete(f"{USERS}alice/"),
        user.post(f"{USERS}alice/reset_password/"),
    ):
        assert (answer.status_code, answer.json()) == (404, UNKNOWN)


def test_role_is_user_when_none_is_given(user: Client) -> None:
    made = user.post(USERS, json={"username": "to@to", "password": GOOD})
    assert made.json() == shape("to@to")
    assert user.get(f"{USERS}to%40to/").json() == shape("to@to")


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ({"password": GOOD}, {"username": ["This field is required."]}),
        ({"username": "", "password": GOOD}, {"username": ["This field may not be blank."]}),
        ({"username": 3, "password": GOOD}, {"username": ["Not a valid string."]}),
        ({"username": "a/b", "password": GOOD}, {"username": ["Enter a valid username."]}),
        (
            {"username": "a" * 151, "password": GOOD},
            {"username": ["Ensure this field has no more than 150 characters."]},
        ),
        ({"username": "alice"}, ["Missing password"]),
        ({"username": "alice", "password": None}, ["Missing password"]),
        ({"username": "alice", "password": GOOD, "role": "KING"}, {"role": "Invalid role"}),
        ({"username": "alice", "password": GOOD, "role": ["ADMIN"]}, {"role": "Invalid role"}),
        ({"username": "org-1", "password": GOOD}, {"detail": "Username already exists"}),
        ({"username": "external", "password": GOOD}, {"detail": "Username already exists"}),
    ],
)
def test_wrong_fields_are_a_400(user: Client, fields: dict[str, object], body: object) -> None:
    answer = user.post(USERS, json=fields)
    assert (answer.status_code, answer.json()) == (400, body)
    assert [row["username"] for row in user.get(USERS).json()["results"]] == ["org-1"]


def test_weak_password_is_refused_with_a_list_of_sentences(user: Client) -> None:
    answer = user.post(USERS, json={"username": "alice", "password": "12345"})
    assert answer.status_code == 400
    sentences = answer.json()
    assert "This password is too short. It must contain at least 20 characters." in sentences
    assert "This password is entirely numeric." in sentences


def test_users_see_each_other_and_change_nothing(speaking: As) -> None:
    alice = speaking("alice")
    assert [row["username"] for row in alice.get(USERS).json()["results"]] == ["alice", "org-1"]
    assert alice.get(f"{USERS}org-1/").json() == shape("org-1", "ADMIN")
    for answer in (
        alice.post(USERS, json={"username": "bob", "password": GOOD}),
        alice.put(f"{USERS}alice/", json={"role": "ADMIN"}),
        alice.delete(f"{USERS}org-1/"),
        alice.post(f"{USERS}org-1/reset_password/"),
        alice.get("/org-1/users-awaiting-approval/"),
        alice.put("/org-1/users-awaiting-approval/?username=alice", json={"role": "ADMIN"}),
        alice.delete("/org-1/users-awaiting-approval/?username=alice"),
        alice.put(f"{USERS}org-1/password/", json={"password": OTHER}),
    ):
        assert (answer.status_code, answer.json()) == (403, FORBIDDEN)


def test_another_channel_is_invisible(user: Client, node: Node) -> None:
    add_user(node, "neighbour", "yourchannel")
    for answer in (
        user.get(f"{USERS}neighbour/"),
        user.put(f"{USERS}neighbour/", json={"role": "ADMIN"}),
        user.delete(f"{USERS}neighbour/"),
        user.post(f"{USERS}neighbour/reset_password/"),
    ):
        assert (answer.status_code, answer.json()) == (404, UNKNOWN)
    assert user.get(USERS).json()["count"] == 1
    assert user.post(USERS, json={"username": "neighbour", "password": GOOD}).status_code == 400


def listed(client: Client, query: str) -> list[str]:
    return [row["username"] for row in client.get(USERS + query).json()["results"]]


def test_list_is_paged_filtered_and_ordered(user: Client, node: Node) -> None:
    for name in ("carol", "alice", "bob"):
        add_user(node, name)
    assert listed(user, "") == ["alice", "bob", "carol", "org-1"]
    assert listed(user, "?ordering=-username") == ["org-1", "carol", "bob", "alice"]
    assert listed(user, "?ordering=-role&page_size=2&page=2") == ["carol", "org-1"]
    assert listed(user, "?match=AL") == ["alice"]
    assert listed(user, "?role=ADMIN") == ["org-1"]
    assert user.get(f"{USERS}?role=ADMIN&page_size=0").json()["count"] == 1
    wrong = user.get(f"{USERS}?role=KING")
    message = "Select a valid choice. KING is not one of the available choices."
    assert (wrong.status_code, wrong.json()) == (400, {"role": [message]})


def test_own_password_ends_sessions_and_implicit_tokens(client: Client, speaking: As) -> None:
    alice = speaking("alice")
    made = alice.post("/org-1/api-token/", json={"expires_at": "2099-01-01"}).json()["token"]
    fields = {"username": "alice", "password": GOOD}
    assert client.post("/org-1/me/login/", json=fields).status_code == 200
    url = f"{USERS}alice/password/"
    missing = alice.put(url, json={})
    assert (missing.status_code, missing.json()) == (
        400,
        {"detail": "missing password in the request"},
    )
    assert alice.put(url, json={"password": "short"}).status_code == 400
    changed = alice.put(url, json={"password": OTHER})
    assert (changed.status_code, changed.json()) == (200, shape("alice"))
    assert alice.get(USERS).status_code == 401
    assert client.post("/org-1/me/refresh/").status_code == 401
    kept = client.get(USERS, headers={"Authorization": f"Token {made}"})
    assert kept.status_code == 200
    assert client.post("/org-1/api-token-auth/", data=fields).status_code == 400
    again = {"username": "alice", "password": OTHER}
    assert client.post("/org-1/api-token-auth/", data=again).status_code == 200


def test_access_token_older_than_the_password_is_refused(client: Client, node: Node) -> None:
    add_user(node, "alice")
    client.post("/org-1/me/login/", json={"username": "alice", "password": GOOD})
    headers = {"Authorization": f"JWT {client.cookies['header.payload']}"}
    assert client.get(USERS, headers=headers).status_code == 200
    with node.database.transaction() as session:
        query = "UPDATE \"user\" SET password_changed = now() + interval '2 seconds'"
        session.connection().execute(text(query))
    assert client.get(USERS, headers=headers).status_code == 401


# ------------------------------------------------------------------------------ reset links
def test_reset_link_works_once(user: Client, client: Client, node: Node) -> None:
    add_user(node, "alice")
    answer = user.post(f"{USERS}alice/reset_password/")
    token = answer.json()["reset_password_token"]
    assert answer.json() == {"reset_password_token": token}
    verify, choose = f"{USERS}alice/verify_token/", f"{USERS}alice/set_password/"
    good = client.get(verify, params={"token": token})
    assert (good.status_code, good.json()) == (200, {})
    weak = client.post(choose, json={"token": token, "password": "weak"})
    assert (weak.status_code, type(weak.json())) == (400, list)
    assert client.post(choose, json={"token": token}).json() == ["Missing password"]
    done = client.post(choose, json={"token": token, "password": OTHER})
    assert (done.status_code, done.json()) == (200, shape("alice"))
    again = client.post(choose, json={"token": token, "password": GOOD})
    refused = {"detail": "must provide a valid token to set a new password"}
    assert (again.status_code, again.json()) == (401, refused)
    spent = client.get(verify, params={"token": token})
    assert spent.status_code == 401
    assert spent.json()["detail"].startswith("token not valid: ")
    fields = {"username": "alice", "password": OTHER}
    assert client.post("/org-1/api-token-auth/", data=fields).status_code == 200


def test_reset_link_is_for_one_user_and_one_server(
    user: Client, client: Client, node: Node
) -> None:
    del client.headers["Authorization"]
    add_user(node, "alice")
    with node.database.reading() as connection:
        hashed = connection.execute(
            text("SELECT password FROM \"user\" WHERE username = 'alice'")
        ).scalar_one()
    good = ResetLinks(node.settings).make("alice", hashed)
    foreign = ResetLinks(node.settings.model_copy(update={"SECRET_KEY": "x" * 50}))
    unsigned = jwt.encode({"sub": "alice"}, "", algorithm="none")
    tokens = ["", "a.b.c", unsigned, foreign.make("alice", hashed)]
    for token in tokens:
        answer = client.get(f"{USERS}alice/verify_token/", params={"token": token})
        assert answer.status_code == 401, token
    for name in ("bob", "org-1", "external", "a%00b"):
        answer = client.get(f"{USERS}{name}/verify_token/", params={"token": good})
        assert answer.status_code == 401
        answer = client.post(f"{USERS}{name}/set_password/", json={"token": good, "password": GOOD})
        assert answer.status_code == 401
    assert client.get(f"{USERS}alice/verify_token/", params={"token": good}).status_code == 200


def test_reset_link_expires(client: Client, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    add_user(node, "alice")
    with node.database.reading() as connection:
        hashed = connection.execute(
            text("SELECT password FROM \"user\" WHERE username = 'alice'")
        ).scalar_one()
    eight_days_ago = utc_now() - timedelta(days=8)
    monkeypatch.setattr(reset_links, "utc_now", lambda: eight_days_ago)
    token = ResetLinks(node.settings).make("alice", hashed)
    answer = client.get(f"{USERS}alice/verify_token/", params={"token": token})
    assert (answer.status_code, answer.json()) == (
        401,
        {"detail": "token not valid: Signature has expired"},
    )


# ------------------------------------------------------------------------------ approval
def test_administrator_approves_who_waits(user: Client, speaking: As) -> None:
    waiting = speaking("alice", None)
    url = "/org-1/users-awaiting-approval/"
    assert waiting.get(url).status_code == 403
    listed = user.get(url).json()
    assert listed["count"] == 1
    assert listed["results"] == [{"username": "alice", "email": "alice@hospital.test"}]
    assert user.put(f"{url}?username=alice", json={"role": "KING"}).json() == {
        "role": "Invalid role"
    }
    approved = user.put(f"{url}?username=alice", json={"role": "USER"})
    assert (approved.status_code, approved.json()) == (200, shape("alice"))
    assert waiting.get(USERS).status_code == 200
    assert user.get(url).json()["results"] == []
    again = user.put(f"{url}?username=alice", json={"role": "ADMIN"})
    assert (again.status_code, again.json()) == (404, {"detail": "User not found"})
    assert user.get(f"{USERS}alice/").json() == shape("alice")


def test_administrator_sends_away_only_who_waits(user: Client, node: Node) -> None:
    add_user(node, "alice", None)
    url = "/org-1/users-awaiting-approval/"
    gone = user.delete(f"{url}?username=alice")
    assert (gone.status_code, gone.json()) == (200, {"detail": "User removed"})
    for name in ("alice", "org-1", "external", "deleted", "org-1-yourchannel", ""):
        answer = user.delete(f"{url}?username={name}")
        assert (answer.status_code, answer.json()) == (404, {"detail": "User not found"})
    assert user.get(f"{USERS}org-1/").status_code == 200


def test_strangers_are_401_everywhere(client: Client) -> None:
    for method, path in (
        ("GET", USERS),
        ("POST", USERS),
        ("GET", f"{USERS}org-1/"),
        ("PUT", f"{USERS}org-1/"),
        ("DELETE", f"{USERS}org-1/"),
        ("PUT", f"{USERS}org-1/password/"),
        ("POST", f"{USERS}org-1/reset_password/"),
        ("GET", "/org-1/users-awaiting-approval/"),
    ):
        assert client.request(method, path).status_code == 401
