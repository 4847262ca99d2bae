"""The zygote of a pod: functions forked from the image's own interpreter, as confined as those started cold."""

import os
import select
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ray_jobs.agent import warm
from ray_jobs.execution import Outcome
from ray_jobs.inner import landlock
from ray_jobs.pod.agent_client import NoAgent, Prepared
from tests.unit.ray_jobs.agent.container import PYTHON, WAIT_S, Container, started

_NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
_CAN = subprocess.run([*_NAMESPACE, "true"], capture_output=True, check=False).returncode == 0
WAYS = {"beside others": (), **({"as process 1": _NAMESPACE} if _CAN else {})}
ZYGOTE = {"python": PYTHON, "environment": {"PATH": "/usr/bin:/bin", "OF_THE_IMAGE": "yes"}}


class WarmContainer:
    """A container, whose tasks are run by its zygote."""

    def __init__(self, container: Container) -> None:
        self.container = container
        self.folder = container.folder

    def run(self, code: str, task: str = "t1") -> tuple[Outcome, str]:
        """Run a script in the zygote, then empty the container."""
        prepared, log = self.container.prepare(task, **ZYGOTE)
        assert prepared.warm, prepared.cold
        script = Path(prepared.directory) / "script.py"
        script.write_text(code)
        self.container.start(prepared, log, ["script.py"])
        found = self.container.ended(prepared, log)
        self.container.agent.settle(task)
        self.container.agent.clean()
        return found

    def zygote(self) -> int:
        """Its process, the nearest one of the agent's tree that has our script."""
        waiting = [self.container.process.pid]
        while waiting:
            pid = waiting.pop(0)
            if b"/inner/zygote.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            waiting += map(int, children)
        return 0


