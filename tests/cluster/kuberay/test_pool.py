"""The pool on a real KubeRay: from an image in the registry to a function's first line, and back to nothing."""

import itertools
import json
import statistics
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest

from backend.engine.compute.cluster.causes import Kind
from backend.engine.compute.cluster.template import FunctionImage, PodShape
from kuberay.shapes import Pod
from kuberay.transport import Connection
from tests.cluster.kuberay import images
from tests.cluster.kuberay.compute import Compute, Turning, say, until

ENTRYPOINT = ["python3", "function.py"]
FUNCTION = """
import json, os, sys, time
print('first line', time.time(), flush=True)
words = open(sys.argv[1][1:]).read().split("\\n")
outputs = {o["id"]: o["value"] for o in json.loads(words[words.index("--outputs") + 1])}
code = os.environ.get("CODE", "")
exec(code)
open(outputs["model"], "w").write("weights")
"""
NEXT_TASKS = 20


@pytest.fixture(scope="module")
def compute(connection: Connection, namespace: str) -> Iterator[Compute]:
    made = Compute(connection, namespace, images.runner())
    say(f"\n  head ready after {made.start():.1f} s")
    yield made
    made.work.api.close()


@pytest.fixture(scope="module")
def image() -> FunctionImage:
    return FunctionImage(images.python_function("function", FUNCTION), "/home/user")


def another(image: FunctionImage, name: str) -> FunctionImage:
    """The same function in an image of its own."""
    return FunctionImage(images.python_function(name, FUNCTION + f"# {name}\n"), image.workdir)


def offer(compute: Compute, plan: str, image: FunctionImage, code: str = "", **changes: Any) -> str:
    environment = {"image": image.reference, "entrypoint": ENTRYPOINT, "env": {"CODE": code}}
    return compute.work.api.offer(plan, ENTRYPOINT, environment=environment, **changes)


def done(compute: Compute, task: str, for_s: float = 180) -> dict[str, Any]:
    """The task's result, which must be a good one."""
    result = compute.work.api.result(task, for_s)
    assert result["failure"] is None, f"{result['failure']}: {compute.work.api.log(task)}"
    return result


