"""Zygotes stay pristine or are not used: flaws, deaths, memory, images that go."""

import json
import logging
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from ray_jobs.scratch import Scratch

from .api import wait_for
from .conftest import Network, is_alive
from .functions import PREAMBLE, TRIVIAL
from .test_hostile_functions import processes_below
from .test_runner import content

FLAWS = {
    "threads": "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n",
    "processes": "import os, time\nif os.fork() == 0:\n    time.sleep(600)\n",
    "SIGCHLD": "import signal\nsignal.signal(signal.SIGCHLD, lambda *_: None)\n",
    "does not compute": "import os\nif os.environ.get('HOME', '').endswith('/h'):\n    os._exit = None\n",
}


@pytest.fixture
def image(network: Network) -> dict[str, Any]:
    """An environment of this test alone."""
    root = network.folder / "image"
    shutil.copytree(network.packages, root, symlinks=True)
    (venv,) = root.glob("home/*/venv")
    return {"key": "f" * 64, "root": str(root), "python": str(venv / "bin/python")}


def package(image: dict[str, Any], name: str, code: str) -> None:
    (site,) = Path(image["root"]).glob("home/user/venv/lib/python*/site-packages")
    (site / name).mkdir()
    (site / name / "__init__.py").write_text(code)


@pytest.mark.parametrize(("words", "code"), FLAWS.items(), ids=list(FLAWS))
def test_import_that_spoils_forks_makes_functions_start_cold_and_is_said_once(
    network: Network,
    image: dict[str, Any],
    words: str,
    code: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    package(image, "spoiler", code)
    network.start()
    learning = PREAMBLE + (
        "import sys, types\n"
        "spoiler = types.ModuleType('spoiler')\n"
        f"spoiler.__file__ = {str(next(Path(image['root']).glob('**/spoiler/__init__.py')))!r}\n"
        "sys.modules['spoiler'] = spoiler\n"
        "write('model', 'x')\n"
    )
    with caplog.at_level(logging.WARNING):
        assert network.perform(learning, environment=image)["profile"]["start"] == "zygote"
        starts = [network.perform(TRIVIAL, environment=image)["profile"]["start"] for _ in range(3)]
    assert starts == ["cold"] * 3
    said = [record.getMessage() for record in caplog.records if "start cold" in record.getMessage()]
    assert len(said) == 1
    assert words in said[0]


@pytest.mark.parametrize("victim", ["zygote", "watcher", "function"])
def test_killed_processes_of_a_task_cost_one_more_start(network: Network, victim: str) -> None:
    network.start()
    code = PREAMBLE + (
        "import time\n"
        "print(os.getppid(), flush=True)\n"
        "if not os.path.exists('/proc/self/never'):\n"
        "    time.sleep(1.5)\n"
        "write('model', 'done')\n"
    )
    task = network.api.offer(network.lease(code))
    function = wait_for(lambda: processes_below(network.run_folder / "tasks"))[0]
    (zygote,) = network.zygote_pids()
    watcher = _parent(function)
    os.kill({"zygote": zygote, "watcher": watcher, "function": function}[victim], signal.SIGKILL)
    result = network.api.result(task)
    assert result["failure"] is None, network.log(result)
    assert content(result) == "done"
    assert "killed from outside" in network.log(result)


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_function_that_kills_itself_is_started_twice_and_fails(network: Network) -> None:
    network.start()
    result = network.perform("import os\nprint('began', flush=True)\nos.kill(os.getpid(), 9)\n")
    assert result["failure"] == {"category": "EXECUTION", "reason": "ended by signal 9"}
    assert network.log(result).count("began") == 2


def test_zygote_ends_when_its_image_goes(network: Network, image: dict[str, Any]) -> None:
    network.start()
    assert network.perform(TRIVIAL, environment=image)["profile"]["start"] == "zygote"
    (pid,) = network.zygote_pids()
    shutil.rmtree(image["root"])
    wait_for(lambda: not is_alive(pid), 10)


def test_zygotes_over_the_memory_cap_make_room(network: Network) -> None:
    network.start(zygotes_memory_bytes=1)
    network.perform(TRIVIAL)
    (first,) = network.zygote_pids()
    other = {"env": {"PATH": "/home/user/venv/bin:/usr/bin:/bin", "OTHER": "1"}}
    assert network.perform(TRIVIAL, environment=other)["profile"]["start"] == "zygote"
    wait_for(lambda: not is_alive(first), 10)
    assert len([pid for pid in network.zygote_pids() if is_alive(pid)]) == 1


def test_a_zygote_that_grows_by_what_it_learns_makes_others_go(
    network: Network, image: dict[str, Any]
) -> None:
    package(image, "large", "kept = b'x' * (120 << 20)\n")
    network.start(zygotes_memory_bytes=100 << 20)
    assert network.perform(TRIVIAL)["profile"]["start"] == "zygote"
    (first,) = network.zygote_pids()
    learning = PREAMBLE + "import large\nwrite('model', 'x')\n"
    assert network.perform(learning, environment=image)["profile"]["start"] == "zygote"
    wait_for(lambda: not is_alive(first), 10)  # nobody starts a zygote meanwhile
    assert network.perform(learning, environment=image)["profile"]["start"] == "zygote"


def test_a_zygote_that_retires_is_replaced_at_once(network: Network) -> None:
    """Its place was needed, but it still is there: it serves a task of another runner."""
    network.start()
    network.perform(TRIVIAL)
    (state,) = (network.run_folder / "z").glob("*.json")
    address = state.with_suffix(".s")
    address.unlink()  # nobody listens, and the runner's own connection is open
    assert network.perform(TRIVIAL)["profile"]["start"] == "zygote"


def test_zygote_holds_libraries_and_no_data(network: Network, image: dict[str, Any]) -> None:
    """Neither the code nor the inputs nor the environment of a function are in the next one's process."""
    network.start()
    secret = "a-secret-of-the-first-task"
    first = PREAMBLE + (
        f"import heavy\nheavy.kept = {secret!r}\nos.environ['KEPT'] = {secret!r}\n"
        "sys.path.append('/kept')\nwrite('model', 'x')\n"
    )
    network.perform(first, environment=image, inputs=[network.model(secret.encode())])
    second = PREAMBLE + (
        "import gc, heavy\n"
        "held = [o for o in gc.get_objects() if isinstance(o, dict) and 'kept' in o and o is not globals()]\n"
        "write('model', json.dumps([len(held), hasattr(heavy, 'kept'), os.environ.get('KEPT'),"
        " '/kept' in sys.path, 'function' in sys.modules]))\n"
    )
    result = network.perform(second, environment=image)
    assert result["profile"]["start"] == "zygote"
    assert json.loads(content(result)) == [0, False, None, False, False]


def test_what_an_import_opens_or_sets_in_the_zygote_reaches_no_function(
    network: Network, image: dict[str, Any]
) -> None:
    """Descriptors, sockets, variables and arguments that a library's import leaves in the warm process."""
    code = (
        "import os, socket, sys\n"
        "kept = [*socket.socketpair(), open(os.devnull)]\n"
        "os.environ['LEFT_BY_AN_IMPORT'] = '1'\n"
        "sys.argv.append('left')\n"
        "loaded_by = os.getpid()\n"
    )
    package(image, "leaver", code)
    network.start()
    learning = PREAMBLE + "import leaver\nwrite('model', str(leaver.loaded_by == os.getpid()))\n"
    assert content(network.perform(learning, environment=image)) == "True"
    second = PREAMBLE + (
        "import leaver\n"
        "numbers = sorted(int(n) for n in os.listdir('/proc/self/fd'))[:-1]\n"
        "write('model', json.dumps([leaver.loaded_by == os.getpid(), numbers,"
        " 'LEFT_BY_AN_IMPORT' in os.environ, 'left' in sys.argv]))\n"
    )

    def warmed() -> list[Any] | None:
        found: list[Any] = json.loads(content(network.perform(second, environment=image)))
        return None if found[0] else found

    assert wait_for(warmed) == [False, [0, 1, 2, 3], False, False]


def children(pid: int) -> set[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {child for child in map(int, found) if is_alive(child)}


def standing(network: Network) -> int | None:
    """The parent that waits for the next task, once nothing else is below the zygote."""
    (zygote,) = network.zygote_pids()
    below = children(zygote)
    return below.pop() if len(below) == 1 else None


def test_next_task_gets_the_parent_that_stands_by(network: Network) -> None:
    network.start()
    network.perform(TRIVIAL)
    first = wait_for(lambda: standing(network))
    waiting = PREAMBLE + "import time\nprint('runs', flush=True)\ntime.sleep(600)\n"
    task = network.api.offer(network.lease(waiting))
    function = wait_for(lambda: processes_below(network.run_folder / "tasks"))[0]
    assert _parent(function) == first
    network.api.canceled.append(task)
    assert wait_for(lambda: (standing(network) or first) != first)
    assert network.perform(TRIVIAL)["profile"]["start"] == "zygote"


def test_a_parent_that_died_standing_by_costs_nothing(network: Network) -> None:
    network.start()
    network.perform(TRIVIAL)
    os.kill(wait_for(lambda: standing(network)), signal.SIGKILL)
    result = network.perform(TRIVIAL)
    assert (result["failure"], result["profile"]["start"]) == (None, "zygote")


def test_the_parent_that_stands_by_ends_with_its_zygote(network: Network) -> None:
    network.start()
    network.perform(TRIVIAL)
    waiting = wait_for(lambda: standing(network))
    os.kill(network.zygote_pids()[0], signal.SIGKILL)
    wait_for(lambda: not is_alive(waiting), 10)
    assert network.perform(TRIVIAL)["failure"] is None


def test_what_was_learned_meanwhile_is_there_for_the_next_task(
    network: Network, image: dict[str, Any]
) -> None:
    package(image, "learned", "import os\nMAKER = os.getpid()\n")
    network.start()
    code = PREAMBLE + "import learned\nwrite('model', json.dumps(learned.MAKER != os.getpid()))\n"
    warm = [json.loads(content(network.perform(code, environment=image))) for _ in range(3)]
    assert warm[0] is False
    assert warm[-1] is True


def test_a_task_with_limits_of_its_own_does_not_get_the_walls_of_the_last_one(
    network: Network,
) -> None:
    network.start()
    network.perform(TRIVIAL)
    wait_for(lambda: standing(network))
    code = PREAMBLE + (
        "import resource\nwrite('model', str(resource.getrlimit(resource.RLIMIT_DATA)[0]))\n"
    )
    limited = network.perform(code, resources={"memory_bytes": 300 << 20})
    assert (content(limited), limited["profile"]["start"]) == (str(300 << 20), "zygote")
    assert content(network.perform(code)) != str(300 << 20)


def test_what_stood_ready_is_gone_when_the_runner_ends(network: Network) -> None:
    network.start()
    network.perform(TRIVIAL)
    wait_for(lambda: standing(network))
    assert tasks_folders(network)
    (zygote,) = network.zygote_pids()
    network.runners[0][0].stop()
    network.runners[0][1].join(10)
    assert not tasks_folders(network)
    wait_for(lambda: not children(zygote) or not is_alive(zygote))


def test_what_stood_ready_for_a_killed_runner_is_removed_by_the_next(network: Network) -> None:
    scratch = Scratch(network.run_folder, network.media, "killed")
    kept = [scratch.open(scratch.zone(name)) for name in ("one", "another")]
    os.close(scratch._claim)  # as the kernel does
    Scratch(network.run_folder, network.media, "next").close()
    assert not any(folders.write.exists() or folders.read.exists() for folders in kept)


def tasks_folders(network: Network) -> list[Path]:
    """What tasks have or had, in every zone."""
    return [*network.run_folder.glob("tasks/*/[rw]/*"), *network.media.glob("tasks/*/[rw]/*")]
