"""From lease to result: what a function sees, and how its end is judged."""

import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from .api import wait_for
from .conftest import Network
from .functions import PREAMBLE, TRIVIAL

COLD = {"env": {"PATH": "/home/user/venv/bin:/usr/bin:/bin", "PYTHONHASHSEED": "0"}}
SLEEP = PREAMBLE + "import time\nprint('started', os.getpid(), flush=True)\ntime.sleep(600)\n"


def content(result: dict[str, Any], index: int = 0) -> str:
    assert result["failure"] is None, Path(result["log"]).read_text()
    return Path(result["outputs"][index]["path"]).read_text()


def test_model_is_hashed_with_its_task_and_moved_to_the_outbox(network: Network) -> None:
    network.start()
    result = network.perform(TRIVIAL)
    (model,) = result["outputs"]
    salted = b"weights" + result["task"].encode()
    place = network.media / "outbox" / result["task"] / result["lock_token"] / "model"
    assert model == {
        "identifier": "model",
        "kind": "ASSET_MODEL",
        "path": str(place),
        "checksum": hashlib.sha256(salted).hexdigest(),
        "size": 7,
    }
    assert place.read_bytes() == b"weights"
    assert place.stat().st_mode & 0o777 == 0o600
    assert result["exit"] == 0
    assert set(result["steps"]) == {"prepare_inputs", "task_execution", "save_outputs"}
    assert all(isinstance(step, int) and step > 0 for step in result["steps"].values())
    assert {"stage", "connect", "fork", "run", "collect"} <= set(result["profile"])


@pytest.mark.parametrize("warm", [True, False], ids=["zygote", "cold"])
def test_script_runs_as_python_would_run_it(network: Network, warm: bool) -> None:
    network.start()
    code = PREAMBLE + (
        "import __main__\n"
        "from neighbour import VALUE\n"
        "class Pickled: pass\n"
        "import pickle; pickle.loads(pickle.dumps(Pickled()))\n"
        "facts = dict(name=__name__, argv=sys.argv[:-1], path0=sys.path[0], cwd=os.getcwd(), value=VALUE,\n"
        "    file=__file__, home=os.environ['HOME'], pythonpath=os.environ['PYTHONPATH'],\n"
        "    second=sys.path[1], test=os.environ['TEST'], stdin=sys.stdin.read(), rank=properties,\n"
        "    main=__main__.Pickled.__name__, extra='ray_jobs' in sys.modules, prefix=sys.prefix,\n"
        "    through=sys.stdout.write_through, session=os.getsid(0) == os.getpid())\n"
        "import atexit; atexit.register(lambda: write('model', json.dumps(facts)))\n"
    )
    env = {"PYTHONPATH": "/home/user/lib", "TEST": "0"} | ({} if warm else COLD["env"])
    lease = network.lease(code, environment={"env": {"PATH": "/usr/bin", **env}})
    layer = Path(lease["environment"]["layers"][0])
    (layer / "home/user/neighbour.py").write_text("VALUE = 7\n")
    (layer / "home/user/lib").mkdir()
    result = network.api.result(network.api.offer(lease))
    facts = json.loads(content(result))
    assert result["profile"]["start"] == ("zygote" if warm else "cold")
    home = facts["cwd"]
    assert Path(home).parts[-3:] == ("root", "home", "user")
    assert facts == {
        "name": "__main__",
        "argv": ["function.py", "--function-name", "function"],
        "path0": home,
        "cwd": home,
        "value": 7,
        "file": f"{home}/function.py",
        "home": home,
        "pythonpath": f"{home}/lib",
        "second": f"{home}/lib",
        "test": "0",
        "stdin": "",
        "rank": {"rank": 3},
        "main": "Pickled",
        "extra": False,
        "prefix": str(network.packages / "home/user/venv"),
        "through": True,
        "session": True,
    }


