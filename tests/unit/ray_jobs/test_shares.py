"""A task's CPUs, threads and GPUs: what its lease says, its own while there are enough."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ray_jobs.inner import threads
from ray_jobs.lease import Lease
from ray_jobs.shares import Shares

from .api import wait_for
from .conftest import Network
from .functions import PREAMBLE
from .test_runner import COLD, content

ALL = sorted(os.sched_getaffinity(0))
WARMTH = pytest.mark.parametrize("environment", [{}, COLD], ids=["zygote", "cold"])
FACTS = PREAMBLE + (
    "facts = {'cpus': sorted(os.sched_getaffinity(0)), 'threads': os.environ.get('OMP_NUM_THREADS')}\n"
    "try:\n    os.sched_setaffinity(0, range(os.cpu_count()))\nexcept OSError as error:\n    pass\n"
    "facts['after'] = sorted(os.sched_getaffinity(0))\n"
    "write('model', json.dumps(facts))\n"
)


def lease(network: Network, **resources: float) -> Lease:
    return Lease.parse(network.lease("", resources=resources))


def cpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(count)))


@WARMTH
def test_function_has_the_cpus_of_its_lease_and_cannot_take_more(
    network: Network, environment: dict[str, object]
) -> None:
    network.start()
    result = network.perform(FACTS, resources={"cpus": 0.5}, environment=environment)
    facts = json.loads(content(result))
    assert len(facts["cpus"]) == 1
    assert set(facts["cpus"]) <= set(ALL)
    assert facts["after"] == facts["cpus"]
    assert facts["threads"] == ("1" if len(ALL) > 1 else None)


@WARMTH
@pytest.mark.parametrize("asked", [0, 1e6])
def test_function_that_may_use_the_whole_machine_does(
    network: Network, environment: dict[str, object], asked: float
) -> None:
    network.start()
    result = network.perform(FACTS, resources={"cpus": asked}, environment=environment)
    assert json.loads(content(result)) == {"cpus": ALL, "threads": None, "after": ALL}


def test_words_of_the_image_about_threads_win(network: Network) -> None:
    network.start()
    environment = {"env": {**COLD["env"], "OMP_NUM_THREADS": "7"}}
    result = network.perform(FACTS, resources={"cpus": 1}, environment=environment)
    facts = json.loads(content(result))
    assert facts["threads"] == "7"


def said(network: Network, tasks: list[str]) -> list[Any] | None:
    """What each of them wrote as JSON; None while one is silent."""
    logs = [list((network.media / "outbox" / task).glob("*/log")) for task in tasks]
    texts = [found[0].read_text() if found else "" for found in logs]
    return [json.loads(text) for text in texts] if all("]" in text for text in texts) else None


def test_two_tasks_at_once_have_different_cpus(network: Network) -> None:
    for _ in range(2):
        network.start()
    waiting = PREAMBLE + (
        "import time\nprint(sorted(os.sched_getaffinity(0)), flush=True)\n"
        "write('model', 'x')\ntime.sleep(600)\n"
    )
    tasks = [network.api.offer(network.lease(waiting, resources={"cpus": 1})) for _ in range(2)]
    first, second = wait_for(lambda: said(network, tasks))
    assert not set(first) & set(second) or len(ALL) == 1
    network.api.canceled += tasks


def test_units_fill_evenly_and_overlap_only_when_there_are_no_more(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpus(monkeypatch, 4)
    runners = [Shares(network.folder / "shares") for _ in range(2)]
    taken = [runners[n % 2].take(lease(network, cpus=wanted)) for n, wanted in enumerate([2, 1, 1])]
    assert [share.cpus for share in taken] == [(0, 1), (2,), (3,)]
    over = runners[0].take(lease(network, cpus=3))
    assert over.cpus == (0, 1, 2)
    taken[1].release()
    assert runners[1].take(lease(network, cpus=1)).cpus == (2,)
    for share in (*taken, over):
        share.release()


def test_share_of_a_dead_runner_is_free(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    cpus(monkeypatch, 2)
    folder = network.folder / "shares"
    code = (
        "import os, sys, types\nfrom pathlib import Path\nfrom ray_jobs.shares import Shares\n"
        "os.sched_getaffinity = lambda _pid: {0, 1}\n"
        "share = Shares(Path(sys.argv[1])).take(types.SimpleNamespace(cpus=1, gpus=0))\n"
        "print(share.cpus, flush=True)\ninput()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"(0,)\n"
        held = Shares(folder).take(lease(network, cpus=1))
        assert held.cpus == (1,)
        other.kill()
    assert Shares(folder).take(lease(network, cpus=1)).cpus == (0,)


@pytest.fixture
def devices(tmp_path: Path) -> Path:
    """The device files of a machine with three GPUs."""
    for name in ("nvidia0", "nvidia1", "nvidia10", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    return tmp_path


# what Ray says of GPUs (None: there is no Ray), the lease's need -> what the function is told
GPUS = {
    "of Ray's": ("2,5", 1.0, "2"),
    "all of Ray's": ("GPU-1a,GPU-2b", 2.0, "GPU-1a,GPU-2b"),
    "no more than Ray gives": ("4", 3.0, "4"),
    "a part of one": ("3", 0.25, "3"),
    "without Ray": (None, 2.0, "0,1"),
    "not asked for": ("2,5", 0.0, ""),
    "none from Ray": ("", 1.0, None),
}


@pytest.mark.parametrize(("given", "asked", "told"), GPUS.values(), ids=list(GPUS))
def test_task_sees_the_gpus_of_its_lease(
    network: Network,
    devices: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: str | None,
    asked: float,
    told: str | None,
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    share = Shares(network.folder / "shares", devices).take(lease(network, gpus=asked))
    assert share.variables({}).get("CUDA_VISIBLE_DEVICES") == told
    names = {Path(device).name for device in share.devices}
    everything = {"nvidia0", "nvidia1", "nvidia10", "nvidiactl", "nvidia-uvm"}
    assert names == (everything if told else set())
    share.release()


def test_tasks_without_ray_get_different_gpus(
    network: Network, devices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    shares = [Shares(network.folder / "shares", devices).take(lease(network, gpus=1)) for _ in "12"]
    assert [share.gpus for share in shares] == [("0",), ("1",)]
    for share in shares:
        share.release()


@pytest.mark.parametrize("mount_wall", [True, False])
def test_device_of_a_task_can_be_reached_and_no_other(network: Network, mount_wall: bool) -> None:
    """With a terminal for a GPU: its driver answers ENXIO to whoever gets as far as that."""
    runner = network.start(mount_wall=mount_wall)
    devices = network.folder / "devices"
    devices.mkdir()
    (devices / "nvidia0").symlink_to("/dev/tty")
    runner._shares = Shares(network.folder / "shares", devices)
    code = PREAMBLE + (
        "found = []\n"
        f"for path in ({str(devices / 'nvidia0')!r}, '/dev/kmsg'):\n"
        "    try: os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))\n"
        "    except OSError as error: found.append(error.errno)\n"
        "write('model', json.dumps(found))\n"
    )
    result = network.perform(code, resources={"gpus": 1})
    reached, other = json.loads(content(result))
    assert reached == errno.ENXIO
    assert other in (errno.EACCES, errno.ENOENT)
    assert result["profile"]["start"] == "cold"
    found = json.loads(content(network.perform(code)))
    assert set(found) <= {errno.EACCES, errno.ENOENT}


def test_threads_of_loaded_libraries_follow_the_share() -> None:
    code = (
        "import json, numpy, ctypes\nfrom ray_jobs.inner import threads\n"
        "known = threads.setters()\nthreads.limit(1, known)\n"
        "import threadpoolctl\n"
        "print(json.dumps([len(known), [p['num_threads'] for p in threadpoolctl.threadpool_info()]]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    known, counts = json.loads(done.stdout)
    assert known >= 1
    assert set(counts) == {1}
    assert threads.setters() is not None
