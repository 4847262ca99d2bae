"""The front door: a real haproxy in front of small servers."""

import http.client
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from network import front_door, probes
from network.ports import free_port
from network.state import State
from tests.unit.network.doubles import web_server


@pytest.fixture
def state() -> State:
    return State.new(organizations=2, port=free_port())


@contextmanager
def opened(state: State, folder: Path) -> Iterator[None]:
    path = folder / "front-door.cfg"
    path.write_text(front_door.configuration(state))
    process = subprocess.Popen(
        [front_door.program(), "-db", "-f", str(path)], stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 10
        while not probes.listens(state.port):
            assert time.monotonic() < deadline
        yield
    finally:
        process.terminate()
        process.wait(10)


def ask(state: State, path: str, method: str = "GET") -> tuple[int, str, str | None]:
    connection = http.client.HTTPConnection("127.0.0.1", state.port, timeout=10)
    connection.request(method, path, body=b"{}" if method == "POST" else None)
    response = connection.getresponse()
    answer = response.status, response.read().decode(), response.getheader("retry-after")
    connection.close()
    return answer


def until(state: State, path: str, expected: str) -> None:
    """Wait until this answer comes: health checks take their turns."""
    deadline = time.monotonic() + 10
    while (last := ask(state, path)[1]) != expected:
        assert time.monotonic() < deadline, f"{path}: {last}, not {expected}"


def with_pages(state: State) -> tuple[str, str]:
    """The origins of both organizations' pages."""
    state.frontend = "/some/where"
    state.complete()
    one, two = state.page("org-1"), state.page("org-2")
    assert one
    assert two
    return one, two


def heard(
    state: State, path: str, origin: str, method: str = "GET", asked: str = ""
) -> tuple[int, dict[str, str]]:
    """Status and headers (lower case) of what a page gets."""
    connection = http.client.HTTPConnection("127.0.0.1", state.port, timeout=10)
    headers = {"Origin": origin}
    if asked:
        headers |= {
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": asked,
        }
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status, {name.lower(): value for name, value in response.getheaders()}


@pytest.mark.parametrize("frontend", [True, False])
@pytest.mark.parametrize("plain", [True, False])
def test_configuration_is_accepted_without_a_warning(
    state: State, tmp_path: Path, plain: bool, frontend: bool
) -> None:
    state.plain = plain
    if frontend:
        with_pages(state)
    path = tmp_path / "front-door.cfg"
    path.write_text(front_door.configuration(state))
    checked = subprocess.run(
        [front_door.program(), "-c", "-f", str(path)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert "WARNING" not in checked.stderr


def test_each_request_goes_where_it_belongs(state: State, tmp_path: Path) -> None:
    one, two = state.ports["api-org-1"], state.ports["api-org-2"]
    with (
        web_server("serve", state.ports["serve"]),
        web_server("uvicorn-1", one),
        web_server("uvicorn-2", two),
        opened(state, tmp_path),
    ):
        until(state, "/org-1/info/", '"serve"')
        until(state, "/org-2/info/", '"serve"')
        assert ask(state, "/org-1/function/", "POST")[1] == '"uvicorn-1"'
        assert ask(state, "/org-2/data_sample", "POST")[1] == '"uvicorn-2"'
        assert ask(state, "/org-1/function/")[1] == '"serve"'
        assert ask(state, "/org-1/task/bulk_create/", "POST")[1] == '"serve"'
        assert ask(state, "/org-2/runner/exchange/", "POST")[1] == '"uvicorn-2"'
        assert ask(state, "/org-1/model/x/file/")[1] == '"uvicorn-1"'
        assert ask(state, f"/org-1/task/?key={'x' * 7000}")[1] == '"uvicorn-1"'
        assert ask(state, "/org-3/info/")[0] == 404
        assert ask(state, "/org-11/info/")[0] == 404
        assert ask(state, "/")[0] == 404


def test_uvicorn_answers_while_serve_is_away(state: State, tmp_path: Path) -> None:
    with web_server("uvicorn", state.ports["api-org-1"]), opened(state, tmp_path):
        with web_server("serve", state.ports["serve"]):
            until(state, "/org-1/info/", '"serve"')
        until(state, "/org-1/info/", '"uvicorn"')
        assert ask(state, "/org-1/info/")[:2] == (200, '"uvicorn"')


def test_nobody_behind_it_is_503_to_be_repeated(state: State, tmp_path: Path) -> None:
    with opened(state, tmp_path):
        status, body, retry_after = ask(state, "/org-1/info/")
    assert (status, retry_after) == (503, "1")
    assert "detail" in body


@pytest.mark.parametrize(
    ("content_type", "expected"), [("text/plain", 503), ("application/json", 500)]
)
def test_a_500_of_serves_own_is_to_be_repeated(
    state: State, tmp_path: Path, content_type: str, expected: int
) -> None:
    with (
        web_server("x", state.ports["serve"], status=500, content_type=content_type),
        opened(state, tmp_path),
    ):
        assert ask(state, "/org-1/info/")[0] == expected


ALLOWED = "access-control-allow-origin"


@pytest.mark.parametrize(("path", "status"), [("/org-1/info/", 503), ("/nowhere/", 404)])
def test_a_page_can_read_the_answers_of_the_door_itself(
    state: State, tmp_path: Path, path: str, status: int
) -> None:
    page, _other = with_pages(state)
    with opened(state, tmp_path):
        found, headers = heard(state, path, page)
    assert found == status
    assert headers[ALLOWED] == page
    assert headers["access-control-allow-credentials"] == "true"
    assert headers["vary"] == "Origin"
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["/org-1/info/", "/nowhere/"])
def test_other_origins_are_told_nothing(state: State, tmp_path: Path, path: str) -> None:
    page, other = with_pages(state)
    strangers = ["http://evil.example", f"{page}.evil.example", page.upper(), "null", page + "1"]
    if path.startswith("/org-1/"):
        strangers.append(other)  # an organization's answers are for its own page only
    with opened(state, tmp_path):
        for stranger in strangers:
            headers = heard(state, path, stranger)[1]
            assert not [name for name in headers if name.startswith("access-control")], stranger


def test_without_pages_nobody_is_told_anything(state: State, tmp_path: Path) -> None:
    with opened(state, tmp_path):
        headers = heard(state, "/org-1/info/", "http://org-1.localhost:1")[1]
    assert ALLOWED not in headers


def test_a_page_may_ask_before_its_request_while_nobody_is_up(state: State, tmp_path: Path) -> None:
    page, other = with_pages(state)
    with opened(state, tmp_path):
        until(state, "/org-1/info/", '{"detail":"Service unavailable"}')
        status, headers = heard(state, "/org-1/info/", page, "OPTIONS", "authorization")
        strange = heard(state, "/org-1/info/", other, "OPTIONS", "authorization")
    assert status == 200
    assert headers[ALLOWED] == page
    assert headers["access-control-allow-headers"] == "authorization"
    assert headers["access-control-allow-methods"] == "GET"
    assert strange[0] == 503
    assert ALLOWED not in strange[1]


def test_what_the_application_says_of_origins_stays(state: State, tmp_path: Path) -> None:
    page, _other = with_pages(state)
    own = {"Access-Control-Allow-Origin": "https://said.example", "Vary": "Accept"}
    with (
        web_server("serve", state.ports["serve"], headers=own),
        opened(state, tmp_path),
    ):
        until(state, "/org-1/info/", '"serve"')
        headers = heard(state, "/org-1/info/", page)[1]
    assert headers[ALLOWED] == "https://said.example"
    assert headers["vary"] == "Accept"
