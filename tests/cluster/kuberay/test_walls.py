"""A function in a pod tries every way out."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from backend.engine.compute.cluster.template import FunctionImage
from kuberay.transport import Connection
from tests.cluster.kuberay import images
from tests.cluster.kuberay.compute import Compute, Turning, until

ATTACK = r"""
import json, os, socket, subprocess, sys
words = open(sys.argv[1][1:]).read().split("\n")
outputs = {o["id"]: o["value"] for o in json.loads(words[words.index("--outputs") + 1])}
found = {}
def attempt(name, what):
    try:
        found[name] = repr(what())[:300]
    except BaseException as error:
        found[name] = "refused: " + type(error).__name__
attempt("inet", lambda: socket.socket())
attempt("inet6", lambda: socket.socket(socket.AF_INET6))
attempt("unix", lambda: socket.socket(socket.AF_UNIX))
attempt("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
attempt("dns", lambda: socket.gethostbyname("kubernetes.default.svc"))
attempt("account", lambda: os.listdir("/var/run/secrets/kubernetes.io/serviceaccount"))
attempt("key", lambda: open("/substra/session/key").read())
attempt("work", lambda: os.listdir("/substra/work"))
attempt("inputs", lambda: os.listdir("/substra/inputs"))
attempt("outputs", lambda: os.listdir("/substra/outputs"))
attempt("socket file", lambda: os.unlink("/substra/socket/agent.sock"))
attempt("agent", lambda: open("/substra/agent/bin/python3", "a"))
attempt("agent environment", lambda: open("/proc/1/environ").read())
attempt("agent memory", lambda: open("/proc/1/mem", "r+b"))
attempt("agent root", lambda: os.listdir("/proc/1/root/substra"))
attempt("kill agent", lambda: os.kill(1, 9))
attempt("kill parent", lambda: os.kill(os.getppid(), 9))
attempt("root", lambda: os.setuid(0))
attempt("write root", lambda: open("/new", "w"))
attempt("write image", lambda: open("/home/user/function.py", "a"))
attempt("preload", lambda: open("/etc/ld.so.preload", "w"))
attempt("mount", lambda: subprocess.run(["mount", "-t", "tmpfs", "x", "/tmp"], check=True))
attempt("unshare", lambda: subprocess.run(["unshare", "-U", "true"], check=True))
attempt("disk", lambda: os.listdir("/sys/block"))
attempt("self", lambda: (os.getuid(), os.getgid()))
attempt("environment", lambda: sorted(os.environ))
attempt("capabilities", lambda: [l.split()[1] for l in open("/proc/self/status") if l.startswith("Cap")])
attempt("temporary", lambda: open("/tmp/mine", "w").write("x"))
attempt("home", lambda: open(os.path.expanduser("~/mine"), "w").write("x"))
attempt("here", lambda: open("mine", "w").write("x"))
attempt("shared memory", lambda: open("/dev/shm/mine", "w").write("x"))
attempt("bytes of shared memory", lambda: os.statvfs("/dev/shm").f_blocks * os.statvfs("/dev/shm").f_frsize)
json.dump(found, open(outputs["model"], "w"))
"""
ALLOWED = {
    "self",
    "environment",
    "capabilities",
    "temporary",
    "home",
    "here",
    "shared memory",
    "bytes of shared memory",
}


@pytest.fixture(scope="module")
def compute(connection: Connection, namespace: str) -> Iterator[Compute]:
    made = Compute(connection, namespace, images.runner())
    made.start()
    yield made
    made.work.api.close()


def test_a_function_gets_nowhere(compute: Compute) -> None:
    function = FunctionImage(images.python_function("attack", ATTACK), "/home/user")
    words = ["python3", "function.py"]
    environment = {"image": function.reference, "entrypoint": words}
    plan = str(uuid4())
    tasks = [compute.work.api.offer(plan, words, environment=environment) for _ in range(2)]
    compute.want(plan, function)
    with Turning(compute.pool(idle_s=2.0)):
        results = [compute.work.api.result(task, 180) for task in tasks]
        found: list[dict[str, Any]] = []
        for task, result in zip(tasks, results, strict=True):
            assert result["failure"] is None, compute.work.api.log(task)
            found.append(json.loads(compute.work.api.files[f"{task}-model"]))
        (pod,) = compute.workers(function.group)
        runner, confined = pod["spec"]["containers"]
        assert (runner["name"], confined["name"]) == ("ray-worker", "function")
        names = {variable["name"] for variable in confined.get("env") or ()}
        assert names == {"LD_PRELOAD", "LD_AUDIT"}, (
            "KubeRay gave the function's container something"
        )
        compute.forget(plan)
        until("no pod is left", lambda: not compute.workers(function.group))
    for attempts in found:
        reached = {name for name, value in attempts.items() if not value.startswith("refused")}
        assert reached == ALLOWED, {name: attempts[name] for name in reached ^ ALLOWED}
        assert attempts["self"] == "(1001, 1001)"
        assert set(json.loads(attempts["capabilities"].replace("'", '"'))) == {"0" * 16}
        variables = attempts["environment"]
        assert "KUBERNETES" not in variables
        assert "RAY" not in variables
        assert "TOKEN" not in variables
        assert attempts["bytes of shared memory"] == str(1 << 30)


def test_no_secret_shows_in_rays_jobs(compute: Compute) -> None:
    function = FunctionImage(images.python_function("attack", ATTACK), "/home/user")
    words = ["python3", "function.py"]
    environment = {"image": function.reference, "entrypoint": words}
    plan = str(uuid4())
    task = compute.work.api.offer(plan, words, environment=environment)
    compute.want(plan, function)
    with Turning(compute.pool(idle_s=5.0)):
        compute.work.api.result(task, 180)
        text = compute.jobs._send("GET", "/api/jobs/").text
        logs = [compute.jobs.log(job.id) for job in compute.jobs.all()]
        assert plan in text
        assert function.reference in text
        for token in compute.work.api.tokens.values():
            assert token not in text
            assert not any(token in log for log in logs)
        compute.forget(plan)
        until("no pod is left", lambda: not compute.workers(function.group))
