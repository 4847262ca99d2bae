"""Who is let in, and in which words the others are refused (rest-api.md 1.6, 2, 3, 5)."""

import base64
from datetime import timedelta

import anyio
import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient, Client
from sqlalchemy import text

from backend.app import create_app, start
from backend.kit.clock import utc_now
from backend.node import Node
from backend.settings import Settings, UserSettings
from tests.integration.backend.conftest import PASSWORD, log_in, serving


def _detail(client: Client, authorization: str | None) -> tuple[int, str]:
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = client.get("/org-1/organization/", headers=headers)
    return answer.status_code, answer.json()["detail"]


def test_token_opens_the_door(user: Client) -> None:
    assert user.get("/org-1/organization/").json() == []


def test_one_organization_is_shown_by_its_number(user: Client, node: Node) -> None:
    with node.database.transaction() as session:
        query = """INSERT INTO organization (channel, organization_id, address, creation_date)
            VALUES (:channel, 'MyOrg1MSP', 'http://one.test', '2026-01-01') RETURNING id"""
        numbers = [
            session.connection().execute(text(query), {"channel": channel}).scalar_one()
            for channel in ("mychannel", "yourchannel")
        ]
    shown = user.get(f"/org-1/organization/{numbers[0]}/")
    assert shown.json() == {
        "id": "MyOrg1MSP",
        "address": "http://one.test",
        "creation_date": "2026-01-01T00:00:00Z",
        "is_current": True,
    }
    assert user.get("/org-1/organization/").json() == [shown.json()]
    assert user.get(f"/org-1/organization/{numbers[1]}/").status_code == 404
    assert user.delete(f"/org-1/organization/{numbers[0]}/").status_code == 405


@pytest.mark.parametrize(
    ("authorization", "detail"),
    [
        (None, "Authentication credentials were not provided."),
        ("Bearer abc", "Authentication credentials were not provided."),
        ("Basic " + base64.b64encode(b"MyOrg2MSP:s21").decode(), None),
        ("Token", "Invalid token header. No credentials provided."),
        ("Token None", "Invalid token."),
        ("Token a b", "Invalid token header. Token string should not contain spaces."),
    ],
)
def test_wrong_credentials_are_refused_in_the_contracts_words(
    client: Client, authorization: str | None, detail: str | None
) -> None:
    expected = detail or "Authentication credentials were not provided."
    assert _detail(client, authorization) == (401, expected)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PATCH", "/function/00000000-0000-4000-8000-000000000000/", "GET, HEAD, PUT"),
        ("POST", "/task/", "GET, HEAD"),
        ("TRACE", "/function/", "GET, HEAD, POST"),
        ("GET", "/me/login/", "POST"),
        ("POST", "/users/org-1/", "DELETE, GET, HEAD, PUT"),
    ],
)
def test_other_methods_are_told_which_there_are(
    user: Client, method: str, path: str, allowed: str
) -> None:
    answer = user.request(method, f"/org-1{path}")
    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
    assert answer.json() == {"detail": f'Method "{method}" not allowed.'}


def test_refusals_carry_the_challenge(client: Client) -> None:
    assert client.get("/org-1/organization/").headers["WWW-Authenticate"] == "Token"


def test_log_in_takes_form_json_and_multipart(client: Client) -> None:
    fields = {"username": "org-1", "password": PASSWORD}
    url = "/org-1/api-token-auth/"
    answers = [
        client.post(url, data=fields),
        client.post(url, json=fields),
        client.post(url, files={name: (None, value) for name, value in fields.items()}),
    ]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert set(body) == {"id", "expires_at", "created_at", "token"}
        assert len(body["token"]) == 40
        assert body["expires_at"].endswith("Z")


