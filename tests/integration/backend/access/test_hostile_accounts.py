"""Nothing that a caller sends to the routes of accounts is a crash (rest-api.md 2)."""

import json

import pytest
from httpx import Client

NAMES = ["%00", "%ff", "%ed%a0%80", "a%2Fb", "..", "%20", "a" * 3000, "%F0%9F%98%80", "*", "'--"]
VALUES: list[object] = [
    None,
    True,
    0,
    1e400,
    -1,
    "",
    " ",
    "\x00",
    "\ud83d\ude00",
    [],
    {},
    ["ADMIN"],
    "x" * 5000,
]
FIELDS = ("username", "password", "role", "token", "expires_at", "note")
JSON = {"Content-Type": "application/json"}


def ask(client: Client, method: str, path: str, content: bytes | None = None) -> int:
    answer = client.request(method, "/org-1" + path, content=content, headers=JSON)
    assert answer.status_code < 500, f"{method} {path} {content!r}: {answer.text}"
    if answer.status_code >= 400 and answer.headers["content-type"] == "application/json":
        assert answer.json()
    return answer.status_code


def test_names_in_paths_and_queries(user: Client) -> None:
    for name in NAMES:
        check_answers_to(user, name)


def check_answers_to(user: Client, name: str) -> None:
    for method, path in (
        ("GET", f"/users/{name}/"),
        ("PUT", f"/users/{name}/"),
        ("DELETE", f"/users/{name}/"),
        ("PUT", f"/users/{name}/password/"),
        ("POST", f"/users/{name}/reset_password/"),
        ("GET", f"/users/{name}/verify_token/?token={name}"),
        ("POST", f"/users/{name}/set_password/"),
        ("GET", f"/users/?match={name}&role={name}&ordering={name}&page_size={name}"),
        ("PUT", f"/users-awaiting-approval/?username={name}"),
        ("DELETE", f"/users-awaiting-approval/?username={name}"),
        ("GET", f"/users-awaiting-approval/?match={name}"),
        ("DELETE", f"/active-api-tokens/?id={name}"),
        ("GET", f"/organization/{name}/"),
        ("GET", f"/oidc/callback/?state={name}&code={name}"),
    ):
        body = b'{"role": "USER", "password": "p", "token": "t"}' if method != "GET" else None
        assert ask(user, method, path, body) in (200, 400, 401, 403, 404)


@pytest.mark.parametrize("field", FIELDS)
def test_values_in_bodies(user: Client, field: str) -> None:
    fields = {"username": "alice", "password": "weak", "token": "t", "expires_at": "2031-01-01"}
    for value in VALUES:
        content = json.dumps({**fields, field: value}).encode()
        for method, path in (
            ("POST", "/users/"),
            ("PUT", "/users/alice/"),
            ("PUT", "/users/org-1/password/"),
            ("POST", "/users/alice/set_password/"),
            ("POST", "/me/login/"),
            ("POST", "/api-token-auth/"),
            ("POST", "/api-token/"),
            ("PUT", "/users-awaiting-approval/?username=alice"),
        ):
            assert ask(user, method, path, content) != 201


BODIES = [b"", b"{", b"[]", b"null", b"3", b'"x"', b"\xff", b"[" * 100_000, b'{"a":' * 2000]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/users/"),
        ("PUT", "/users/org-1/"),
        ("POST", "/users/org-1/set_password/"),
        ("POST", "/me/login/"),
        ("POST", "/me/refresh/"),
        ("POST", "/api-token-auth/"),
        ("POST", "/api-token/"),
        ("PUT", "/users-awaiting-approval/?username=alice"),
    ],
)
def test_bodies_that_are_no_objects(user: Client, method: str, path: str) -> None:
    statuses = {ask(user, method, path, content) for content in BODIES}
    assert statuses <= {200, 400, 401, 404}


CREDENTIALS = [
    *("Token " + "a" * 8000, "Token \xff", "JWT", "JWT .", "JWT a.b", "JWT \xff.\xff", "Basic"),
    *("Basic !", "Basic YQ==", "Basic Og==", "Basic AGE6Yg==", "Basic /zr/", "Bearer x", "x"),
]


def test_credentials_of_all_kinds(client: Client) -> None:
    for authorization in CREDENTIALS:
        headers = {
            b"Authorization": authorization.encode("latin-1"),
            b"Cookie": b"signature=\xff; refresh=\xff",
            b"Substra-Channel-Name": b"\xff",
        }
        for path in ("/info/", "/organization/", "/model/", "/me/logout/"):
            answer = client.get("/org-1" + path, headers=headers)
            assert answer.status_code in (200, 401), f"{path}: {answer.text}"
        assert client.post("/org-1/me/refresh/", headers=headers).status_code == 401
