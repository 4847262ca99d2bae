"""A built front end beside the API: its texts, its paths, and the network's files that follow from it."""

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.settings import Settings
from network import control, settings_files
from network.layout import Layout
from network.pages import API_URL, Build, server
from network.ports import free_port
from network.state import State

API = "http://org-1.localhost:8000/org-1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    build = tmp_path / "build"
    (build / "assets").mkdir(parents=True)
    (build / "index.html").write_text("<!doctype html><script src=/assets/a.js></script>")
    (build / "assets" / "a.js").write_text(f'api("{API_URL}"); watch("__MICROSOFT_CLARITY_ID__")')
    (build / "assets" / "logo.png").write_bytes(b"\x89PNG" + API_URL.encode())
    (tmp_path / "secret").write_text("not a page")
    return build


@pytest.fixture
def port(folder: Path) -> Iterator[int]:
    running = server(folder, 0, API)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield running.server_address[1]
    running.shutdown()
    running.server_close()


def _ask(port: int, path: str, method: str = "GET") -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path)
    response = connection.getresponse()
    answer = response.status, str(response.getheader("content-type")), response.read()
    connection.close()
    return answer


def test_texts_are_replaced_and_pictures_are_not(port: int) -> None:
    status, kind, content = _ask(port, "/assets/a.js?v=1")
    assert (status, content) == (200, f'api("{API}"); watch("")'.encode())
    assert kind.startswith(("text/javascript", "application/javascript"))
    assert _ask(port, "/assets/logo.png") == (200, "image/png", b"\x89PNG" + API_URL.encode())


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/compute_plans",
        "/compute_plans/1/tasks",
        "/assets",
        "/../secret",
        "/%2e%2e/secret",
        "//etc/passwd",
        "/a%00b",
        "/" + "x" * 300,
    ],
)
def test_what_is_no_file_is_the_page(port: int, path: str) -> None:
    status, kind, content = _ask(port, path)
    assert (status, kind) == (200, "text/html; charset=utf-8")
    assert content.startswith(b"<!doctype html>")


def test_head_has_no_body_and_a_post_no_page(port: int) -> None:
    assert _ask(port, "/", "HEAD") == (200, "text/html; charset=utf-8", b"")
    assert _ask(port, "/", "POST")[0] == 501


def test_a_link_out_of_the_folder_is_not_followed(folder: Path) -> None:
    (folder / "out.txt").symlink_to(folder.parent / "secret")
    found = Build(folder, API).file("/out.txt")
    assert found is not None
    assert found[1].startswith(b"<!doctype html>")


def test_a_new_build_is_seen(folder: Path) -> None:
    build = Build(folder, API)
    assert build.file("/") != ("text/html; charset=utf-8", b"new")
    (folder / "index.html").write_text("new")
    assert build.file("/") == ("text/html; charset=utf-8", b"new")


def test_without_a_page_there_is_404(tmp_path: Path) -> None:
    assert Build(tmp_path, API).file("/") is None


def test_each_organization_has_an_origin_that_its_api_knows(tmp_path: Path, folder: Path) -> None:
    layout = Layout.at(tmp_path / "state")
    layout.make()
    layout.postgres.mkdir()
    (layout.postgres / "password").write_text("secret")
    state = State.new(organizations=2, port=8000)
    assert state.page("org-1") is None
    state.frontend = str(folder)
    state.complete()
    settings_files.write_all(layout, state)
    ports = [state.ports[f"page-org-{number}"] for number in (1, 2)]
    assert len({8000, *ports}) == 3
    second = Settings.read(layout.settings_file("org-2"))
    assert state.page("org-2") == f"http://org-2.localhost:{ports[1]}"
    assert [state.page("org-2")] == second.CORS_ORIGIN_WHITELIST
    assert second.CORS_ALLOW_CREDENTIALS
    assert state.page_api("org-2") == "http://org-2.localhost:8000/org-2"
    shown = settings_files.network_of(state)["organizations"][0]
    assert shown["page"] == f"http://org-1.localhost:{ports[0]}"


def test_a_folder_without_a_page_is_refused(tmp_path: Path) -> None:
    with pytest.raises(control.NetworkError, match=r"no index\.html"):
        control.prepare(Layout.at(tmp_path / "state"), frontend=tmp_path)
    assert not (tmp_path / "state").exists()


def test_a_free_port_stays_the_pages_from_one_up_to_the_next(folder: Path) -> None:
    state = State.new(organizations=1, port=free_port())
    state.frontend = str(folder)
    state.complete()
    before = state.ports["page-org-1"]
    assert state.replace_busy_ports() == []
    assert state.ports["page-org-1"] == before


def test_up_waits_until_a_running_supervisor_serves_the_pages(tmp_path: Path) -> None:
    layout = Layout.at(tmp_path / "state")
    layout.make()
    state = State.new(organizations=1, port=free_port())
    before: dict[str, object] = {
        "phase": "running",
        "supervisor": None,
        "processes": [],
        "actors": [],
    }
    layout.processes_file.write_text(json.dumps(before))
    assert control.waiting_for(layout, state) == ["org-1"]
    state.frontend = str(tmp_path)
    assert control.waiting_for(layout, state) == ["frontend"]
