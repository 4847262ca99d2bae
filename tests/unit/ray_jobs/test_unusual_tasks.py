"""Entry points that are not scripts, leases that cannot be performed, limits, zygotes that fail."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from ray_jobs.capture import HEAD_BYTES, TAIL_BYTES

from .api import wait_for
from .conftest import Network, is_alive
from .functions import PREAMBLE, TRIVIAL
from .test_hostile_functions import processes_below
from .test_runner import SLEEP, content


def test_other_programs_than_python_are_executed(network: Network) -> None:
    network.start()
    lease = network.lease("")
    layer = Path(lease["environment"]["layers"][0])
    script = layer / "home/user/run me.sh"
    script.write_text(
        "#!/bin/sh\nset -e\nprintf '%s\\n' \"$@\"\n"
        'sed -n 6p "${2#@}" | sed \'s/.*"value": "\\([^"]*\\)".*/\\1/\' > where\n'
        'printf shell > "$(cat where)"\n'
    )
    script.chmod(0o755)
    lease["environment"]["entrypoint"] = ["/home/user/run me.sh", "two words"]
    result = network.api.result(network.api.offer(lease))
    assert content(result) == "shell"
    assert network.log(result).startswith("two words\n@/")
    assert result["profile"]["start"] == "cold"


def test_command_that_does_not_exist_says_so(network: Network) -> None:
    network.start()
    result = network.perform("", environment={"entrypoint": ["no-such-program"]})
    assert result["exit"] == 127
    assert "no-such-program" in network.log(result)


def test_image_without_entry_point_is_an_internal_failure(network: Network) -> None:
    network.start()
    result = network.perform("", environment={"entrypoint": []})
    assert result["failure"] == {"category": "INTERNAL", "reason": "the image has no entry point"}


def test_unreadable_lease_is_given_back_as_a_failure(network: Network) -> None:
    network.start()
    lease = network.lease(TRIVIAL)
    del lease["environment"]["python"]
    result = network.api.result(network.api.offer(lease))
    assert result["failure"]["category"] == "INTERNAL"


def test_long_log_keeps_its_head_and_its_tail(network: Network) -> None:
    network.start()
    code = PREAMBLE + (
        "print('the first line')\n"
        "block = 'x' * 65535 + '\\n'\n"
        "for _ in range(80): sys.stdout.write(block)\n"
        "print('the last line', file=sys.stderr)\n"
        "sys.exit(1)\n"
    )
    log = Path(network.perform(code)["log"]).read_bytes()
    assert log.startswith(b"the first line\n")
    assert log.endswith(b"the last line\n")
    assert b"bytes of the log left out" in log
    assert HEAD_BYTES + TAIL_BYTES <= len(log) <= HEAD_BYTES + TAIL_BYTES + 100


def test_task_over_its_time_limit_is_ended(network: Network) -> None:
    network.start()
    result = network.perform(SLEEP, timeout_s=0.3)
    assert result["failure"] == {"category": "EXECUTION", "reason": "over its time limit of 0.3 s"}
    assert "time limit" in network.log(result)
    assert processes_below(network.run_folder / "tasks") == []


def test_task_with_too_many_processes_is_ended(network: Network) -> None:
    network.start(limits={"processes": 5})
    code = "import os, time\nfor _ in range(10):\n    if os.fork() == 0: break\ntime.sleep(600)\n"
    result = network.perform(code)
    assert result["failure"]["category"] == "EXECUTION"
    assert "more than 5 processes" in network.log(result)
    assert processes_below(network.run_folder / "tasks") == []


def test_task_over_its_memory_limit_fails_alone(network: Network) -> None:
    network.start(limits={"memory_bytes": 200 << 20})
    result = network.perform("hog = bytearray(400 << 20)")
    assert result["failure"]["category"] == "EXECUTION"
    assert "MemoryError" in network.log(result)
    assert content(network.perform(TRIVIAL)) == "weights"


def test_dead_zygote_is_replaced(network: Network) -> None:
    network.start()
    code = PREAMBLE + "write('model', str(os.getppid()))\n"
    assert network.perform(code)["profile"]["start"] == "zygote"
    (first,) = network.zygote_pids()
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: not is_alive(first))
    assert network.perform(code)["profile"]["start"] == "zygote"
    (second,) = network.zygote_pids()
    assert second != first


def test_interpreter_that_cannot_be_a_zygote_starts_cold(network: Network) -> None:
    network.start()
    broken = network.folder / "python3"
    broken.write_text(
        f'#!/bin/sh\ncase "$*" in *zygote*) exit 1;; esac\nexec {sys.executable} "$@"\n'
    )
    broken.chmod(0o755)
    lease = network.lease(TRIVIAL, environment={"python": str(broken), "root": str(network.folder)})
    result = network.api.result(network.api.offer(lease))
    assert result["profile"]["start"] == "cold"


def test_runner_as_a_process_needs_its_session_file() -> None:
    done = subprocess.run([sys.executable, "-m", "ray_jobs"], capture_output=True, check=False)
    assert done.returncode == 2
    assert b"SESSION_FILE" in done.stderr