@pytest.mark.parametrize("environment", [{}, COLD], ids=["zygote", "cold"])
def test_inputs_come_in_order_under_the_names_of_the_contract(
    network: Network, environment: dict[str, Any]
) -> None:
    network.start()
    samples = [network.sample("data.txt", f"sample {n}") for n in (1, 2)]
    model, opener = network.model(b"a model"), network.opener("# an opener")
    code = PREAMBLE + (
        "read = lambda p: open(os.path.join(p, 'data.txt') if os.path.isdir(p) else p).read()\n"
        "write('model', json.dumps([lines, [read(i['value']) for i in inputs]]))\n"
    )
    inputs = [model, opener, *samples]
    result = network.perform(code, inputs=inputs, environment=environment)
    lines, texts = json.loads(content(result))
    assert texts == ["a model", "# an opener", "sample 1", "sample 2"]
    assert [lines[0], lines[2], lines[4]] == ["--task-properties", "--inputs", "--outputs"]
    assert len(lines) == 6
    given = json.loads(lines[3])
    assert [(i["id"], i["multiple"]) for i in given] == [
        ("shared", False), ("opener", False), ("datasamples", True), ("datasamples", True),
    ]  # fmt: skip
    ends = [
        f"/in_models/{model['key']}",
        f"/openers/{opener['key']}/__init__.py",
        *(f"/data_samples/{sample['key']}" for sample in samples),
    ]
    assert all(i["value"].endswith(end) for i, end in zip(given, ends, strict=True))
    (declared,) = json.loads(lines[5])
    assert declared["id"] == "model"
    assert declared["value"].endswith("/out/model.model")
    assert declared["multiple"] is False


def test_identifiers_that_are_no_file_names_are_safe(network: Network) -> None:
    network.start()
    names = ["../../escape", "..", "a b", "é", "x" * 150]
    code = (
        PREAMBLE
        + "assert not [l for l in lines if chr(92) in l]\n"
        + ("for name in out: write(name, name)\n")
    )
    result = network.perform(code, outputs=names)
    assert [content(result, n) for n in range(5)] == names
    folder = network.media / "outbox" / result["task"] / result["lock_token"]
    assert {Path(o["path"]).parent for o in result["outputs"]} == {folder}


def test_inputs_on_another_file_system_stay_in_place(network: Network) -> None:
    network.start()
    place = Path("/dev/shm") / f"substra-ray-test-{os.getpid()}"
    place.write_text("elsewhere")
    try:
        model = {**network.model(b""), "path": str(place)}
        code = PREAMBLE + (
            "try: open(given['shared'], 'r+')\n"
            "except OSError: write('model', open(given['shared']).read())\n"
        )
        result = network.perform(code, inputs=[model])
        assert content(result) == "elsewhere"
        assert result["profile"]["start"] == "cold"
    finally:
        place.unlink()


def test_missing_input_is_an_internal_failure(network: Network) -> None:
    network.start()
    model = network.model(b"")
    Path(model["path"]).unlink()
    result = network.perform(TRIVIAL, inputs=[model])
    assert result["failure"]["category"] == "INTERNAL"
    assert model["key"] in result["failure"]["reason"]


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.5", 0.5), ("1", 1.0), ("true", 1.0), ("NaN", "NaN")],
)
def test_performance_is_the_number_under_all(network: Network, text: str, value: Any) -> None:
    network.start()
    code = PREAMBLE + f"write('score', '{{\"all\": {text}}}')\n"
    result = network.perform(code, outputs=["score"])
    assert result["outputs"] == [
        {"identifier": "score", "kind": "ASSET_PERFORMANCE", "value": value}
    ]
    assert isinstance(float(result["outputs"][0]["value"]), float)
    assert math.isnan(float("NaN"))


@pytest.mark.parametrize(
    ("output", "code", "complaint"),
    [
        ("model", "pass", "was not written"),
        ("model", "os.mkdir(out['model'])", "is not a regular file"),
        ("model", "os.symlink('/etc/passwd', out['model'])", "is not a regular file"),
        ("model", "os.mkfifo(out['model'])", "is not a regular file"),
        ("score", "write('score', '{}')", "is not JSON with a number"),
        ("score", "write('score', 'nonsense')", "is not JSON with a number"),
        ("score", "write('score', '[' * 100000)", "is not JSON with a number"),
        ("score", "write('score', '{\"all\": [1]}')", "is not JSON with a number"),
        ("score", "write('score', '{\"all\": -Infinity}')", "is too large for a performance"),
    ],
)
def test_bad_output_is_the_functions_fault(
    network: Network, output: str, code: str, complaint: str
) -> None:
    network.start()
    result = network.perform(PREAMBLE + code, outputs=[output])
    assert result["failure"]["category"] == "EXECUTION"
    assert complaint in result["failure"]["reason"]
    assert complaint in network.log(result)
    assert result["outputs"] == []


