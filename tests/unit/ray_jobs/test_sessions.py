"""A session's life: cancel, lost leases, outages, restarts, deaths; zygotes that runners share."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from .api import wait_for
from .conftest import Network, is_alive
from .functions import PREAMBLE, TRIVIAL
from .test_hostile_functions import processes_below
from .test_runner import COLD, SLEEP, content

Processes = Callable[[Path], "subprocess.Popen[bytes]"]


@pytest.fixture
def process() -> Iterator[Processes]:
    """Starts runners as processes of their own."""
    started: list[subprocess.Popen[bytes]] = []

    def start(session: Path) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "ray_jobs", str(session)]
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE))
        return started[-1]

    yield start
    for runner in started:
        if runner.poll() is None:
            runner.kill()
        runner.communicate()


def running(network: Network) -> list[int]:
    return processes_below(network.run_folder / "tasks")


@pytest.mark.parametrize("environment", [{}, COLD], ids=["zygote", "cold"])
@pytest.mark.parametrize("answer", ["lost", "canceled"])
def test_task_that_is_lost_or_canceled_ends_within_a_second(
    network: Network, environment: dict[str, dict[str, str]], answer: str
) -> None:
    network.start()
    task = network.api.offer(network.lease(SLEEP, environment=environment))
    wait_for(lambda: running(network))
    getattr(network.api, answer).append(task)
    asked = time.monotonic()
    wait_for(lambda: not running(network))
    assert time.monotonic() - asked < 1.0
    following = network.perform(TRIVIAL)
    assert content(following) == "weights"
    assert task not in network.api.results
    assert not (network.media / "outbox" / task).exists()


def test_running_task_is_in_every_heartbeat(network: Network) -> None:
    network.start()
    task = network.api.offer(network.lease(SLEEP))
    wait_for(lambda: running(network))
    before = len(network.api.heartbeats)
    wait_for(lambda: len(network.api.heartbeats) >= before + 3)
    assert set(network.api.heartbeats) == {task}


def test_outage_neither_ends_the_task_nor_loses_its_result(network: Network) -> None:
    network.start()
    code = PREAMBLE + (
        "import time\n"
        "while not os.path.exists(os.path.join(given['gate'], 'open')): time.sleep(0.005)\n"
        "write('model', 'kept')\n"
    )
    gate = {**network.sample("closed", ""), "identifier": "gate"}
    sample = Path(gate["path"])
    big = [{**gate, "identifier": f"more-{n}"} for n in range(1)]
    lease = network.lease(code, inputs=[gate, *big], environment=COLD)
    task = network.api.offer(lease)
    wait_for(lambda: running(network))
    network.api.broken = True
    beats = len(network.api.heartbeats)
    (sample / "open").write_text("")
    wait_for(lambda: (network.media / "outbox" / task / lease["lock_token"] / "model").exists())
    assert task not in network.api.results
    network.api.broken = False
    assert content(network.api.result(task)) == "kept"
    assert len(network.api.heartbeats) >= beats


def test_result_travels_with_the_request_for_the_next_lease(network: Network) -> None:
    tasks = [network.api.offer(network.lease(TRIVIAL)) for _ in range(3)]
    network.start()
    for task in tasks:
        network.api.result(task)
    bodies = [body for body in network.api.bodies[:4] if not network.api.broken]
    assert [body.get("result", {}).get("task") for body in bodies] == [None, *tasks]


def test_wrong_token_is_tried_again_and_no_task_is_taken(network: Network) -> None:
    network.api.offer(network.lease(TRIVIAL))
    network.start(token="wrong")
    wait_for(lambda: network.api.unauthorized >= 2)
    assert len(network.api.leases) == 1


@pytest.mark.parametrize("environment", [{}, COLD], ids=["zygote", "cold"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_function_outlives_its_runner(
    network: Network,
    process: Processes,
    number: signal.Signals,
    environment: dict[str, dict[str, str]],
) -> None:
    runner = process(network.session())
    task = network.api.offer(network.lease(SLEEP, environment=environment))
    wait_for(lambda: running(network))
    runner.send_signal(number)
    wait_for(lambda: not running(network))
    assert runner.wait(10) == (0 if number == signal.SIGTERM else -signal.SIGKILL)
    assert task not in network.api.results


def test_idle_runner_ends_at_once_on_sigterm(network: Network, process: Processes) -> None:
    runner = process(network.session())
    wait_for(lambda: network.api.bodies)
    asked = time.monotonic()
    runner.terminate()
    assert runner.wait(10) == 0
    assert time.monotonic() - asked < 2.0


def test_folders_of_a_killed_runner_are_removed_by_the_next_one(
    network: Network, process: Processes
) -> None:
    runner = process(network.session())
    network.api.offer(network.lease(SLEEP))
    wait_for(lambda: running(network))
    runner.kill()
    runner.wait(10)
    tasks = network.run_folder / "tasks"
    assert list(tasks.glob("*/w/*"))
    network.start()
    assert content(network.perform(TRIVIAL)) == "weights"
    wait_for(lambda: not list(tasks.glob("*/w/*")) and not list(tasks.glob("*/r/*")))
    assert len(list((network.run_folder / "claims").iterdir())) == 1


def test_folders_of_a_living_runner_are_left_alone(network: Network, process: Processes) -> None:
    process(network.session())
    network.api.offer(network.lease(SLEEP))
    pids = wait_for(lambda: running(network))
    network.start()
    assert content(network.perform(TRIVIAL)) == "weights"
    assert all(is_alive(pid) for pid in pids)
    assert list((network.run_folder / "tasks").glob("*/w/*"))


def test_runners_of_an_organization_share_a_zygote(network: Network) -> None:
    code = PREAMBLE + "import time\ntime.sleep(0.1)\nwrite('model', 'x')\n"
    tasks = [network.api.offer(network.lease(code)) for _ in range(4)]
    network.start()
    network.start()
    results = [network.api.result(task) for task in tasks]
    assert {r["profile"]["start"] for r in results} == {"zygote"}
    assert len(network.zygote_pids()) == 1


def test_images_that_differ_in_their_last_layer_share_a_zygote(network: Network) -> None:
    network.start()
    first = network.perform(TRIVIAL)
    second = network.perform(TRIVIAL.replace("weights", "others"))
    assert (content(first), content(second)) == ("weights", "others")
    assert len(network.zygote_pids()) == 1


def test_other_variables_get_another_zygote(network: Network) -> None:
    network.start()
    code = PREAMBLE + "write('model', os.environ.get('OMP_NUM_THREADS', 'none'))\n"
    path = "/home/user/venv/bin:/usr/bin:/bin"
    environment = {"env": {"PATH": path, "OMP_NUM_THREADS": "1"}}
    assert content(network.perform(code)) == "none"
    assert content(network.perform(code, environment=environment)) == "1"
    assert len(network.zygote_pids()) == 2


def _perform_with_own_module(network: Network, code: str) -> list[int]:
    """Perform code that may import `mine` from the function's layer; the numbers in its model."""
    lease = network.lease(code)
    layer = Path(lease["environment"]["layers"][0])
    (layer / "home/user/mine.py").write_text("")
    return list(json.loads(content(network.api.result(network.api.offer(lease)))))


