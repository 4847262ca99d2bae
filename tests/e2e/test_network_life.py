"""The life of a network: it comes up, heals, moves, grows, stands beside another one, and ends without a trace.

Networks of plain processes (`--plain`) wherever Ray makes no difference: they are up in seconds.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from network.layout import Layout
from network.ports import free_port
from network.processes import marked
from network.status import LOOPS
from network.status import status as status_of
from tests.e2e.conftest import RunningNetwork
from tests.e2e.waiting import wait_for
from tests.unit.network.doubles import listener

HEALED_S = 10
LOAD = 6  # how much slower than a quiet machine this one may be
PLAIN_ROLES = {"supervisor", "postgres", "orchestrator", "front-door", "api", "runner", *LOOPS}


@contextmanager
def state_folder(name: str = "state") -> Iterator[RunningNetwork]:
    """A network that does not run yet; whatever the test left running is ended."""
    with tempfile.TemporaryDirectory(prefix="sr-life-") as folder:
        running = RunningNetwork(Path(folder) / name)
        try:
            yield running
        finally:
            running.command("down", "--purge")


def up(running: RunningNetwork, *words: str, port: int | None = None) -> str:
    given = [] if port is None else ["--port", str(port)]
    return running.command("up", "--plain", "--workers", "1", *given, *words)


def status(running: RunningNetwork) -> dict[str, Any]:
    """What `status --json` prints, without a process for each question."""
    content = status_of(Layout.at(running.state))
    assert content is not None
    return content


def answers(running: RunningNetwork, name: str) -> bool:
    """Whether this organization's public page comes through the front door."""
    url = next(o["url"] for o in running.organizations if o["name"] == name)
    try:
        answer = httpx.get(f"{url}/info/", timeout=5)
    except httpx.HTTPError:
        return False
    return answer.status_code == 200 and answer.json()["host"] == url


def members(running: RunningNetwork) -> list[set[str]]:
    """Who is listed at each organization, first on `mychannel`, then on `yourchannel`."""
    listed = []
    for organization in running.organizations:
        url = organization["url"]
        for username in (organization["name"], f"{organization['name']}-yourchannel"):
            names = {"username": username, "password": organization["password"]}
            token = httpx.post(f"{url}/api-token-auth/", data=names, timeout=30).json()["token"]
            answer = httpx.get(
                f"{url}/organization/", headers={"Authorization": f"Token {token}"}, timeout=30
            )
            listed.append({member["id"] for member in answer.json()})
    return listed


