"""A function that imports scikit-learn and pandas: what a task of it costs above its own work.

The function times its own work, after its imports, and puts the seconds out as its performance; the rest of the
step `task_execution` is ours: the fork, the imports that a zygote has made already, the end of the process.
"""

import statistics
from typing import Any

from bench.embedded import Embedded
from bench.table import Figure
from tests.chaos.caller import Caller, task
from tests.chaos.scenarios import wait

TASKS = 12
COLD = 2
"""The first tasks are not counted: imports are learned from one, and made while the next one runs."""
GOAL_MS = 15.0
SCORE_OF_A_SECOND = 10.0
INSTALL = "RUN python -m pip install scikit-learn pandas"
IMPORTS = "import numpy, pandas, sklearn.linear_model"
BODY = f"""{IMPORTS}
began = time.perf_counter()
frame = pandas.DataFrame(numpy.random.default_rng(1).normal(size=(2000, 8)))
sklearn.linear_model.LogisticRegression().fit(frame, frame[0] > 0)
total = time.perf_counter() - began
"""


def figures(network: Embedded) -> list[Figure]:
    """A warm task, and beside it the first one, whose process imports all by itself."""
    caller = network.callers()[0]
    plan, function = caller.plan(), caller.function(BODY, INSTALL)
    tasks: list[dict[str, Any]] = []
    for _ in range(TASKS):
        parents = (tasks[-1]["key"],) if tasks else ()
        tasks.append(task(plan, function, caller.msp_id, parents))
    caller.tasks(tasks)
    wait(lambda: caller.status("task", tasks[-1]["key"]) == "STATUS_DONE", "the plan ends", 600)
    above = statistics.median(_above_ms(caller, each["key"]) for each in tasks[COLD:])
    name = "function with scikit-learn and pandas, above its own work"
    return [
        Figure(name, "ms", above, goal=GOAL_MS),
        Figure("... its first task, which imports them", "ms", _above_ms(caller, tasks[0]["key"])),
    ]


def _above_ms(caller: Caller, key: str) -> float:
    """The execution step without the function's own work."""
    rundown = caller.get(f"/task_profiling/{key}/")["execution_rundown"]
    steps = {step["step"]: float(step["duration"]) / 1000 for step in rundown}
    results = caller.get(f"/task/{key}/output_assets/")["results"]
    (score,) = (entry["asset"] for entry in results if entry["kind"] == "ASSET_PERFORMANCE")
    score = score["performance_value"] if isinstance(score, dict) else score
    return steps["task_execution"] - 1000 * float(score) / SCORE_OF_A_SECOND
