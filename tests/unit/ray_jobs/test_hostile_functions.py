"""What a function may not do, with and without a zygote, with and without the mount wall."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from .api import wait_for
from .conftest import Network
from .functions import HOSTILE, PREAMBLE

WALLS = pytest.mark.parametrize(
    ("warm", "mount_wall"),
    [(True, True), (True, False), (False, True), (False, False)],
    ids=["zygote", "zygote without mounts", "cold", "cold without mounts"],
)


def processes_below(folder: Path) -> list[int]:
    """Processes whose working folder is below `folder`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if str((entry / "cwd").readlink()).startswith(str(folder)):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


@WALLS
def test_hostile_function_is_refused_everything(
    network: Network, warm: bool, mount_wall: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_RUNNER", "x")
    network.start(mount_wall=mount_wall)
    secret = network.media / "others" / "secret-model"
    secret.parent.mkdir(parents=True)
    secret.write_text("weights of another plan")
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind(f"\0{secret.name}")
    abstract.listen()
    shared, sample = network.model(b"shared"), network.sample("data.txt", "sample")
    opener = network.opener("# opener")
    told = f"{secret} {network.media} {network.run_folder / 'z'}".encode()
    inputs = [shared, sample, opener, {**network.model(told), "identifier": "secret"}]
    originals = [Path(shared["path"]), Path(sample["path"]) / "data.txt", Path(opener["path"])]
    before = [
        (p.read_bytes(), p.stat().st_mode, p.stat().st_mtime_ns, p.stat().st_uid) for p in originals
    ]

    result = network.perform(HOSTILE, inputs=inputs, environment=_environment(warm))

    abstract.close()
    assert result["failure"] is None, network.log(result)
    assert result["profile"]["start"] == ("zygote" if warm else "cold")
    found: dict[str, Any] = json.loads(Path(result["outputs"][0]["path"]).read_text())
    variables, descriptors = found.pop("variables"), found.pop("descriptors")
    assert {name: what for name, what in found.items() if not what.startswith("refused")} == {}
    assert "SECRET_OF_THE_RUNNER" not in variables
    assert descriptors in ([0, 1, 2], [0, 1, 2, 3])
    after = [
        (p.read_bytes(), p.stat().st_mode, p.stat().st_mtime_ns, p.stat().st_uid) for p in originals
    ]
    assert after == before
    wait_for(lambda: not processes_below(network.run_folder / "tasks"))


def _environment(warm: bool) -> dict[str, Any]:
    path = "/home/user/venv/bin:/usr/bin:/bin"
    return {"env": {"PATH": path} if warm else {"PATH": path, "PYTHONHASHSEED": "0"}}


@WALLS
def test_daemon_that_is_left_behind_ends_with_the_task(
    network: Network, warm: bool, mount_wall: bool
) -> None:
    network.start(mount_wall=mount_wall)
    code = PREAMBLE + (
        "import time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        print('still here', flush=True)\n"
        "        time.sleep(600)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "write('model', 'x')\n"
    )
    result = network.perform(code, environment=_environment(warm))
    assert result["failure"] is None
    assert processes_below(network.run_folder / "tasks") == []


def test_processes_that_multiply_without_end_are_all_ended(network: Network) -> None:
    network.start()
    code = (
        "import os, time\n"
        "print(flush=True)\n"
        "deadline = time.monotonic() + 20\n"
        "pid = os.fork()\n"
        "if pid:\n"
        "    time.sleep(600)\n"
        "while time.monotonic() < deadline:\n"
        "    time.sleep(0.005)\n"
        "    if os.fork():\n"
        "        os._exit(0)\n"
    )
    task = network.api.offer(network.lease(code))
    wait_for(lambda: len(processes_below(network.run_folder / "tasks")) >= 2)
    network.api.canceled.append(task)
    wait_for(lambda: not processes_below(network.run_folder / "tasks"))
    assert task not in network.api.results


def test_task_sees_nothing_of_the_task_before(network: Network) -> None:
    network.start()
    code = PREAMBLE + (
        "import os.path\n"
        "places = [os.environ['HOME'], os.environ['TMPDIR'], os.getcwd()]\n"
        "found = [os.listdir(p) for p in places]\n"
        "for p in places:\n"
        "    open(os.path.join(p, 'left'), 'w').close()\n"
        "import substratools; substratools.left = True\n"
        "write('model', json.dumps(found))\n"
    )
    first, second = network.perform(code), network.perform(code)
    seen = [json.loads(Path(r["outputs"][0]["path"]).read_text()) for r in (first, second)]
    assert seen[0] == seen[1]
    assert all("left" not in names for names in seen[1])
    fresh = PREAMBLE + "import substratools\nwrite('model', str(hasattr(substratools, 'left')))"
    third = network.perform(fresh)
    assert Path(third["outputs"][0]["path"]).read_text() == "False"