def refusal(running: RunningNetwork, *words: str) -> str:
    """What `substra-ray` says when it refuses: one message, no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *words, "--state", str(running.state)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def leaves_nothing(running: RunningNetwork) -> None:
    layout = Layout.at(running.state)
    assert marked(layout.identity) == []
    assert not layout.run.exists()
    needle = str(running.state)
    assert not [p.pid for p in psutil.process_iter() if needle in " ".join(_words(p))]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_a_plain_network_lives_heals_and_ends() -> None:
    with state_folder("long-" + "x" * 140) as running:
        assert len(str(running.state)) > 150
        printed = up(running, port=free_port())
        assert all(organization["url"] in printed for organization in running.organizations)
        assert members(running) == [{"MyOrg1MSP", "MyOrg2MSP"}] * 4
        assert answers(running, "org-1")
        assert answers(running, "org-2")
        assert "already" in up(running)
        wait_for(lambda: len(running.processes("runner")) == 2, "the runners are there")
        rows = status(running)["processes"]
        assert rows == json.loads(running.command("status", "--json"))["processes"]
        assert {row["role"] for row in rows} >= PLAIN_ROLES
        assert all(row["healthy"] for row in rows)
        for role in ("postgres", "orchestrator", "front-door", "api", "scheduler", "runner"):
            killed_is_replaced(running, role)
        assert answers(running, "org-2")
        running.command("down")
        leaves_nothing(running)


def killed_is_replaced(running: RunningNetwork, role: str) -> None:
    def rows() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = status(running)["processes"]
        return found

    def healed() -> bool:
        now = rows()
        pids = {row["pid"] for row in now if row["role"] == role}
        return len(now) >= before and victim not in pids and all(row["healthy"] for row in now)

    before = len(rows())
    victim = next(row["pid"] for row in rows() if row["role"] == role)
    os.kill(victim, signal.SIGKILL)
    wait_for(healed, f"{role} is replaced and all is well", HEALED_S * LOAD)
    wait_for(lambda: answers(running, "org-1"), "org-1 answers", HEALED_S)


def test_up_repairs_what_a_killed_supervisor_left() -> None:
    with state_folder() as running:
        up(running, port=free_port())
        before = {row["pid"] for row in status(running)["processes"]}
        (supervisor,) = running.processes("supervisor")
        os.kill(supervisor["pid"], signal.SIGKILL)
        wait_for(lambda: not psutil.pid_exists(supervisor["pid"]), "the supervisor is gone")
        (running.state / "processes.json").unlink()  # found by their mark then
        up(running)
        after = {row["pid"] for row in status(running)["processes"]}
        assert not before & after
        assert answers(running, "org-1")


def test_a_third_organization_joins_a_living_network_beside_another() -> None:
    with state_folder() as one, state_folder() as other:
        up(one, port=free_port())
        up(other, "--orgs", "1", port=free_port())
        ports = [
            {o["url"].split(":")[2].split("/")[0] for o in n.organizations} for n in (one, other)
        ]
        assert not ports[0] & ports[1]
        up(one, "--orgs", "3")
        assert [o["name"] for o in one.organizations] == ["org-1", "org-2", "org-3"]
        assert all(answers(one, f"org-{number}") for number in (1, 2, 3))
        client = one.client(2)
        assert {o.id for o in client.list_organization()} == {f"MyOrg{n}MSP" for n in (1, 2, 3)}
        assert answers(other, "org-1")
        assert "smaller" in refusal(one, "up", "--orgs", "2")


def test_a_stopped_network_moves_and_a_half_made_state_folder_is_completed() -> None:
    with state_folder() as running:
        up(running, "--orgs", "1", port=free_port())
        assert "down" in refusal(running, "up", "--port", str(free_port()))
        running.command("down")
        shutil.rmtree(running.state / "settings")
        shutil.rmtree(running.state / "postgres" / "data" / "base")
        (running.state / "postgres" / "data" / "substra-ray-complete").unlink()
        (running.state / "postgres" / "data" / "postmaster.opts").unlink()
        moved = free_port()
        up(running, port=moved)
        assert running.organizations[0]["url"] == f"http://127.0.0.1:{moved}/org-1"
        assert answers(running, "org-1")


def test_a_busy_port_is_refused_with_the_way_out() -> None:
    port = free_port()
    with state_folder() as running, listener(port):
        assert "--port" in refusal(running, "up", "--plain", "--port", str(port))


def test_status_without_a_network_says_how_to_make_one() -> None:
    with state_folder() as running:
        assert "substra-ray up" in refusal(running, "status")


def test_foreground_ends_all_on_ctrl_c() -> None:
    with state_folder() as running:
        words = ["up", "--plain", "--orgs", "1", "--port", str(free_port()), "--foreground"]
        with (running.state.parent / "output").open("w+") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "cli.main", *words, "--state", str(running.state)],
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            wait_for(
                lambda: "Ctrl-C" in Path(output.name).read_text() or process.poll() is not None,
                "it is up",
                60,
            )
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        leaves_nothing(running)


@pytest.mark.parametrize("role", ["ray-serve-replica", "front-door", "ray-gcs"])
def test_a_network_on_ray_answers_soon_after_a_kill(network: RunningNetwork, role: str) -> None:
    """The head's death takes all of Ray with it; meanwhile the plain processes answer."""
    before = {(row["role"], row["organization"]) for row in status(network)["processes"]}
    victims = network.processes(role)
    assert victims, role
    for victim in victims:
        os.kill(victim["pid"], signal.SIGKILL)
    wait_for(lambda: answers(network, "org-1"), "org-1 answers", HEALED_S)
    wait_for(lambda: answers(network, "org-2"), "org-2 answers", HEALED_S)

    def whole() -> bool:
        rows = status(network)["processes"]
        gone = {victim["pid"] for victim in victims}.isdisjoint(row["pid"] for row in rows)
        there = {(row["role"], row["organization"]) for row in rows}
        return gone and all(row["healthy"] for row in rows) and there >= before - PASSING

    wait_for(whole, "all is there again", 30 * LOAD)


PASSING = {("zygote", "org-1"), ("zygote", "org-2"), ("ray-worker", None)}


def test_secrets_are_not_in_arguments_or_rays_state(network: RunningNetwork) -> None:
    """Whoever can list processes or ask Ray's State API learns no secret (rule 18)."""
    kept = json.loads((network.state / "state.json").read_text())["secrets"]
    token = kept.pop("ray-token")
    secrets = [*kept.values(), (network.state / "postgres" / "password").read_text().strip()]
    everything = "\n".join(" ".join(_words(process)) for process in psutil.process_iter())
    dashboard = network.description["dashboard"]
    for kind in ("actors", "workers", "jobs", "runtime_envs", "nodes", "tasks"):
        answer = httpx.get(
            f"{dashboard}/api/v0/{kind}",
            params={"limit": 1000, "detail": 1},
            headers={"Authorization": f"Bearer {token}"},
            timeout=20,
        )
        assert answer.status_code == 200, kind
        everything += answer.text
    assert not [name for name, secret in kept.items() if secret in everything]
    assert not any(secret in everything for secret in (*secrets, token))
    unauthorized = httpx.get(f"{dashboard}/api/v0/actors")
    assert unauthorized.status_code == 401


def test_nothing_but_statistics_is_open_to_other_machines(network: RunningNetwork) -> None:
    ports = json.loads((network.state / "state.json").read_text())["ports"]
    (supervisor,) = network.processes("supervisor")
    found = set()
    for process in psutil.Process(supervisor["pid"]).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            found |= {
                connection.laddr
                for connection in process.net_connections("tcp")
                if connection.status == psutil.CONN_LISTEN
            }
    assert ports["serve"] in {port for _, port in found}
    elsewhere = {port for host, port in found if "127.0.0.1" not in host}
    assert elsewhere <= {ports["serve-stats"], ports["serve-metrics"]}
