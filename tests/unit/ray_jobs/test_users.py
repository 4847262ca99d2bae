"""As whom functions run, and in which processes: as root and as an ordinary user, whatever runs these tests."""

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ray_jobs
from ray_jobs.inner import users

from .api import wait_for
from .conftest import Network, is_alive
from .functions import PREAMBLE
from .test_hostile_functions import WALLS, _environment, processes_below
from .test_runner import COLD, SLEEP, content
from .test_walls import _walls

WALLS_HERE = _walls()
FACTS = (
    PREAMBLE
    + """
facts = {'uid': os.getuid(), 'pid': os.getpid(), 'parent': os.getppid()}
with open('mine', 'w') as file: facts['owner'] = os.fstat(file.fileno()).st_uid
os.mkdir('folder'); os.chmod('folder', 0o700); os.rename('mine', 'folder/mine')
for other in (1, 2, 3):
    try:
        os.kill(other, 0)
    except OSError as error:
        facts[f'signal {other}'] = type(error).__name__
write('model', json.dumps(facts))
"""
)


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines)


def started(network: Network, tasks: list[str]) -> list[int]:
    """Function processes of tasks that say so, by their working folder."""
    logs = network.media / "outbox"
    wait_for(lambda: all(list(logs.glob(f"{t}/*/log")) and _said(logs, t) for t in tasks))
    return processes_below(network.run_folder / "tasks")


def _said(logs: Path, task: str) -> bool:
    return any("started" in log.read_text() for log in logs.glob(f"{task}/*/log"))


@WALLS
def test_function_is_somebody_else_where_we_are_root_and_files_stay_ours(
    network: Network, warm: bool, mount_wall: bool
) -> None:
    network.start(mount_wall=mount_wall)
    task = network.api.offer(network.lease(SLEEP, environment=_environment(warm)))
    pids = started(network, [task])
    outside = {int(status(pid)["Uid"].split()[0]) for pid in pids}
    if os.getuid() == 0 and WALLS_HERE["user"] and mount_wall:
        assert all(users.FIRST <= user < users.FIRST + users.COUNT for user in outside)
    else:
        assert outside == {os.getuid()}
    network.api.canceled.append(task)
    wait_for(lambda: not processes_below(network.run_folder / "tasks"))
    network.api.canceled.clear()

    result = network.perform(FACTS, environment=_environment(warm))
    facts = json.loads(content(result))
    inside = users.USER if WALLS_HERE["mounts"] and mount_wall else os.getuid()
    assert (facts["uid"], facts["owner"]) == (inside, inside)
    assert Path(result["outputs"][0]["path"]).stat().st_uid == os.getuid()
    wait_for(lambda: not list((network.run_folder / "tasks").glob("*/w/*")))


def test_environments_and_runners_have_different_users(network: Network) -> None:
    for _ in range(2):
        network.start()
    other = {"env": {"PATH": "/home/user/venv/bin:/usr/bin:/bin", "OTHER": "1"}}
    found = []
    for environments in ([{}, other], [COLD, COLD]):
        tasks = [network.api.offer(network.lease(SLEEP, environment=e)) for e in environments]
        pids = started(network, tasks)
        found.append({int(status(pid)["Uid"].split()[0]) for pid in pids})
        network.api.canceled += tasks
        wait_for(lambda: not processes_below(network.run_folder / "tasks"))
    if os.getuid() == 0 and WALLS_HERE["user"]:
        assert [len(users_) for users_ in found] == [2, 2]
        assert not found[0] & found[1]
    else:
        assert found == [{os.getuid()}] * 2


@pytest.mark.parametrize("environment", [{}, COLD], ids=["zygote", "cold"])
def test_function_sees_its_own_processes_only(
    network: Network, environment: dict[str, Any]
) -> None:
    network.start()
    facts = json.loads(content(network.perform(FACTS, environment=environment)))
    if WALLS_HERE["processes"]:
        assert facts["pid"] < 1000
        assert environment != COLD or facts["parent"] == 1
    assert facts["signal 1"] in ("PermissionError", "ProcessLookupError")


def test_everything_of_a_cold_function_ends_with_its_namespace(network: Network) -> None:
    """Even the process that waits outside of it may be killed: nothing is left, and the task starts again."""
    network.start()
    code = PREAMBLE + (
        "import time\n"
        "for _ in range(3):\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        time.sleep(600)\n"
        "print('started', flush=True)\n"
        "time.sleep(600)\n"
    )
    task = network.api.offer(network.lease(code, environment=COLD))
    pids = started(network, [task])
    assert len(pids) >= 4
    outer = _outermost(pids[0])
    os.kill(outer, signal.SIGKILL)
    wait_for(lambda: not any(map(is_alive, pids)))
    network.api.canceled.append(task)
    wait_for(lambda: not processes_below(network.run_folder / "tasks"))
    assert task not in network.api.results


def _outermost(pid: int) -> int:
    """The ancestor that our runner, which is this process, has started."""
    while (parent := int(status(pid)["PPid"])) not in (os.getpid(), 0, 1):
        pid = parent
    return pid


@pytest.fixture
def ordinary() -> Iterator[tuple[int, Path]]:
    """Somebody who is not root, and a folder of theirs with our code and an environment."""
    user = pwd.getpwnam("nobody").pw_uid if os.getuid() == 0 else os.getuid()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        source = Path(ray_jobs.__file__ or ray_jobs.__path__[0]).parent
        shutil.copytree(
            source, folder / "code/ray_jobs", ignore=shutil.ignore_patterns("__pycache__")
        )
        venv = folder / "image/home/user/venv"
        command = ["/usr/bin/python3", "-m", "venv", "--without-pip", str(venv)]
        subprocess.run(command, check=True)
        (folder / "n").mkdir()
        for place in (folder, *folder.rglob("*")):
            if not place.is_symlink():
                os.chown(place, user, -1)
                place.chmod(0o755 if place.is_dir() or place.stat().st_mode & 0o100 else 0o644)
        yield user, folder


@pytest.mark.parametrize("warm", [True, False], ids=["zygote", "cold"])
def test_ordinary_user_needs_no_privilege(ordinary: tuple[int, Path], warm: bool) -> None:
    user, folder = ordinary
    network = Network(folder / "n", folder / "image")
    try:
        lease = network.lease(FACTS, environment=_environment(warm))
        lease["environment"]["base_prefix"] = "/usr"
        session = network.session()
        for place in (network.folder, *network.folder.rglob("*")):
            os.chown(place, user, -1)
        with subprocess.Popen(
            ["/usr/bin/python3", "-m", "ray_jobs", str(session)],
            cwd=folder / "code",
            user=user,
            env={"PATH": "/usr/bin:/bin"},
        ) as runner:
            result = network.api.result(network.api.offer(lease))
            runner.send_signal(signal.SIGTERM)
        facts = json.loads(content(result))
        assert result["profile"]["start"] == ("zygote" if warm else "cold")
        assert facts["uid"] == (users.USER if WALLS_HERE["mounts"] else user)
        assert Path(result["outputs"][0]["path"]).stat().st_uid == user
    finally:
        network.close()


def test_names_of_users_are_spread_and_stay() -> None:
    found = {users.user_of(f"/run/org-{number} session") for number in range(1000)}
    assert len(found) > 990
    assert all(users.FIRST <= user < users.FIRST + users.COUNT for user in found)
    code = "from ray_jobs.inner import users; print(users.user_of('x'))"
    told = subprocess.check_output([sys.executable, "-c", code])
    assert int(told) == users.user_of("x")
