"""Ray's dashboard through the API: who sees it, what passes, what never does. The head is a real server."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from backend.app import create_app
from backend.node import Node
from backend.settings import Settings
from tests.integration.backend.conftest import PASSWORD, log_in, serving

TOKEN = "ray-token-that-nobody-may-see"
HERE = "/org-1/ray-dashboard/compute"
COLLEAGUE = {"username": "colleague", "password": "quartz-lantern-95-gravel", "role": "USER"}


@dataclass
class Head:
    address: str
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)


class _Head(BaseHTTPRequestHandler):
    """Answers a list of jobs, and a failure where the path says so; remembers what it was asked."""

    head: Head

    def do_GET(self) -> None:
        self.head.asked.append((self.path, dict(self.headers)))
        content = json.dumps({"path": self.path}).encode()
        self.send_response(500 if "broken" in self.path else 200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Set-Cookie", f"ray-authentication-token={TOKEN}")
        self.send_header("X-Ray-Token", TOKEN)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Silent."""


@pytest.fixture
def head() -> Iterator[Head]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Head)
    made = _Head.head = Head(f"http://127.0.0.1:{server.server_address[1]}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture
def settings(settings: Settings, head: Head, tmp_path: Path) -> Settings:
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n", "utf-8")
    addresses = {"compute": head.address, "api": "http://127.0.0.1:9"}
    return settings.model_copy(update={"RAY_DASHBOARDS": addresses, "RAY_TOKEN_PATH": token})


@pytest.fixture
def administrator(settings: Settings, node: Node) -> Iterator[httpx.Client]:
    with serving(create_app(settings, node)) as client:
        client.headers["Authorization"] = f"Token {log_in(client)['token']}"
        yield client


def test_administrator_reads_the_state_and_never_the_token(
    administrator: httpx.Client, head: Head
) -> None:
    administrator.cookies.set("signature", "a secret of ours")
    answer = administrator.get(f"{HERE}/api/v0/tasks?detail=1&limit=10000")
    assert answer.json() == {"path": "/api/v0/tasks?detail=1&limit=10000"}
    assert TOKEN not in str(answer.headers)
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Set-Cookie" not in answer.headers
    ((_, sent),) = head.asked
    assert sent["Authorization"] == f"Bearer {TOKEN}"
    assert "Cookie" not in sent
    assert administrator.headers["Authorization"].split()[1] not in str(sent)


def test_others_see_nothing(administrator: httpx.Client, head: Head) -> None:
    made = administrator.post("/org-1/users/", json=COLLEAGUE)
    assert made.status_code == 201
    name, password = COLLEAGUE["username"], COLLEAGUE["password"]
    token = log_in(administrator, name, password)["token"]
    for headers, expected in (
        ({"Authorization": f"Token {token}"}, 403),
        ({"Authorization": "Token wrong"}, 401),
        ({"Authorization": ""}, 401),
    ):
        for path in ("", "api/jobs/", "static/js/none.js"):
            answer = administrator.get(f"{HERE}/{path}", headers=headers)
            assert answer.status_code == expected
    assert head.asked == []


@pytest.mark.parametrize(
    "path",
    [
        "api/actors/kill?actor_id=ab&force_kill=true",
        "worker/traceback?pid=1&ip=10.0.0.1",
        "worker/cpu_profile?pid=1",
        "memory_profile?pid=1",
        "task/traceback?task_id=ab",
        "api/v0/logs/file?filename=x",
        "api/v0/delay/5",
        "api/packages/gcs/x.zip",
        "api/jobs/x/stop",
        "nodes/..%2f..",
        "static/js/..%2f..%2f..%2f..%2f__init__.py",
        "..%2fnodes",
        "http:%2f%2f127.0.0.1:9%2fnodes",
    ],
)
def test_what_does_not_only_show_the_state_does_not_pass(
    administrator: httpx.Client, head: Head, path: str
) -> None:
    assert administrator.get(f"{HERE}/{path}").status_code == 404
    assert head.asked == []


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_is_changed_through_it(
    administrator: httpx.Client, head: Head, method: str
) -> None:
    answer = administrator.request(method, f"{HERE}/api/jobs/", json={"entrypoint": "true"})
    assert answer.status_code in (404, 405)
    assert head.asked == []


def test_page_is_ours_and_a_browser_opens_it_by_its_cookies_alone(
    administrator: httpx.Client, head: Head
) -> None:
    del administrator.headers["Authorization"]
    names = {"username": "org-1", "password": PASSWORD}
    assert administrator.post("/org-1/me/login/", json=names).status_code == 200
    page = administrator.get(f"{HERE}/")
    assert page.status_code == 200
    assert "Ray Dashboard" in page.text
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    script = page.text.partition('src="./')[2].partition('"')[0]
    loaded = administrator.get(f"{HERE}/{script}")
    assert (loaded.status_code, loaded.headers["Content-Type"]) == (
        200,
        "text/javascript; charset=utf-8",
    )
    mode = administrator.get(f"{HERE}/api/authentication_mode").json()
    assert mode == {"authentication_mode": "disabled"}
    assert head.asked == []
    assert administrator.get(f"{HERE}/nodes?view=summary").json() == {"path": "/nodes?view=summary"}


def test_cookies_alone_open_nothing_else(administrator: httpx.Client) -> None:
    del administrator.headers["Authorization"]
    names = {"username": "org-1", "password": PASSWORD}
    assert administrator.post("/org-1/me/login/", json=names).status_code == 200
    assert administrator.get("/org-1/users/").status_code == 401


def test_a_head_that_fails_or_is_away_is_said(administrator: httpx.Client) -> None:
    broken = administrator.get(f"{HERE}/api/jobs/broken")
    assert (broken.status_code, broken.json()) == (502, {"detail": "Ray's head answers 500"})
    away = administrator.get("/org-1/ray-dashboard/api/nodes")
    assert (away.status_code, away.json()) == (502, {"detail": "Ray's head does not answer"})
    assert administrator.get("/org-1/ray-dashboard/other/nodes").status_code == 404


def test_token_may_change(administrator: httpx.Client, head: Head, tmp_path: Path) -> None:
    administrator.get(f"{HERE}/nodes")
    (tmp_path / "token").write_text("another", "utf-8")
    administrator.get(f"{HERE}/nodes")
    assert [sent["Authorization"] for _, sent in head.asked] == [
        f"Bearer {TOKEN}",
        "Bearer another",
    ]
