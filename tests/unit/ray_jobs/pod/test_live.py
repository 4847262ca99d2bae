"""A pod's log while its function runs."""

import threading
from pathlib import Path
from uuid import uuid4

from ray_jobs.pod.live import SharedCapture
from ray_jobs.pod.runner import PodRunner
from tests.unit.ray_jobs.pod.test_pod import WAIT_S, Pod, bundled, pod

__all__ = ["bundled", "pod"]  # fixtures


def test_the_log_so_far_is_the_one_that_an_end_would_leave(tmp_path: Path) -> None:
    capture = SharedCapture(tmp_path / "log", head_bytes=10, tail_bytes=20)
    found = []
    for piece in (b"0123", b"456789ab", b"x" * 30, b"\nthe end\n"):
        capture.add(piece)
        found.append(capture.so_far())
    capture.close()
    assert found[:2] == [b"0123", b"0123456789ab"]
    assert found[-1] == (tmp_path / "log").read_bytes()
    assert b"[... 21 bytes of the log left out ...]" in found[-1]
    assert found[-1].endswith(b"\nthe end\n")


def test_a_running_function_is_heard(pod: Pod) -> None:
    plan = str(uuid4())
    task = pod.offer(
        plan,
        "import time\nprint('epoch 1', flush=True)\ntime.sleep(600)\n",
    )
    heard = threading.Event()
    pod.api.put_here = lambda name: heard.set() if name == f"{task}-log" else None  # type: ignore[method-assign]
    runner = PodRunner(pod.session(plan))
    thread = threading.Thread(target=runner.run)
    thread.start()
    assert heard.wait(WAIT_S)
    assert pod.api.log(task) == "epoch 1\n"
    runner.stop()
    thread.join(WAIT_S)
    assert not thread.is_alive()