def test_wrong_password_and_unknown_user_look_the_same(client: Client) -> None:
    url = "/org-1/api-token-auth/"
    wrong = client.post(url, data={"username": "org-1", "password": "no"})
    unknown = client.post(url, data={"username": "nobody", "password": "no"})
    assert wrong.status_code == unknown.status_code == 400
    assert wrong.json() == unknown.json()
    assert wrong.json() == {"non_field_errors": ["Unable to log in with provided credentials."]}


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"username": "a\\u0000", "password": "b"}', b"\xff"]
)
def test_malformed_log_in_is_a_400(client: Client, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = client.post("/org-1/api-token-auth/", content=body, headers=headers)
    assert answer.status_code == 400


def test_log_in_names_missing_fields_and_other_media_types(client: Client) -> None:
    url = "/org-1/api-token-auth/"
    required = ["This field is required."]
    assert client.post(url, data={"username": "a"}).json() == {"password": required}
    assert client.post(url).json() == {"username": required, "password": required}
    answer = client.post(url, content=b"x", headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415
    assert answer.json() == {"detail": 'Unsupported media type "text/plain" in request.'}


def test_tokens_are_listed_and_removed(client: Client, user: Client) -> None:
    made = user.post("/org-1/api-token/", json={"expires_at": "2031-05-01", "note": None})
    assert made.status_code == 200
    assert made.json()["expires_at"] == "2031-05-01T00:00:00Z"
    listed = user.get("/org-1/active-api-tokens/").json()
    assert [token["id"] for token in listed["tokens"]] == [made.json()["id"]]
    assert len(listed["implicit_tokens"]) == 1
    url = f"/org-1/active-api-tokens/?id={made.json()['id']}"
    assert user.delete(url).json() == {"detail": "Token removed"}
    assert _detail(client, f"Token {made.json()['token']}") == (401, "Invalid token.")
    assert user.delete(url).status_code == 404
    assert user.delete("/org-1/active-api-tokens/").json() == {"detail": "Token not found"}


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ({}, {"expires_at": ["This field is required."]}),
        ({"expires_at": None}, {"expires_at": ["This field may not be null."]}),
        ({"expires_at": "2031-01-01", "note": ""}, {"note": ["This field may not be blank."]}),
    ],
)
def test_a_chosen_token_needs_a_date(user: Client, fields: dict[str, object], body: object) -> None:
    answer = user.post("/org-1/api-token/", json=fields)
    assert (answer.status_code, answer.json()) == (400, body)


def test_expired_token_and_inactive_user(user: Client, node: Node) -> None:
    past = (utc_now() - timedelta(seconds=1)).isoformat()
    token = user.post("/org-1/api-token/", json={"expires_at": past}).json()["token"]
    assert _detail(user, f"Token {token}") == (401, "The token is expired")
    with node.database.transaction() as session:
        session.connection().execute(text('UPDATE "user" SET active = false'))
    assert _detail(user, user.headers["Authorization"]) == (401, "User inactive or deleted.")


def test_secrets_are_not_stored(user: Client, node: Node) -> None:
    token = log_in(user)["token"]
    with node.database.reading() as connection:
        rows = connection.execute(text("SELECT key FROM implicit_bearer_token")).scalars().all()
        passwords = connection.execute(text('SELECT password FROM "user"')).scalars().all()
    assert rows
    assert token not in rows
    assert all(PASSWORD not in password for password in passwords)


def test_info_says_more_to_users(client: Client) -> None:
    stranger = client.get("/org-1/info/").json()
    assert stranger == {
        "host": "http://127.0.0.1:8000/org-1",
        "organization_id": "MyOrg1MSP",
        "organization_name": "MyOrg1",
        "config": {},
        "auth": {},
    }
    token = log_in(client)["token"]
    known = client.get("/org-1/info/", headers={"Authorization": f"Token {token}"}).json()
    assert known["config"] == {"model_export_enabled": True}
    assert (known["channel"], known["user"], known["user_role"]) == ("mychannel", "org-1", "ADMIN")