def test_zygotes_learn_imports_but_no_code_of_functions(network: Network) -> None:
    network.start()
    code = PREAMBLE + (
        "import heavy.part, mine, xml.dom\n"
        "write('model', json.dumps([heavy.part.LOADED_BY, os.getpid()]))\n"
    )
    perform = partial(_perform_with_own_module, network, code)
    loaded_by, own = perform()
    assert loaded_by == own
    (file,) = (network.media / "learned").iterdir()
    assert file.name == f"{'e' * 64}.json"
    names = json.loads(file.read_text())
    assert names[:2] == ["heavy", "heavy.part"]
    assert "xml.dom" in names, "the standard library's too"
    assert not {"mine", "json", "os"} & set(names), "neither the user's own nor what was there"
    loaded_by, own = wait_for(lambda: _when(perform(), lambda pair: pair[0] != pair[1]))
    (zygote,) = network.zygote_pids()
    os.kill(zygote, signal.SIGKILL)
    wait_for(lambda: not is_alive(zygote))
    loaded_by, own = perform()
    assert loaded_by != own, "a new zygote is warm before its first task"


def _when(value: list[int], condition: Callable[[list[int]], bool]) -> list[int] | None:
    return value if condition(value) else None


def test_learned_names_are_not_believed(network: Network) -> None:
    folder = network.media / "learned"
    folder.mkdir(parents=True)
    names = ["this", "os; import evil", "../x", "antigravity", "mine", 7, "heavy"]
    (folder / f"{'e' * 64}.json").write_text(json.dumps(names))
    network.start()
    code = PREAMBLE + (
        "write('model', json.dumps([n for n in ('this', 'antigravity', 'heavy') if n in sys.modules]))\n"
    )
    assert json.loads(content(network.perform(code))) == ["heavy"]


def test_least_recently_used_zygote_makes_room(network: Network) -> None:
    network.start(zygotes=2)
    pids = []
    for number in range(3):
        environment = {"env": {"PATH": "/usr/bin:/bin", "NUMBER": str(number)}}
        assert content(network.perform(TRIVIAL, environment=environment)) == "weights"
        pids += [pid for pid in network.zygote_pids() if pid not in pids]
    wait_for(lambda: not is_alive(pids[0]))
    assert [is_alive(pid) for pid in pids] == [False, True, True]


def test_unused_zygote_ends(network: Network) -> None:
    network.start(zygotes_idle_s=0.2)
    network.perform(TRIVIAL)
    (pid,) = network.zygote_pids()
    wait_for(lambda: not is_alive(pid))
    assert content(network.perform(TRIVIAL)) == "weights"


def test_session_file_is_refused_when_something_is_missing(network: Network) -> None:
    from ray_jobs.session import Session

    path = network.folder / "session.json"
    path.write_text('{"session": "x"}')
    with pytest.raises(KeyError):
        Session.read(path)
    content_ = json.loads(network.session().read_text())
    path.write_text(json.dumps({**content_, "outbox": "relative"}))
    with pytest.raises(ValueError, match="absolute"):
        Session.read(path)
    assert content_["token"] not in repr(Session.read(network.session()))
