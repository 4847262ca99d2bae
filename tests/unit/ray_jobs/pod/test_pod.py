"""A session in a pod without a pod: the real agent and runner, a store and an API of the test."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from ray_jobs.agent import bundle
from ray_jobs.pod.agent_client import Hello, NoAgent
from ray_jobs.pod.runner import PodRunner
from ray_jobs.pod.session import PodSession, Served
from tests.unit.ray_jobs.pod.api import PodApi

WAIT_S = 20.0
KEY = bytes(range(32))
IMAGE = "registry/function@sha256:" + "a" * 64
PYTHON = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
FUNCTION = """
import json, sys
words = open(sys.argv[1][1:]).read().split("\\n")
inputs = {i["id"]: i["value"] for i in json.loads(words[words.index("--inputs") + 1])}
outputs = {o["id"]: o["value"] for o in json.loads(words[words.index("--outputs") + 1])}
"""


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("bundle") / "agent"
    bundle.build(made)
    return made


@dataclass
class Pod:
    base: Path
    api: PodApi
    agent: subprocess.Popen[bytes]

    def session(self, plan: str, **changes: Any) -> PodSession:
        options = {
            "url": self.api.url,
            "image": IMAGE,
            "agent_user": os.getuid(),
            "idle_s": 0.3,
            "heartbeat_s": 0.05,
            **changes,
        }
        (self.base / "session/options.json").write_text(json.dumps(options))
        return PodSession.read(self.api.open(plan), plan, self.base)

    def serve(self, plan: str, **changes: Any) -> None:
        """A session from beginning to end."""
        PodRunner(self.session(plan, **changes)).run()

    def offer(self, plan: str, code: str, env: dict[str, str] | None = None, **changes: Any) -> str:
        entrypoint = [PYTHON, "-c", FUNCTION + code]
        environment = {"image": IMAGE, "env": env or {}, "entrypoint": entrypoint}
        return self.api.offer(plan, entrypoint, environment=environment, **changes)


@pytest.fixture
def pod(bundled: Path, tmp_path: Path) -> Iterator[Pod]:
    for name in ("socket", "inputs", "outputs", "scratch", "work", "session", "image"):
        (tmp_path / name).mkdir()
    (tmp_path / "session/key").write_bytes(KEY)
    configuration = {
        "socket": str(tmp_path / "socket/agent.sock"),
        "inputs": str(tmp_path / "inputs"),
        "outputs": str(tmp_path / "outputs"),
        "scratch": str(tmp_path / "scratch"),
        "peer": os.getuid(),
        "image": IMAGE,
    }
    agent = subprocess.Popen(
        bundle.command(str(bundled), configuration), cwd=tmp_path / "image", env={"OF_IMAGE": "1"}
    )
    api = PodApi(KEY)
    yield Pod(tmp_path, api, agent)
    api.close()
    agent.kill()
    agent.wait(WAIT_S)


def test_a_task_goes_from_its_lease_to_its_result(pod: Pod) -> None:
    plan = str(uuid4())
    model = b"weights" * 1000
    checksum = hashlib.sha256(model + b"salt").hexdigest()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo("folder/data.csv")
        entry.size = 4
        tar.addfile(entry, io.BytesIO(b"1,2\n"))
    task = pod.offer(
        plan,
        "import os\n"
        "assert os.environ['OF_IMAGE'] == '1' and os.environ['X'] == 'y'\n"
        "size = len(open(inputs['shared'], 'rb').read())\n"
        "data = open(inputs['datasamples'] + '/folder/data.csv').read()\n"
        "open(outputs['model'], 'w').write(f'{size} {data}')\n"
        "json.dump({'all': 0.5}, open(outputs['accuracy'], 'w'))\n"
        "print('first line')\n",
        inputs=[
            {
                "identifier": "shared",
                "kind": "ASSET_MODEL",
                "key": "m1",
                "multiple": False,
                "url": pod.api.put("m1", model),
                "checksum": checksum,
                "salt": "salt",
            },
            {
                "identifier": "datasamples",
                "kind": "ASSET_DATA_SAMPLE",
                "key": "s1",
                "multiple": False,
                "url": pod.api.put("s1", packed.getvalue()),
                "form": "tar",
            },
        ],
        outputs=[
            {"identifier": "model", "kind": "ASSET_MODEL", "url": f"{pod.api.url}/files/out"},
            {"identifier": "accuracy", "kind": "ASSET_PERFORMANCE"},
        ],
        env={"X": "y"},
    )
    pod.api.cut.add("m1")
    pod.serve(plan)
    result = pod.api.results[task]
    assert result["failure"] is None, pod.api.log(task)
    assert pod.api.files["out"] == b"7000 1,2\n"
    digest = hashlib.sha256(b"7000 1,2\n" + task.encode()).hexdigest()
    assert result["outputs"] == [
        {"identifier": "model", "kind": "ASSET_MODEL", "checksum": digest, "size": 9},
        {"identifier": "accuracy", "kind": "ASSET_PERFORMANCE", "value": 0.5},
    ]
    assert pod.api.log(task) == "first line\n"
    assert set(result["steps"]) == {"prepare_inputs", "task_execution", "save_outputs"}


def test_tasks_of_a_plan_follow_each_other_and_see_nothing_of_each_other(pod: Pod) -> None:
    plan = str(uuid4())
    code = (
        "import os\n"
        "print(os.listdir('.'), os.listdir(os.path.dirname(outputs['model'])))\n"
        "open('left', 'w').write('x'); open(outputs['model'], 'w').write('m')\n"
    )
    tasks = [pod.offer(plan, code) for _ in range(3)]
    pod.serve(plan)
    assert [pod.api.log(task) for task in tasks] == ["[] []\n"] * 3
    for name in ("inputs", "outputs", "scratch"):
        assert list((pod.base / name).iterdir()) == []


@pytest.mark.parametrize(
    ("code", "failure", "said"),
    [
        ("raise SystemExit(7)", ("EXECUTION", "exit code 7"), ""),
        ("raise ValueError('mine')", ("EXECUTION", "exit code 1"), "ValueError: mine"),
        ("pass", ("EXECUTION", "output 'model' was not written"), "was not written"),
        (
            "import os; os.symlink('/etc/passwd', outputs['model'])",
            ("EXECUTION", "output 'model' is not a regular file"),
            "not a regular file",
        ),
        (
            "import os; os.kill(os.getpid(), 11)",
            ("EXECUTION", "ended by signal 11"),
            "ended by signal 11",
        ),
    ],
)
def test_a_functions_own_fault_is_its_failure(
    pod: Pod, code: str, failure: tuple[str, str], said: str
) -> None:
    plan = str(uuid4())
    task = pod.offer(plan, code)
    pod.serve(plan)
    found = pod.api.results[task]["failure"]
    assert (found["category"], found["reason"]) == failure
    assert said in pod.api.log(task)


def test_an_input_that_is_not_what_was_registered_is_ours(pod: Pod) -> None:
    plan = str(uuid4())
    wrong = {
        "identifier": "shared",
        "kind": "ASSET_MODEL",
        "key": "m",
        "multiple": False,
        "url": pod.api.put("m", b"other"),
        "checksum": "0" * 64,
    }
    task = pod.offer(plan, "pass", inputs=[wrong])
    pod.serve(plan)
    failure = pod.api.results[task]["failure"]
    assert failure["category"] == "INTERNAL"
    assert "not the file" in failure["reason"]
    assert pod.api.url not in failure["reason"]


def test_a_time_limit_ends_the_function(pod: Pod) -> None:
    plan = str(uuid4())
    task = pod.offer(plan, "import time; time.sleep(600)", timeout_s=0.3)
    pod.serve(plan)
    failure = pod.api.results[task]["failure"]
    assert failure["category"] == "EXECUTION"
    assert "time limit" in failure["reason"]


def test_a_canceled_task_is_ended_and_the_next_one_runs(pod: Pod) -> None:
    plan = str(uuid4())
    hanging = pod.offer(plan, "import time; time.sleep(600)")
    pod.api.canceled.append(hanging)
    after = pod.offer(plan, "open(outputs['model'], 'w')")
    pod.serve(plan)
    assert hanging not in pod.api.results
    assert pod.api.results[after]["failure"] is None
    for name in ("inputs", "outputs", "scratch"):
        assert list((pod.base / name).iterdir()) == []
    assert [entry.name for entry in (pod.base / "work").iterdir()] == ["served"]


def refuse(_agent: object) -> None:
    raise NoAgent("it cannot be emptied")


def test_a_result_is_given_even_when_the_container_is_of_no_use_after_it(
    pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = str(uuid4())
    task = pod.offer(plan, "open(outputs['model'], 'w')")
    waiting = pod.offer(plan, "open(outputs['model'], 'w')")

    monkeypatch.setattr("ray_jobs.pod.agent_client.Agent.clean", refuse)
    with pytest.raises(NoAgent, match="cannot be emptied"):
        pod.serve(plan)
    assert pod.api.results[task]["failure"] is None
    assert waiting not in pod.api.results


def test_an_agent_that_dies_leaves_the_task_to_another_pod(pod: Pod) -> None:
    plan = str(uuid4())
    task = pod.offer(plan, "pass")
    runner = PodRunner(pod.session(plan))
    runner._agent.wait(WAIT_S)
    runner._agent.wait = lambda for_s: Hello(IMAGE, "/", {}, False)  # type: ignore[method-assign]
    pod.agent.kill()
    pod.agent.wait(WAIT_S)
    with pytest.raises(NoAgent):
        runner.run()
    assert task not in pod.api.results


def test_a_pod_serves_one_session(pod: Pod) -> None:
    plan = str(uuid4())
    pod.serve(plan)
    for another in (plan, str(uuid4())):
        task = pod.offer(another, "open(outputs['model'], 'w')")
        with pytest.raises(Served):
            pod.serve(another)
        assert task not in pod.api.given


def test_a_container_of_another_image_is_of_no_use(pod: Pod) -> None:
    with pytest.raises(NoAgent, match="another image"):
        pod.serve(str(uuid4()), image="registry/other@sha256:" + "b" * 64)


def test_a_session_that_the_api_does_not_know_ends(pod: Pod) -> None:
    session = pod.session(str(uuid4()), idle_s=600)
    pod.api.plans.clear()
    PodRunner(session).run()
    assert pod.api.sessions == set()


def test_stop_ends_a_running_function(pod: Pod) -> None:
    plan = str(uuid4())
    pod.offer(plan, "import time; print('started', flush=True); time.sleep(600)")
    runner = PodRunner(pod.session(plan))
    thread = threading.Thread(target=runner.run)
    thread.start()
    threading.Timer(0.5, runner.stop).start()
    thread.join(WAIT_S)
    assert not thread.is_alive()
    assert pod.api.results == {}


def test_the_token_is_never_shown(pod: Pod) -> None:
    session = pod.session(str(uuid4()))
    assert len(session.token) == 64
    assert session.token not in repr(session)


def test_a_short_key_is_refused(pod: Pod) -> None:
    (pod.base / "session/key").write_bytes(b"short")
    with pytest.raises(ValueError, match="too short"):
        pod.session(str(uuid4()))
