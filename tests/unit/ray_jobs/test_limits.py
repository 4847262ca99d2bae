"""What a function may use up: memory, processes, disk, outputs, shared memory, its log."""

import json
import os
from pathlib import Path

import pytest

from ray_jobs import guard
from ray_jobs.guard import DiskGuard, usage

from .api import wait_for
from .conftest import Network
from .functions import PREAMBLE, TRIVIAL
from .test_hostile_functions import processes_below
from .test_runner import COLD, content
from .test_walls import _walls

WARMTH = pytest.mark.parametrize("environment", [{}, COLD], ids=["zygote", "cold"])


@WARMTH
def test_memory_of_all_processes_together_is_limited(
    network: Network, environment: dict[str, object]
) -> None:
    network.start(limits={"memory_bytes": 150 << 20})
    code = (
        "import os, time\n"
        "for _ in range(4):\n"
        "    if os.fork() == 0: break\n"
        "hog = bytearray(os.urandom(1 << 20)) * 60\n"
        "time.sleep(600)\n"
    )
    result = network.perform(code, environment=environment)
    assert result["failure"]["category"] == "EXECUTION"
    assert "out of memory, it had more than 150 MiB" in network.log(result)
    assert processes_below(network.run_folder / "tasks") == []
    assert content(network.perform(TRIVIAL)) == "weights"


def test_memory_that_the_lease_grants_counts_before_the_sessions(network: Network) -> None:
    network.start(limits={"memory_bytes": 200 << 20})
    code = PREAMBLE + "hog = bytearray(300 << 20)\nwrite('model', 'fits')\n"
    granted = {"cpus": 1.0, "memory_bytes": 1 << 30, "gpus": 0.0}
    assert content(network.perform(code, resources=granted)) == "fits"
    assert network.perform(code, resources={"memory_bytes": 0})["exit"] == 1


@WARMTH
def test_function_that_is_refused_memory_is_told_so(
    network: Network, environment: dict[str, object]
) -> None:
    network.start()
    result = network.perform(
        "hog = bytearray(400 << 20)", resources={"memory_bytes": 200 << 20}, environment=environment
    )
    reason = "out of memory, exit code 1"
    assert result["failure"] == {"category": "EXECUTION", "reason": reason}
    assert network.log(result).endswith("The function was out of memory: it may have 200 MiB.\n")


@WARMTH
def test_function_is_the_first_to_go_when_memory_runs_out(
    network: Network, environment: dict[str, object]
) -> None:
    network.start()
    code = PREAMBLE + "write('model', open('/proc/self/oom_score_adj').read())\n"
    assert content(network.perform(code, environment=environment)).strip() == "1000"


def test_function_that_fills_the_disk_is_ended(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "_free", lambda _folder: 100 << 20)
    network.start(disk_reserve_bytes=200 << 20)
    code = PREAMBLE + (
        "import time\n"
        "with open('filler', 'wb') as file: file.write(bytes(80 << 20))\n"
        "time.sleep(600)\n"
    )
    result = network.perform(code)
    assert result["failure"]["category"] == "EXECUTION"
    assert "the disk is almost full, and its files take" in network.log(result)
    assert not list((network.run_folder / "tasks").glob("*/w/*/filler"))


@pytest.mark.parametrize(
    ("free", "category"), [(100 << 20, None), (40 << 20, "INTERNAL")], ids=["low", "gone"]
)
def test_function_that_holds_little_is_not_to_blame(
    network: Network, monkeypatch: pytest.MonkeyPatch, free: int, category: str | None
) -> None:
    monkeypatch.setattr(guard, "_free", lambda _folder: free)
    network.start(disk_reserve_bytes=200 << 20)
    result = network.perform(PREAMBLE + "import time; time.sleep(1.2)\nwrite('model', 'x')\n")
    assert (result["failure"] or {}).get("category") == category


def test_disk_guard_looks_twice_a_second_at_most(tmp_path: Path) -> None:
    look = DiskGuard(tmp_path, reserve_bytes=1 << 60).look
    assert look() is None


def test_usage_counts_what_is_on_the_disk(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below/data").write_bytes(os.urandom(1 << 20))
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "link").symlink_to("/")
    found = usage(tmp_path)
    assert 1 << 20 <= found.size < 2 << 20
    assert found.files == 4