@pytest.fixture(params=list(WAYS.values()), ids=list(WAYS))
def warmed(
    bundled: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[WarmContainer]:
    assert landlock.abi() >= 6, "this kernel has no scopes of signals: zygotes are not used there"
    found = started(bundled, tmp_path, request.param)
    yield WarmContainer(found)
    found.process.kill()
    found.process.wait(WAIT_S)


def test_tasks_are_children_of_one_zygote_and_see_nothing_of_each_other(
    warmed: WarmContainer,
) -> None:
    code = (
        "import json, os, sys\n"
        "print(os.listdir('.'), os.environ['SECRET'], 'OF_THE_IMAGE' in os.environ, sys.argv)\n"
        "print(hasattr(json, 'mine'), os.path.exists('/left'), __name__)\n"
        "json.mine = 1; os.environ['MINE'] = '1'; open('left', 'w').write('x')\n"
    )
    said = "['function.py', 'script.py', 'sub'] none False ['script.py']\nFalse False __main__\n"
    found = [warmed.run(code, f"t{n}") for n in range(3)]
    assert [(outcome.exit, sorted_words(log)) for outcome, log in found] == [
        (0, sorted_words(said))
    ] * 3
    assert list((warmed.folder / "scratch").iterdir()) == []
    assert warmed.zygote()


def sorted_words(text: str) -> list[str]:
    """The order of a folder's entries is the file system's."""
    return sorted(text.replace("[", "").replace("]", "").replace(",", "").split())


def test_what_a_task_imported_is_there_for_the_next_one(warmed: WarmContainer) -> None:
    outcome, _ = warmed.run("import csv, sub.own\n", "t0")
    assert outcome.exit == 1
    (warmed.folder / "image/sub/own.py").write_text("")
    outcome, _ = warmed.run("import csv, sub.own\n", "t1")
    assert outcome.exit == 0
    assert "csv" in outcome.modules
    assert not any("own" in name for name in outcome.modules)
    before = warmed.zygote()
    warmed.container.agent.learn([*outcome.modules, "sub.own", "../x", "antigravity"])
    outcome, log = warmed.run("import sys; print('csv' in sys.modules, 'sub.own' in sys.modules)")
    assert (outcome.exit, log) == (0, "True False\n")
    assert warmed.zygote() == before


def test_a_child_of_the_zygote_reaches_nothing_but_its_own(warmed: WarmContainer) -> None:
    folder = warmed.folder
    (folder / "inputs/t0").mkdir()
    (folder / "inputs/t0/model").write_text("another task's")
    (folder / "outputs/t0").mkdir()
    outcome, log = warmed.run(
        "import os, socket\n"
        "def attempt(what, *words):\n"
        "    try: what(*words)\n"
        "    except OSError as error: print('refused')\n"
        "    else: print('reached', words)\n"
        f"attempt(open, '{folder}/elsewhere/other.txt')\n"
        f"attempt(open, '{folder}/inputs/t0/model')\n"
        f"attempt(open, '{folder}/inputs/t1/new', 'w')\n"
        f"attempt(open, '{folder}/outputs/t0/new', 'w')\n"
        f"attempt(open, '{folder}/scratch/new', 'w')\n"
        f"attempt(open, '{folder}/scratch/.warm/new', 'w')\n"
        f"attempt(open, '{folder}/image/function.py', 'a')\n"
        "attempt(socket.socket)\n"
        "attempt(socket.socket, socket.AF_UNIX)\n"
        "parent = os.getppid()\n"
        "attempt(os.kill, parent, 9)\n"
        "attempt(os.kill, parent, 0)\n"
        "attempt(open, f'/proc/{parent}/environ')\n"
        "attempt(open, f'/proc/{parent}/mem')\n"
        "attempt(os.kill, 1, 15)\n"
    )
    assert outcome.exit == 0, log
    assert log == "refused\n" * 14
    assert warmed.zygote()


def test_what_a_child_leaves_running_is_killed_and_the_zygote_lives(warmed: WarmContainer) -> None:
    warmed.run("pass", "t0")
    before = warmed.zygote()
    outcome, log = warmed.run(
        "import os, time\n"
        "for _ in range(20):\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        if os.fork() == 0:\n"
        "            time.sleep(600)\n"
        "        os._exit(0)\n"
        "print('ended')\n"
    )
    assert (outcome.exit, log) == (0, "ended\n")
    assert warmed.zygote() == before != 0
    assert warmed.run("print(2)", "t2")[1] == "2\n"


def hang(warmed: WarmContainer, task: str) -> tuple[Prepared, object]:
    prepared, log = warmed.container.prepare(task, **ZYGOTE)
    (Path(prepared.directory) / "hang.py").write_text(
        "import time; print('on', flush=True); time.sleep(600)"
    )
    warmed.container.start(prepared, log, ["hang.py"])
    while not log.path.read_bytes():
        assert log.drain()
    return prepared, log


def test_a_child_that_still_runs_ends_with_the_zygote_when_the_container_is_emptied(
    warmed: WarmContainer,
) -> None:
    prepared, _log = hang(warmed, "t1")
    before = warmed.zygote()
    assert warmed.container.agent.hello().busy
    with pytest.raises(NoAgent, match="runs already"):
        warmed.container.agent.prepare("t2")
    warmed.container.agent.clean()
    assert warmed.zygote() == 0
    assert not warmed.container.agent.hello().busy
    prepared.execution.end()
    assert warmed.run("print('again')", "t3")[1] == "again\n"
    assert warmed.zygote() not in (0, before)


def test_a_zygote_that_was_killed_is_started_again(warmed: WarmContainer) -> None:
    warmed.run("pass")
    before = warmed.zygote()
    watched = os.pidfd_open(before)
    os.kill(before, signal.SIGKILL)
    assert select.select([watched], [], [], WAIT_S)[0]
    os.close(watched)
    assert warmed.run("print('again')", "t2")[1] == "again\n"
    assert warmed.zygote() not in (0, before)


@pytest.mark.parametrize("python", ["python3.99", "/nonexistent/python3", "/bin/true"])
def test_an_image_without_such_a_python_starts_cold_and_says_so_once(
    container: Container, python: str
) -> None:
    zygote = {**ZYGOTE, "python": python}
    said = []
    for task in ("t1", "t2"):
        prepared, log = container.prepare(task, **zygote)
        said.append((prepared.warm, prepared.cold is not None))
        container.start(prepared, log, [PYTHON, "-c", "print('cold')"])
        assert container.ended(prepared, log)[1] == "cold\n"
        container.agent.clean()
    assert said == [(False, True), (False, False)]


def test_packages_are_looked_for_where_the_interpreter_has_them(tmp_path: Path) -> None:
    (tmp_path / "env/bin").mkdir(parents=True)
    (tmp_path / "env/bin/python3").symlink_to(PYTHON)
    of_base = warm.prefix_of(str(tmp_path / "env/bin/python3"))
    assert of_base == str(Path(PYTHON).parents[1])
    (tmp_path / "env/pyvenv.cfg").write_text("home = /x")
    assert warm.prefix_of(str(tmp_path / "env/bin/python3")) == str(tmp_path / "env")
    assert warm.find("python3", {"PATH": f"/nonexistent:{tmp_path}/env/bin"}) == str(
        tmp_path / "env/bin/python3"
    )
