"""A session whose functions are forked: the first task teaches the zygote, what goes wrong costs no task."""

import os
import signal
from pathlib import Path
from uuid import uuid4

from tests.unit.ray_jobs.agent.container import PYTHON
from tests.unit.ray_jobs.pod.test_pod import FUNCTION, IMAGE, Pod, bundled, pod

__all__ = ["bundled", "pod"]  # fixtures
ENTRY = [PYTHON, "function.py", "--function-name", "x"]


def offer(pod: Pod, plan: str, env: dict[str, str] | None = None, **changes: object) -> str:
    environment = {"image": IMAGE, "env": env or {}, "entrypoint": ENTRY}
    return pod.api.offer(plan, ENTRY, environment=environment, **changes)


def function(pod: Pod, code: str) -> None:
    """What the image's script does, after it has read its arguments."""
    words = FUNCTION.replace("sys.argv[1]", "sys.argv[-1]")
    (pod.base / "image/function.py").write_text(words + code)


def start(pod: Pod, task: str) -> str:
    result = pod.api.results[task]
    assert result["failure"] is None, pod.api.log(task)
    return str(result["profile"]["start"])


def test_the_next_task_finds_what_the_first_one_imported(pod: Pod) -> None:
    function(
        pod,
        "print('csv' in sys.modules, sys.argv[:-1])\n"
        "import csv, os\n"
        "assert os.environ['OF_IMAGE'] == '1' and os.environ['X'] == 'y'\n"
        "open(outputs['model'], 'w').write('m')\n",
    )
    plan = str(uuid4())
    tasks = [offer(pod, plan, {"X": "y"}) for _ in range(3)]
    pod.serve(plan)
    assert [start(pod, task) for task in tasks] == ["zygote"] * 3
    words = "['function.py', '--function-name', 'x']"
    logs = [pod.api.log(task) for task in tasks]
    assert logs == [f"False {words}\n", f"True {words}\n", f"True {words}\n"]
    for name in ("inputs", "outputs", "scratch"):
        assert list((pod.base / name).iterdir()) == []


def test_an_interpreter_that_must_be_told_at_its_start_is_started_cold(pod: Pod) -> None:
    function(pod, "print(hash('x'))\nopen(outputs['model'], 'w').write('m')\n")
    plan = str(uuid4())
    task = offer(pod, plan, {"PYTHONHASHSEED": "0"})
    pod.serve(plan)
    assert start(pod, task) == "pod"


def test_a_task_whose_parent_was_killed_runs_once_more_cold(pod: Pod) -> None:
    function(
        pod,
        "import os, time\n"
        "print(os.getppid(), flush=True)\n"
        "if '/inner/zygote.py' in open('/proc/self/cmdline').read(): time.sleep(600)\n"
        "open(outputs['model'], 'w').write('m')\n",
    )
    plan = str(uuid4())
    task = offer(pod, plan)
    killed = KilledParent(pod)
    pod.serve(plan, heartbeat_s=0.02)
    assert killed.count == 1
    assert start(pod, task) == "pod"
    assert "started once more" in pod.api.log(task)


class KilledParent:
    """Kills the per-task parent as soon as the function has said its process, once."""

    def __init__(self, pod: Pod) -> None:
        self.count = 0
        self._pod = pod
        pod.api.beat = self._look  # type: ignore[method-assign]

    def _look(self, body: dict[str, object]) -> None:
        logs = list(Path(self._pod.base / "work").glob("*/log"))
        said = logs[0].read_text().split() if logs else []
        if said and not self.count:
            self.count += 1
            os.kill(int(said[0]), signal.SIGKILL)


def test_a_canceled_task_leaves_the_next_one_a_zygote(pod: Pod) -> None:
    function(
        pod,
        "import time\n"
        "if json.loads(words[words.index('--task-properties') + 1])['rank']: time.sleep(600)\n"
        "open(outputs['model'], 'w').write('m')\n",
    )
    plan = str(uuid4())
    first = offer(pod, plan)
    hanging = offer(pod, plan, rank=1)
    pod.api.canceled.append(hanging)
    after = offer(pod, plan)
    pod.serve(plan)
    assert hanging not in pod.api.results
    assert [start(pod, task) for task in (first, after)] == ["zygote", "zygote"]