@pytest.mark.parametrize(
    ("left", "made", "category"),
    [(0.005, 10_050, "EXECUTION"), (0.005, 5, None), (0.001, 5, "INTERNAL"), (None, 5, None)],
    ids=["it made them", "it made few", "none left", "no limit"],
)
def test_function_that_uses_up_the_disks_files_is_ended(
    network: Network,
    monkeypatch: pytest.MonkeyPatch,
    left: float | None,
    made: int,
    category: str | None,
) -> None:
    monkeypatch.setattr(guard, "_free_files", lambda _folder: left)
    network.start()
    code = PREAMBLE + (
        "import time\n"
        f"for number in range({made}): open(f'{{number}}', 'w').close()\n"
        "write('model', 'x')\n"
        "time.sleep(1.2)\n"
    )
    result = network.perform(code)
    assert (result["failure"] or {}).get("category") == category
    assert category != "EXECUTION" or "few more files" in network.log(result)


def test_outputs_over_their_limit_are_the_functions_fault(network: Network) -> None:
    network.start(output_bytes=1 << 20)
    result = network.perform(PREAMBLE + "write('model', 'x' * (1 << 21))\n")
    assert result["failure"]["category"] == "EXECUTION"
    assert "2097152 bytes, more than the 1048576 allowed" in network.log(result)
    assert not list((network.media / "outbox").rglob("model"))


def test_hashing_a_large_output_ends_with_its_task(network: Network) -> None:
    network.start()
    code = PREAMBLE + "os.truncate(os.open(out['model'], os.O_CREAT | os.O_WRONLY), 64 << 30)\n"
    task = network.api.offer(network.lease(code))
    outbox = network.media / "outbox" / task
    wait_for(lambda: list(outbox.glob("*/model")))
    network.api.canceled.append(task)
    wait_for(lambda: not outbox.exists(), 5)
    assert task not in network.api.results


def test_files_over_their_limit_end_the_function(network: Network) -> None:
    network.start(limits={"file_bytes": 1 << 20})
    result = network.perform(PREAMBLE + "write('model', 'x' * (1 << 21))\n")
    assert result["failure"]["category"] == "EXECUTION"


@WARMTH
def test_core_dumps_are_off(network: Network, environment: dict[str, object]) -> None:
    network.start()
    code = PREAMBLE + (
        "import resource\nwrite('model', json.dumps(resource.getrlimit(resource.RLIMIT_CORE)))\n"
    )
    assert json.loads(content(network.perform(code, environment=environment))) == [0, 0]


@WARMTH
def test_shared_memory_has_the_size_of_the_setting(
    network: Network, environment: dict[str, object]
) -> None:
    network.start(shared_memory_bytes=8 << 20)
    code = PREAMBLE + (
        "try:\n"
        "    found = os.statvfs('/dev/shm')\n"
        "    size = found.f_blocks * found.f_frsize\n"
        "    open('/dev/shm/x', 'wb').write(bytes(9 << 20))\n"
        "    fits = True\n"
        "except OSError as error:\n"
        "    fits = False\n"
        "write('model', json.dumps([size, fits]))\n"
    )
    size, fits = json.loads(content(network.perform(code, environment=environment)))
    assert not fits
    assert size == 8 << 20 or not _walls()["mounts"]


def test_log_keeps_as_much_as_the_settings_say(network: Network) -> None:
    network.start(log_head_bytes=10, log_tail_bytes=20)
    result = network.perform(
        PREAMBLE + "print('the head' + 'x' * 5000 + 'the tail', flush=True)\nsys.exit(1)\n"
    )
    head, marker, tail = network.log(result).partition(
        "\n[... 4987 bytes of the log left out ...]\n"
    )
    assert (head, bool(marker), tail) == ("the headxx", True, "xxxxxxxxxxxthe tail\n")


@WARMTH
def test_flood_of_output_does_not_outrun_the_time_limit(
    network: Network, environment: dict[str, object]
) -> None:
    network.start()
    code = "import os\nblock = b'x' * 65536\nwhile True: os.write(1, block)\n"
    result = network.perform(code, timeout_s=1, environment=environment)
    assert result["failure"] == {"category": "EXECUTION", "reason": "over its time limit of 1 s"}
