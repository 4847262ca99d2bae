"""A built front end beside the API: its texts, its paths, and the network's files that follow from it."""

import gzip
import http.client
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.settings import Settings
from network import control, settings_files
from network.layout import Layout
from network.page_texts import Texts
from network.pages import Build, File, accepted_codings, server
from network.ports import free_port
from network.state import State

API = "http://org-1.localhost:8000/org-1"
API_URL = "__API_URL__"
PAGE = ("text/html; charset=utf-8", b"<!doctype html>")


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


@pytest.mark.parametrize(
    "target", ["/../secret", "/assets/../../secret", "/..%2fsecret", "http://x/../secret"]
)
def test_no_spelling_of_a_path_leaves_the_folder(port: int, target: str) -> None:
    """Over a socket: clients tidy paths before they send them."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(
            f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        )
        answer = b""
        while part := connection.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"not a page" not in answer
    assert b"<!doctype html>" in answer


def test_a_link_out_of_the_folder_is_not_followed(folder: Path) -> None:
    (folder / "out.txt").symlink_to(folder.parent / "secret")
    (folder / "outer").symlink_to(folder.parent)
    assert _plain(Build(folder, API), "/out.txt") == PAGE
    assert _plain(Build(folder, API), "/outer/secret") == PAGE


def _plain(build: Build, path: str) -> tuple[str, bytes]:
    """Media type and first bytes of what a client without codings gets."""
    found = build.file(path)
    assert found is not None
    return found.media_type, found.best(None)[1][:15]


def test_a_new_build_is_seen(folder: Path) -> None:
    build = Build(folder, API)
    assert _plain(build, "/") == PAGE
    (folder / "index.html").write_text("new")
    assert _plain(build, "/") == ("text/html; charset=utf-8", b"new")


def test_a_folder_of_the_build_has_its_own_page(folder: Path) -> None:
    (folder / "help" / "more").mkdir(parents=True)
    (folder / "help" / "index.html").write_text("help")
    assert _plain(Build(folder, API), "/help/")[1] == b"help"
    assert _plain(Build(folder, API), "/help")[1] == b"help"
    assert _plain(Build(folder, API), "/help/more/") == PAGE


def test_without_a_page_there_is_404(tmp_path: Path) -> None:
    assert Build(tmp_path, API).file("/") is None
    assert Build(tmp_path, API).count() == 0


# ---------------------------------------------------------------------- texts
@pytest.mark.parametrize(
    ("written", "served"),
    [
        ('const a="__API_URL__";', f'const a="{API}";'),
        ("fetch(`__API_URL__/info/`)", f"fetch(`{API}/info/`)"),
        ('a="__VITE_API_URL__"', f'a="{API}"'),
        ('a="https://__API_URL__/me/"', f'a="{API}/me/"'),
        ('a="//__API_URL__"', f'a="{API}"'),
        ("window.API_URL='${API_URL}'", f"window.API_URL='{API}'"),
        ('a="$API_URL",b="%REACT_APP_API_URL%"', f'a="{API}",b="{API}"'),
        ("a=`${API_URL}/info/`", "a=`${API_URL}/info/`"),  # code, not a text
        ("__API_URLS__ __api_url__ API_URL", "__API_URLS__ __api_url__ API_URL"),
        ('w("__MICROSOFT_CLARITY_ID__","__CLARITY_ID__")', 'w("","")'),
    ],
)
def test_every_spelling_of_a_text_is_replaced(written: str, served: str) -> None:
    assert Texts(API + "/").replace(written.encode(), page=False) == served.encode()


def test_a_content_security_policy_gets_the_origin() -> None:
    """An address without a slash at its end allows only itself there, so that every call would be blocked."""
    html = (
        b"<meta http-equiv='Content-Security-Policy' content=\"connect-src 'self' __API_URL__\">"
        b'<meta name="api" content="__API_URL__">'
    )
    origin = b"http://org-1.localhost:8000"
    served = Texts(API).replace(html, page=True)
    assert b"connect-src 'self' " + origin + b'">' in served
    assert b'name="api" content="' + API.encode() in served


def test_a_build_that_knows_its_own_address_is_noticed(folder: Path) -> None:
    assert Build(folder, API).count() == 1
    (folder / "assets" / "a.js").write_text("api('http://elsewhere.test')")
    assert Build(folder, API).count() == 0


# ---------------------------------------------------------------------- codings and conditions
def _answer(port: int, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(
        method, path, headers={name.replace("_", "-"): text for name, text in headers.items()}
    )
    response = connection.getresponse()
    response.body = response.read()  # type: ignore[attr-defined]
    connection.close()
    return response


@pytest.fixture
def compressed(folder: Path) -> Path:
    """Two large scripts with what a build tool writes beside them."""
    for name, text in (("plain.js", "x" * 5_000), ("api.js", "'__API_URL__'" + "x" * 5_000)):
        (folder / name).write_text(text)
        (folder / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
        (folder / f"{name}.br").write_bytes(b"brotli of " + name.encode())
    return folder


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip", "gzip"),
        ("br;q=0, gzip;q=0.5", "gzip"),
        ("gzip;q=0.0", None),
        ("", None),
    ],
)
def test_a_build_s_own_compression_is_used(
    compressed: Path, port: int, accepted: str, coding: str | None
) -> None:
    answer = _answer(port, "/plain.js", Accept_Encoding=accepted)
    assert answer.getheader("Content-Encoding") == coding
    assert answer.getheader("Vary") == "Accept-Encoding"
    assert str(answer.getheader("Content-Type")).endswith("javascript; charset=utf-8")


def test_a_compressed_file_with_a_text_is_made_anew(compressed: Path, port: int) -> None:
    answer = _answer(port, "/api.js", Accept_Encoding="gzip, br")
    assert answer.getheader("Content-Encoding") == "gzip"
    body: bytes = answer.body  # type: ignore[attr-defined]
    assert gzip.decompress(body).startswith(f"'{API}'".encode())


def test_a_compressed_file_of_a_former_build_is_not_used(compressed: Path) -> None:
    for suffix in (".gz", ".br"):
        os.utime(compressed / f"plain.js{suffix}", (1, 1))
    found = Build(compressed, API).file("/plain.js")
    assert found is not None
    assert "br" not in found.contents
    assert gzip.decompress(found.contents["gzip"]) == b"x" * 5_000


def test_a_compressed_file_itself_is_bytes(compressed: Path) -> None:
    found = Build(compressed, API).file("/plain.js.gz")
    assert found is not None
    assert found.media_type == "application/octet-stream"
    assert found.best("gzip") == ("identity", (compressed / "plain.js.gz").read_bytes())


def test_what_is_known_is_not_sent_again(folder: Path, port: int) -> None:
    first = _answer(port, "/assets/a.js")
    tag = str(first.getheader("ETag"))
    assert first.getheader("Cache-Control") == "no-cache"
    for known in (tag, f'"other", W/{tag}', "*"):
        again = _answer(port, "/assets/a.js", If_None_Match=known)
        assert (again.status, again.body) == (304, b"")  # type: ignore[attr-defined]
        assert again.getheader("ETag") == tag
    assert _answer(port, "/assets/a.js", "HEAD", If_None_Match=tag).status == 304
    assert _answer(port, "/assets/a.js", If_None_Match='"other"').status == 200
    (folder / "assets" / "a.js").write_text("new")
    assert _answer(port, "/assets/a.js", If_None_Match=tag).status == 200


def test_pages_tell_no_other_site_where_they_were(port: int) -> None:
    answer = _answer(port, "/reset_password/alice?token=secret")
    assert answer.getheader("Referrer-Policy") == "no-referrer"
    assert answer.getheader("X-Frame-Options") == "DENY"
    assert "Python" not in str(answer.getheader("Server"))


def test_codings_that_are_refused_are_not_accepted() -> None:
    assert accepted_codings("GZIP, br;q=0.5, deflate;q=0, zstd;q=0.000") == {"gzip", "br"}
    assert File("x", {"identity": b"1"}).best("br") == ("identity", b"1")


# ---------------------------------------------------------------------- the network's files
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
