"""Small stories of a network that end in one way only, whatever dies on the way."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.caller import Caller, task

END_S = 150.0  # generous: a busy machine is slow to start what died
LOOK_S = 0.1
FINAL = {"STATUS_DONE", "STATUS_FAILED", "STATUS_CANCELED"}


@dataclass
class Story:
    """A scenario under way: `tasks` and the status in which each must end; then what else must hold."""

    tasks: dict[str, str]
    check: Callable[[], None] = field(default=lambda: None)


Scenario = Callable[[list[Caller]], Story]


def chain(callers: list[Caller], body: str = "") -> Story:
    """Data, new images, four tasks over two organizations, performances, a transient model.

    `body` is code that each function runs first.
    """
    first, second = callers[0], callers[1]
    data = first.data(4)
    reads, function = first.function(body, data=True), first.function(body)
    plan = first.plan()
    one = task(plan, reads, first.msp_id, data=data)
    two = task(plan, function, second.msp_id, parents=(one["key"],))
    three = task(plan, function, first.msp_id, parents=(two["key"],), transient=True)
    four = task(plan, function, first.msp_id, parents=(one["key"], three["key"]))
    tasks = [one, two, three, four]
    first.tasks(tasks)

    def check() -> None:
        for caller in callers:
            for each, total in zip(tasks, (5, 6, 7, 13), strict=True):
                wait(lambda c=caller, e=each, t=total: _outputs(c, e) == t, "outputs")  # type: ignore[misc]
        (model,) = _assets(first, four["key"], "ASSET_MODEL")
        assert first.ask("GET", f"/model/{model['key']}/file/").text == "13"

    return Story({each["key"]: "STATUS_DONE" for each in tasks}, check)


def _assets(caller: Caller, key: str, kind: str) -> list[Any]:
    results = caller.get(f"/task/{key}/output_assets/").get("results", [])
    return [entry["asset"] for entry in results if entry["kind"] == kind]


def _outputs(caller: Caller, task: dict[str, Any]) -> int | None:
    """The total that the one model and the one performance stand for; None while they are not there."""
    models = _assets(caller, task["key"], "ASSET_MODEL")
    performances = _assets(caller, task["key"], "ASSET_PERFORMANCE")
    if not performances or not models:
        return None
    assert len(models) == 1, models
    assert len(performances) == 1, performances
    value = performances[0]
    value = value["performance_value"] if isinstance(value, dict) else value
    return round(float(value) / 10)


def failure(callers: list[Caller]) -> Story:
    """A function that raises: its task fails with a log, and its child waits for ever, as the ledger has it.

    It runs long enough for a heartbeat.
    """
    first, second = callers[0], callers[1]
    function = first.function("time.sleep(2.5)\nraise ValueError('no luck')")
    plan = first.plan()
    parent = task(plan, function, second.msp_id)
    child = task(plan, function, second.msp_id, parents=(parent["key"],))
    first.tasks([parent, child])

    def check() -> None:
        wait(
            lambda: "ValueError: no luck" in first.ask("GET", f"/task/{parent['key']}/logs/").text,
            "the log",
        )
        assert second.get(f"/task/{parent['key']}/")["error_type"] == "EXECUTION_ERROR"
        assert second.status("task", child["key"]) == "STATUS_WAITING_FOR_PARENT_TASKS"

    return Story({parent["key"]: "STATUS_FAILED"}, check)


def broken_image(callers: list[Caller]) -> Story:
    """A build that fails: the function and its task fail, and the log can be read."""
    first = callers[0]
    function = first.function(run="RUN no-such-command")
    plan = first.plan()
    only = task(plan, function, first.msp_id)
    first.tasks([only])

    def check() -> None:
        wait(lambda: first.status("function", function) == "FUNCTION_STATUS_FAILED", "it fails")
        wait(
            lambda: "no-such-command" in first.ask("GET", f"/logs/{function}/file/").text, "the log"
        )

    return Story({only["key"]: "STATUS_FAILED"}, check)


def cancel(callers: list[Caller]) -> Story:
    """A plan that is canceled while its first task runs."""
    first = callers[0]
    function = first.function("time.sleep(120)")
    plan = first.plan()
    one = task(plan, function, first.msp_id)
    two = task(plan, function, callers[1].msp_id, parents=(one["key"],))
    first.tasks([one, two])
    wait(lambda: first.status("task", one["key"]) == "STATUS_EXECUTING", "it runs")
    answer = first.ask("POST", f"/compute_plan/{plan}/cancel/")
    # refused: an earlier try whose answer was lost had come through
    assert answer.status_code == 200 or "OE0109" in answer.text or "CANCELED" in answer.text, (
        answer.text
    )
    return Story({one["key"]: "STATUS_CANCELED", two["key"]: "STATUS_CANCELED"})


def renames(callers: list[Caller]) -> Story:
    """Names of a function, a data manager and a plan change, and everybody hears of it."""
    first = callers[0]
    plan, function, manager = first.plan(), first.function(), first.data_manager()
    for path in (f"/compute_plan/{plan}/", f"/function/{function}/", f"/data_manager/{manager}/"):
        answer = first.ask("PUT", path, json={"name": "renamed"})
        assert answer.status_code == 200, answer.text

    def check() -> None:
        for caller in callers:
            for path in (f"/function/{function}/", f"/data_manager/{manager}/"):
                wait(lambda c=caller, p=path: c.get(p).get("name") == "renamed", f"name {path}")  # type: ignore[misc]
        wait(lambda: first.status("function", function) == "FUNCTION_STATUS_READY", "it is built")

    return Story({}, check)


SCENARIOS: dict[str, Scenario] = {
    "chain": chain,
    "failure": failure,
    "broken image": broken_image,
    "cancel": cancel,
    "renames": renames,
}


def finish(story: Story, callers: list[Caller]) -> None:
    """Wait for the end, then check it. Raises AssertionError."""
    for key, status in story.tasks.items():
        for caller in callers:
            wait(lambda c=caller, k=key: c.status("task", k) in FINAL, f"task {key} ends")  # type: ignore[misc]
            found = caller.status("task", key)
            assert found == status, f"task {key} is {found} at {caller.msp_id}, not {status}"
    story.check()


def wait(
    condition: Callable[[], Any], what: str, timeout_s: float = END_S, look_s: float = LOOK_S
) -> None:
    """Raises AssertionError when it does not come true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s:.0f} s"
        time.sleep(look_s)
