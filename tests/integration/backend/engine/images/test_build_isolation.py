"""RUN lines are as little trusted as functions (rule 13), and builds never mix."""

import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from backend.engine.images.embedded import EmbeddedBuilder
from tests.integration.backend.engine.images.conftest import RUN_ENVIRONMENT, Workshop
from tests.integration.backend.engine.images.test_embedded import ENTRYPOINT, FROM


def test_a_run_line_sees_nothing_of_the_machine(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "very secret")
    secret = tmp_path / "secret"
    secret.write_text("do not tell")
    (tmp_path / "open").mkdir()
    here = os.getpid()
    workshop.build(
        f"{FROM}RUN env; cat /proc/{here}/environ; kill -9 {here}; "
        "for n in 3 4 5 6 7 8 9; do (echo open >&$n) 2>/dev/null && echo descriptor $n; done; true\n"
        f'RUN P="{tmp_path}"; cat "$P"/secret; echo evil > "$P"/secret; touch "$P"/open/x; true'
        f"{ENTRYPOINT}"
    )
    assert "very secret" not in workshop.log
    assert "do not tell" not in workshop.log
    assert "SUBSTRA_TOOLS=/tools" in workshop.log
    assert not [line for line in workshop.log.splitlines() if line.startswith("descriptor ")]
    assert secret.read_text() == "do not tell"
    assert list((tmp_path / "open").iterdir()) == []


def test_variables_of_an_image_reach_no_program_before_the_walls_stand(workshop: Workshop) -> None:
    workshop.build(f"{FROM}ENV LD_DEBUG=files\nRUN echo done{ENTRYPOINT}")
    started = [line for line in workshop.log.splitlines() if "transferring control" in line]
    assert started  # the loader obeys the image's variables ...
    assert not [
        line for line in started if "/bin/sh" not in line
    ]  # ... in the RUN line's shell alone


def test_a_run_line_does_not_reach_local_services(workshop: Workshop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert port > 1024
        connect = f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)"
        workshop.fail(f'{FROM}RUN python -c "{connect}"{ENTRYPOINT}')
        assert "PermissionError" in workshop.log


def test_run_lines_have_the_proxy_and_the_private_authority_of_the_site(
    media: Path, tmp_path: Path
) -> None:
    """Its proxy may listen on any port of this machine, its certificates may lie anywhere, behind a link."""
    (tmp_path / "private").mkdir(mode=0o700)
    authority = tmp_path / "private" / "authority.pem"
    authority.write_text(f"the authority of {tmp_path.name}")
    link = tmp_path / "ca.pem"
    link.symlink_to(authority)
    connect = (
        "import os, socket, urllib.parse as u; p = u.urlsplit(os.environ['HTTPS_PROXY']); "
        "socket.create_connection((p.hostname, p.port), 5).close(); print('through', p.port)"
    )
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        port = proxy.getsockname()[1]
        assert port > 1024
        captured = {
            "HTTPS_PROXY": f"http://127.0.0.1:{port}",
            "NO_PROXY": "inside.example",
            "REQUESTS_CA_BUNDLE": str(link),
            "GIT_SSL_CAINFO": str(link),
        }
        builder = EmbeddedBuilder(media, run_environment={**RUN_ENVIRONMENT, **captured})
        workshop = Workshop(media, tmp_path / "private", builder)
        workshop.build(
            f'{FROM}RUN cat "$REQUESTS_CA_BUNDLE" "$GIT_SSL_CAINFO" && echo "not for $NO_PROXY"\n'
            f'RUN echo {port} && python -c "{connect}"{ENTRYPOINT}'
        )
    assert workshop.log.count(authority.read_text()) == 2
    assert "not for inside.example" in workshop.log
    assert f"through {port}" in workshop.log