def test_unreadable_model_is_read_all_the_same(network: Network) -> None:
    network.start()
    code = PREAMBLE + "os.umask(0o777)\nwrite('model', 'shut')\nos.mkdir('shut')\n"
    result = network.perform(code)
    assert content(result) == "shut"
    tasks = network.run_folder / "tasks"
    wait_for(lambda: not list(tasks.glob("*/w/*")))
    assert list(tasks.glob("*/r/*")) == []


@pytest.mark.parametrize("environment", [{}, COLD], ids=["zygote", "cold"])
def test_raising_function_fails_with_the_users_traceback(
    network: Network, environment: dict[str, Any]
) -> None:
    network.start()
    code = "print('before')\ndef inner():\n    raise ValueError('my mistake')\ninner()\n"
    result = network.perform(code, environment=environment)
    assert result["failure"] == {"category": "EXECUTION", "reason": "exit code 1"}
    assert result["exit"] == 1
    log = network.log(result).splitlines()
    assert log[:2] == ["before", "Traceback (most recent call last):"]
    assert log[2].endswith('/function.py", line 4, in <module>')
    assert log[-1] == "ValueError: my mistake"


@pytest.mark.parametrize(
    ("code", "exit_code", "log"),
    [
        ("raise SystemExit(7)", 7, ""),
        ("import sys; sys.exit('a reason')", 1, "a reason\n"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -9, "signal 9"),
        ("print('x'\n", 1, "SyntaxError"),
        ("import sys; sys.excepthook = lambda *a: print('hooked'); 1 / 0", 1, "hooked\n"),
    ],
)
def test_every_other_end_is_an_execution_failure(
    network: Network, code: str, exit_code: int, log: str
) -> None:
    network.start()
    result = network.perform(code)
    assert result["exit"] == exit_code
    assert result["failure"]["category"] == "EXECUTION"
    assert log in network.log(result)


def test_files_left_open_are_written_out_at_the_end(network: Network) -> None:
    network.start()
    code = PREAMBLE + "kept = open(out['model'], 'w')\nkept.write('written at last')\n"
    assert content(network.perform(code)) == "written at last"


def test_thread_of_the_function_is_waited_for(network: Network) -> None:
    network.start()
    code = PREAMBLE + (
        "import threading, time\n"
        "def late():\n    time.sleep(0.2)\n    write('model', 'late')\n"
        "threading.Thread(target=late).start()\n"
    )
    assert content(network.perform(code)) == "late"


def test_home_workdir_and_temporary_folders_are_writable(network: Network) -> None:
    network.start()
    code = PREAMBLE + (
        "import tempfile, multiprocessing\n"
        "for place in (os.environ['HOME'], '.', tempfile.gettempdir()):\n"
        "    open(os.path.join(place, 'mine'), 'w').close()\n"
        "write('model', open('shipped.txt').read())\n"
        "os.replace('function.py', os.path.join(tempfile.mkdtemp(), 'moved'))\n"
    )
    assert content(network.perform(code)) == "from the environment"
    assert (network.packages / "home/user/shipped.txt").read_text() == "from the environment"


def test_processes_share_memory_and_locks_behind_the_mount_wall(network: Network) -> None:
    network.start()
    code = PREAMBLE + (
        "import multiprocessing as m\n"
        "context = m.get_context('fork')\n"
        "total, lock = context.Value('i', 0), context.Lock()\n"
        "def add():\n    with lock: total.value += 1\n"
        "workers = [context.Process(target=add) for _ in range(3)]\n"
        "[w.start() for w in workers]; [w.join() for w in workers]\n"
        "open('/tmp/mine', 'w').close()\n"
        "write('model', str(total.value))\n"
    )
    from ray_jobs.inner.confine import walls

    result = network.perform(code)
    if walls()["mounts"]:
        assert content(result) == "3"
    else:
        assert result["failure"]["category"] == "EXECUTION"