def test_user_without_channel(user: Client, node: Node) -> None:
    with node.database.transaction() as session:
        session.connection().execute(text("DELETE FROM user_channel"))
    detail = "You do not have permission to perform this action."
    assert _detail(user, user.headers["Authorization"]) == (403, detail)
    answer = user.get("/org-1/info/")
    assert (answer.status_code, answer.json()["detail"]) == (
        400,
        "Could not determine channel name",
    )


def test_strangers_are_throttled_and_users_are_not(settings: Settings, node: Node) -> None:
    limited = settings.model_copy(update={"DEFAULT_THROTTLE_RATES": 3})
    built = Node.build(limited)
    with serving(create_app(limited, built)) as client:
        token = log_in(client)["token"]
        answers = [client.get("/org-1/info/") for _ in range(3)]  # the log-in counts as well
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert 50 <= int(answers[2].headers["Retry-After"]) <= 60
        wait = answers[2].headers["Retry-After"]
        expected = f"Request was throttled. Expected available in {wait} seconds."
        assert answers[2].json() == {"detail": expected}
        headers = {"Authorization": f"Token {token}"}
        assert client.get("/org-1/info/", headers=headers).status_code == 200
    built.close()


def test_changed_password_in_the_settings_changes_the_account(
    client: Client, settings: Settings
) -> None:
    assert log_in(client)["token"]
    users = [UserSettings(username="org-1", password="another one", channel="yourchannel")]
    changed = settings.model_copy(update={"USERS": users})
    node = Node.build(changed)
    with serving(create_app(changed, node)) as again:
        token = log_in(again, password="another one")["token"]
        info = again.get("/org-1/info/", headers={"Authorization": f"Token {token}"}).json()
        assert info["channel"] == "yourchannel"
        old = again.post("/org-1/api-token-auth/", data={"username": "org-1", "password": PASSWORD})
        assert old.status_code == 400
    node.close()


def test_prefix_slashes_and_probes(client: Client) -> None:
    assert client.get("/org-1/info/").status_code == 200
    redirected = client.get("/org-1/info?a=b", follow_redirects=False)
    assert redirected.status_code == 301
    assert redirected.headers["Location"] == "/org-1/info/?a=b"
    assert client.get("/org-1/liveness").text == "OK"
    assert client.get("/org-1/readiness").text == "OK"
    assert client.get("/liveness").text == "OK"
    assert client.get("/org-1/nothing/").json() == {"detail": "Not found."}
    assert client.get("/info/").status_code == 404
    assert client.head("/org-1/info/").content == b""
    wrong = client.patch("/org-1/info/")
    assert wrong.status_code == 405
    assert wrong.json() == {"detail": 'Method "PATCH" not allowed.'}


async def _statuses(app: FastAPI, root_path: str, paths: tuple[str, ...]) -> list[int]:
    transport = ASGITransport(app=app, root_path=root_path)
    async with AsyncClient(transport=transport, base_url="http://testserver") as served:
        return [(await served.get(path)).status_code for path in paths]


def test_serve_gives_the_prefix_as_root_path_too(settings: Settings, node: Node) -> None:
    app = create_app(settings, node)
    start(node)
    paths = ("/org-1/info/", "/org-1/liveness", "/org-1/info", "/org-1/nothing/")
    assert anyio.run(_statuses, app, "/org-1", paths) == [200, 200, 301, 404]


def test_cors_stands_on_errors_and_redirects(client: Client) -> None:
    origin = {"Origin": "http://frontend.test"}
    for path in ("/org-1/organization/", "/org-1/info", "/org-1/nothing/"):
        answer = client.get(path, headers=origin, follow_redirects=False)
        assert answer.headers["Access-Control-Allow-Origin"] == "http://frontend.test"
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    preflight = client.options(
        "/org-1/organization/",
        headers={**origin, "Access-Control-Request-Method": "GET"},
    )
    assert preflight.status_code == 200
    assert preflight.headers["Access-Control-Max-Age"] == "86400"
    stranger = client.get("/org-1/info/", headers={"Origin": "http://evil.test"})
    assert "Access-Control-Allow-Origin" not in stranger.headers