def test_the_shared_package_cache_is_out_of_reach_of_run_lines(
    workshop: Workshop, media: Path
) -> None:
    workshop.build(f"{FROM}RUN pip install tqdm{ENTRYPOINT}")
    cache = media / "images" / "uv-cache"
    assert cache.is_dir()
    before = sorted(path.name for path in cache.iterdir())
    shell = 'P="$SUBSTRA_ROOT"; echo evil > "$P"/../../../uv-cache/evil; ls "$P"/../../../uv-cache'
    workshop.fail(f"{FROM}RUN {shell}{ENTRYPOINT}")
    link = 'ln -s "$SUBSTRA_ROOT"/../../../uv-cache /usr/local/lib/out'
    workshop.build(f"{FROM}RUN {link} && pip install six{ENTRYPOINT}")
    assert "left out, a link out of the image: /usr/local/lib/out" in workshop.log
    assert sorted(path.name for path in cache.iterdir()) == before


def test_links_out_of_the_image_are_left_out(workshop: Workshop) -> None:
    manifest = workshop.build(
        f"{FROM}RUN ln -s /etc/passwd /p && ln -s ../../../.. /q && ln -s /sandbox /ok{ENTRYPOINT}"
    ).manifest
    root = Path(workshop.store.materialize(manifest)["root"])
    assert not (root / "p").is_symlink()
    assert not (root / "q").is_symlink()
    assert (root / "ok").readlink() == Path("sandbox")


def test_a_daemon_does_not_outlive_its_run_line(workshop: Workshop) -> None:
    workshop.build(f"{FROM}RUN (setsid sleep 4711 &) ; true{ENTRYPOINT}")
    running = [process.info["cmdline"] for process in psutil.process_iter(["cmdline"])]
    assert ["sleep", "4711"] not in running


def test_the_time_limit_ends_a_build_and_all_its_processes(
    make_workshop: Callable[..., Workshop],
) -> None:
    workshop = make_workshop(timeout_s=2)
    began = time.monotonic()
    assert "longer than 2 seconds" in workshop.fail(
        f"{FROM}RUN sleep 4712 & sleep 4712{ENTRYPOINT}"
    )
    assert time.monotonic() - began < 10
    running = [process.info["cmdline"] for process in psutil.process_iter(["cmdline"])]
    assert ["sleep", "4712"] not in running


def test_a_flood_of_output_is_cut(workshop: Workshop) -> None:
    workshop.build(f"{FROM}RUN yes | head -c 20000000{ENTRYPOINT}")
    assert len(workshop.log) < 10_000_000
    assert "the rest is left out" in workshop.log
    assert "Successfully built" in workshop.log


def _build_numbered(workshop: Workshop, number: int) -> str:
    """What the image has of a number that both a layer and the context wrote, and what its RUN line saw."""
    manifest = workshop.build(
        f"{FROM}RUN mkdir /x && echo {number} > /x/n && sleep 0.3 && ls /x > /x/seen\n"
        f"COPY function.py mine.txt /x/{ENTRYPOINT}",
        **{"mine.txt": str(number)},
    ).manifest
    environment = workshop.store.materialize(manifest)
    root, upper = Path(environment["root"]), Path(environment["layers"][0])
    seen = (root / "x/seen").read_text().split()
    return f"{(root / 'x/n').read_text().strip()} {(upper / 'x/mine.txt').read_text()} {seen}"


def test_two_builds_at_once_do_not_mix(make_workshop: Callable[..., Workshop], media: Path) -> None:
    workshops = [make_workshop() for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(_build_numbered, workshops, range(3)))
    assert answers == [f"{number} {number} ['n', 'seen']" for number in range(3)]
    assert list((media / "images" / "builds").iterdir()) == []


def test_the_same_step_is_made_once_by_builds_at_once(
    make_workshop: Callable[..., Workshop],
) -> None:
    dockerfile = f"{FROM}RUN head -c 8 /dev/urandom > /random{ENTRYPOINT}"
    with ThreadPoolExecutor(2) as pool:
        builds = [pool.submit(make_workshop().build, dockerfile) for _ in range(2)]
        digests = {build.result().manifest_digest for build in builds}
    assert len(digests) == 1
