"""The agent as a process, started from its bundle as in a pod; functions that behave, and others."""

import os
import threading
from pathlib import Path

import pytest

from ray_jobs.capture import LogCapture
from ray_jobs.guard import DiskGuard
from ray_jobs.inner import landlock
from ray_jobs.pod.agent_client import Agent, NoAgent
from tests.unit.ray_jobs.agent.container import PYTHON, WAIT_S, Container


def test_the_agent_says_which_image_it_is_in(container: Container) -> None:
    hello = container.hello()
    assert hello.image == "registry/function@sha256:abc"
    assert hello.workdir == str(container.folder / "image")
    assert hello.environment == {"PATH": "/usr/bin:/bin", "OF_THE_IMAGE": "yes"}
    assert not hello.busy


def test_the_bundle_has_no_path_of_where_it_was_made(bundled: Path) -> None:
    files = [path for path in bundled.rglob("*") if path.is_file() and path.suffix == ".pyc"]
    assert files
    assert [path for path in files if b"/made" in path.read_bytes()] == []


def test_a_function_writes_its_output_and_its_working_folder(container: Container) -> None:
    outputs = container.folder / "outputs/t1"
    outcome, log = container.run(
        "import os\n"
        "exec(open('function.py').read())\n"
        "open('model', 'w').write('x'); open('sub/data.txt', 'a').write('!')\n"
        "open(os.path.expanduser('~/y'), 'w').write('y')\n"
        f"os.umask(0o077); open('{outputs}/m.model', 'w').write('weights')\n"
    )
    assert (outcome.exit, log) == (0, "from the image\n")
    container.agent.settle("t1")
    assert (outputs / "m.model").stat().st_mode & 0o777 == 0o644
    assert (container.folder / "image/sub/data.txt").read_text() == "data"


def test_nothing_is_left_for_the_next_task(container: Container) -> None:
    tmp, outputs = container.folder / "tmp", container.folder / "outputs/t1"
    outcome, _ = container.run(
        f"import os\nos.makedirs('{tmp}/a/b'); open('{tmp}/a/b/c', 'w'); os.chmod('{tmp}/a', 0)\n"
        f"os.symlink('/etc', '{tmp}/link'); os.mkdir('{outputs}/d'); open('left', 'w')\n"
    )
    assert outcome.exit == 0
    container.agent.clean()
    assert list(tmp.iterdir()) == []
    assert list(outputs.iterdir()) == []
    assert list((container.folder / "scratch").iterdir()) == []
    assert Path("/etc/passwd").exists()
    assert container.run("print(2)", "t2")[1] == "2\n"


def test_what_a_function_leaves_running_is_killed(container: Container) -> None:
    outcome, log = container.run(
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        time.sleep(600)\n"
        "    os._exit(0)\n"
        "print('ended')\n"
    )
    assert (outcome.exit, log) == (0, "ended\n")
    container.agent.settle("t1")
    assert container.processes() == []


def test_a_function_reaches_nothing_but_its_own(container: Container) -> None:
    assert landlock.abi() > 0, "this kernel has no Landlock"
    (container.folder / "inputs/t0").mkdir()
    (container.folder / "inputs/t0/model").write_text("another task's")
    outcome, log = container.run(
        "import os, socket\n"
        "def attempt(what, *words):\n"
        "    try: what(*words)\n"
        "    except OSError as error: print('refused')\n"
        "    else: print('reached', words)\n"
        f"attempt(open, '{container.folder}/elsewhere/other.txt')\n"
        f"attempt(open, '{container.folder}/inputs/t0/model')\n"
        f"attempt(open, '{container.folder}/inputs/t1/new', 'w')\n"
        f"attempt(open, '{container.folder}/image/function.py', 'a')\n"
        "attempt(socket.socket)\n"
        "attempt(socket.socket, socket.AF_UNIX)\n"
        f"attempt(open, '/proc/{container.process.pid}/environ')\n"
        f"attempt(os.kill, {container.process.pid}, 15)\n"
        "attempt(os.kill, os.getppid(), 9)\n"
    )
    assert (outcome.exit, log) == (0, "refused\n" * 9)


def test_a_function_that_hangs_ends_with_its_connection(container: Container) -> None:
    container.hello()
    for place in ("inputs", "outputs"):
        (container.folder / place / "t1").mkdir()
    prepared = container.agent.prepare("t1")
    log = LogCapture(container.folder / "log")
    request = {
        "argv": [PYTHON, "-c", "import time; time.sleep(600)"],
        "directory": prepared.directory,
        "environment": {},
        "policy": prepared.policy,
    }
    prepared.execution.start(request, log)
    assert container.agent.hello().busy
    with pytest.raises(NoAgent, match="runs already"):
        container.agent.prepare("t2")
    threading.Timer(0.1, prepared.execution.end).start()
    outcome = prepared.execution.wait(log, WAIT_S, DiskGuard(container.folder, 0))
    log.close()
    assert (outcome.exit, outcome.reason) == (None, "canceled")
    container.agent.clean()
    assert not container.agent.hello().busy


def test_an_exit_code_is_told(container: Container) -> None:
    assert container.run("raise SystemExit(3)")[0].exit == 3


@pytest.mark.parametrize("task", ["", "../x", "a/b", ".hidden"])
def test_a_task_has_one_name(container: Container, task: str) -> None:
    container.hello()
    with pytest.raises(NoAgent, match="one path component"):
        container.agent.prepare(task)


def test_somebody_else_who_listens_is_no_agent(container: Container) -> None:
    container.hello()
    with pytest.raises(NoAgent, match="listens instead"):
        Agent(container.folder / "agent.sock", os.getuid() + 1).hello()


def test_an_agent_that_is_not_there_is_waited_for_and_then_missed(tmp_path: Path) -> None:
    with pytest.raises(NoAgent, match="within"):
        Agent(tmp_path / "agent.sock").wait(0.1)