def moment(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def when(pod: Pod) -> dict[str, float]:
    """When the pod reached what its status tells, to the second."""
    status = pod.get("status") or {}
    found = {"pod created": moment(pod["metadata"]["creationTimestamp"])}
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "True":
            found["pod scheduled"] = moment(condition["lastTransitionTime"])
    for container in status.get("containerStatuses") or ():
        started = (container["state"].get("running") or {}).get("startedAt")
        if started:
            found[f"container {container['name']} started"] = moment(started)
    return found


def first_line(compute: Compute, task: str) -> float:
    return float(compute.work.api.log(task).split("first line ")[1].split()[0])


def test_from_an_image_to_the_functions_first_line_and_back_to_nothing(
    compute: Compute, image: FunctionImage
) -> None:
    plan = str(uuid4())
    tasks = [offer(compute, plan, image) for _ in range(NEXT_TASKS + 1)]
    began = time.time()
    compute.want(plan, image)
    with Turning(compute.pool()):
        done(compute, tasks[0])
        (pod,) = compute.workers(image.group)
        steps = when(pod)
        steps["lease given"] = compute.work.api.given[tasks[0]]
        steps["function's first line"] = first_line(compute, tasks[0])
        say("\n  first task of a new image, seconds after its plan wants it:")
        for name, at in sorted(steps.items(), key=lambda step: step[1]):
            say(f"    {at - began:6.2f}  {name}")
        for task in tasks:
            done(compute, task)
        api = compute.work.api
        starts = [first_line(compute, task) - api.given[task] for task in tasks[1:]]
        given = [api.given[task] for task in tasks[1:]]
        whole = [after - before for before, after in itertools.pairwise(given)]
        say(
            f"  next tasks of the session: lease to first line p50 {_ms(starts)}, "
            f"lease to next lease p50 {_ms(whole)}"
        )
        say(f"    of it: {json.dumps(api.results[tasks[-1]]['profile'])}")
        assert len(compute.workers(image.group)) == 1
        compute.forget(plan)
        ended = time.time()
        until("no pod is left", lambda: not compute.workers(image.group))
        say(f"  last task to no pod: {time.time() - ended:.1f} s (idle time-out 3 s)")
        until("the job is forgotten", lambda: not compute.jobs.all())
    assert steps["function's first line"] - began < 60


def _ms(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1e3:.0f} ms"


def test_a_pod_serves_one_plan_and_is_then_retired(compute: Compute, image: FunctionImage) -> None:
    plans = [str(uuid4()), str(uuid4())]
    with Turning(compute.pool(pods=1, idle_s=1.0)):
        pods = []
        for plan in plans:
            task = offer(compute, plan, image)
            compute.want(plan, image)
            done(compute, task)
            found = until("its pod", lambda: compute.workers(image.group))
            pods.append(max(found, key=lambda pod: pod["metadata"]["creationTimestamp"]))
            compute.forget(plan)
        assert pods[0]["metadata"]["uid"] != pods[1]["metadata"]["uid"]
        until("no pod is left", lambda: not compute.workers(image.group))


def test_a_plan_with_many_tasks_gets_many_pods(compute: Compute, image: FunctionImage) -> None:
    plan = str(uuid4())
    with Turning(compute.pool(pods=2, idle_s=1.0)):
        code = "time.sleep(4)"
        tasks = [offer(compute, plan, image, code) for _ in range(4)]
        compute.want(plan, image, 4)
        until("two pods", lambda: len(compute.workers(image.group)) == 2)
        for task in tasks:
            done(compute, task)
        assert len(compute.work.api.sessions) >= 2
        compute.forget(plan)
        until("no pod is left", lambda: not compute.workers(image.group))


def test_a_lost_pods_task_runs_again(compute: Compute, image: FunctionImage) -> None:
    plan = str(uuid4())
    task = offer(compute, plan, image, "time.sleep(600)")
    compute.want(plan, image)
    with Turning(compute.pool(idle_s=1.0)):
        until("the task has started", lambda: task in compute.work.api.given)
        (pod,) = compute.workers(image.group)
        session = next(s for s, p in compute.work.plans.items() if p == plan)
        compute.delete_pod(pod["metadata"]["name"])
        killed = time.time()
        again = offer(compute, plan, image)  # the lease of the lost one, given anew
        assert done(compute, again)["exit"] == 0
        say(f"\n  pod killed to the task's end in another one: {time.time() - killed:.1f} s")
        until("its session is over", lambda: session in compute.work.over)
        compute.forget(plan)
        until("no pod is left", lambda: not compute.workers(image.group))


def test_memory_has_an_end_and_the_next_task_runs(compute: Compute, image: FunctionImage) -> None:
    plan = str(uuid4())
    greedy = offer(
        compute, plan, image, "x = bytearray(2 << 30); x[::4096] = b'1' * len(x[::4096])"
    )
    modest = offer(compute, plan, image)
    compute.want(plan, image)
    with Turning(compute.pool(idle_s=1.0)):
        failure = compute.work.api.result(greedy, 180)["failure"]
        assert failure["category"] == "EXECUTION"
        done(compute, modest)
        compute.forget(plan)
        until("no pod is left", lambda: not compute.workers(image.group))


def test_groups_have_a_cap_and_the_oldest_leaves(compute: Compute, image: FunctionImage) -> None:
    compute.work.known.clear()
    first, second = another(image, "first"), another(image, "second")
    names = {g["groupName"] for g in compute.clusters.get("compute")["spec"]["workerGroupSpecs"]}
    most = len(names)
    with Turning(compute.pool(groups=most, idle_s=1.0)):
        for function in (first, second):
            plan = str(uuid4())
            task = offer(compute, plan, function)
            compute.want(plan, function)
            done(compute, task)
            compute.forget(plan)
    groups = compute.clusters.get("compute")["spec"]["workerGroupSpecs"]
    left = {group["groupName"] for group in groups}
    assert len(left) <= most
    assert second.group in left
    assert not names <= left
    everywhere = {pod["metadata"]["labels"]["ray.io/group"] for pod in compute.pods({})}
    assert everywhere <= left | {"headgroup"}


def test_an_image_without_python_or_libraries_serves(compute: Compute) -> None:
    code = r"""
    #include <stdio.h>
    #include <string.h>
    int main(int count, char **words) {
        static char text[65536], *path;
        FILE *file = fopen(words[count - 1] + 1, "r");
        text[fread(text, 1, sizeof text - 1, file)] = 0;
        path = strstr(strstr(text, "--outputs"), "\"value\": \"") + 10;
        *strchr(path, '"') = 0;
        file = fopen(path, "w");
        fputs("static weights", file);
        puts("first line of a static program");
        return fclose(file);
    }
    """
    static = FunctionImage(images.static_function("static", code), "/work")
    plan = str(uuid4())
    environment = {"image": static.reference, "entrypoint": ["/program"]}
    task = compute.work.api.offer(plan, ["/program"], environment=environment)
    compute.want(plan, static)
    with Turning(compute.pool(idle_s=1.0)):
        done(compute, task)
        assert compute.work.api.log(task) == "first line of a static program\n"
        assert compute.work.api.files[f"{task}-model"] == b"static weights"
        compute.forget(plan)
        until("no pod is left", lambda: not compute.workers(static.group))


def test_an_image_that_is_not_there_is_said_to_be_so(
    compute: Compute, image: FunctionImage
) -> None:
    repository = image.reference.partition("@")[0]
    missing = FunctionImage(f"{repository}@sha256:{'0' * 63}1", "/")
    plan = str(uuid4())
    compute.want(plan, missing)
    with Turning(compute.pool()):
        found = until("the cause", lambda: compute.work.causes.get(missing.group))
        assert found.kind is Kind.IMAGE
        assert "cannot be pulled" in found.text
        compute.forget(plan)


def test_a_pod_without_room_is_said_to_be_so(compute: Compute, image: FunctionImage) -> None:
    large = another(image, "large")
    shape = PodShape(
        compute.runner, function_requests={"cpu": "500"}, function_limits={"memory": "1Gi"}
    )
    plan = str(uuid4())
    compute.want(plan, large)
    with Turning(compute.pool(shape=shape)):
        found = until("the cause", lambda: compute.work.causes.get(large.group))
        assert found.kind is Kind.UNSCHEDULABLE
        assert "Insufficient cpu" in found.text
        compute.forget(plan)


def test_a_warm_pod_starts_a_plan_soon(compute: Compute, image: FunctionImage) -> None:
    warm = another(image, "warm")
    compute.work.known = {warm.group: warm}
    with Turning(compute.pool(warm=1, idle_s=2.0), pause_s=0.1):
        until("a warm pod", lambda: any(map(ready, compute.workers(warm.group))))
        plan = str(uuid4())
        task = offer(compute, plan, warm)
        began = time.time()
        compute.want(plan, warm)
        done(compute, task)
        took = first_line(compute, task) - began
        say(f"\n  first task of a plan with a warm pod, to the function's first line: {took:.1f} s")
        compute.forget(plan)
        until("another warm pod", lambda: len(compute.workers(warm.group)) >= 1)
    assert took < 10


def ready(pod: Pod) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
