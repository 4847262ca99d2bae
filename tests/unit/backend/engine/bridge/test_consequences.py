"""Which work a batch of events asks of an organization."""

from uuid import uuid4

from backend.assets.apply import Applied, DisabledModel, FunctionEvent
from backend.assets.tasks.states import TaskState, TaskStatus
from backend.engine.bridge.consequences import wanted
from backend.engine.compute.tables import Kind

ME, OTHER = "MyOrg1MSP", "MyOrg2MSP"


def task(worker: str, status: TaskStatus) -> TaskState:
    return TaskState(uuid4(), uuid4(), uuid4(), OTHER, worker, 0, status)


def function(owner: str, status: str) -> FunctionEvent:
    return FunctionEvent(uuid4(), owner, status, created=True)


def test_only_our_ready_tasks_become_work() -> None:
    ready = TaskStatus.WAITING_FOR_EXECUTOR_SLOT
    ours, theirs = task(ME, ready), task(OTHER, ready)
    early, over = task(ME, TaskStatus.WAITING_FOR_PARENT_TASKS), task(ME, TaskStatus.DONE)
    (work,) = wanted(Applied(tasks=[ours, theirs, early, over]), ME, "mychannel", {})
    assert (work.kind, work.key) == (Kind.TASK, ours.key)
    assert (work.compute_plan_key, work.channel) == (ours.compute_plan, "mychannel")


def test_a_task_that_needs_no_preparation_carries_its_lease() -> None:
    here, elsewhere = (task(ME, TaskStatus.WAITING_FOR_EXECUTOR_SLOT) for _ in range(2))
    offers = {here.key: {"rank": 3}}
    first, second = wanted(Applied(tasks=[here, elsewhere]), ME, "mychannel", offers)
    assert (first.offer, second.offer) == ({"rank": 3}, None)


def test_only_our_waiting_functions_are_built_in_the_order_of_the_stream() -> None:
    first, second = (function(ME, "FUNCTION_STATUS_WAITING") for _ in range(2))
    others = [function(OTHER, "FUNCTION_STATUS_WAITING"), function(ME, "FUNCTION_STATUS_READY")]
    works = wanted(Applied(functions=[first, *others, second]), ME, "mychannel", {})
    assert [(work.kind, work.key) for work in works] == [
        (Kind.BUILD, first.key),
        (Kind.BUILD, second.key),
    ]


def test_canceled_plans_and_disabled_models_of_anybody_are_work() -> None:
    plan, model = uuid4(), DisabledModel(uuid4(), OTHER, uuid4())
    works = wanted(Applied(plans_canceled=[plan], models_disabled=[model]), ME, "mychannel", {})
    assert {(work.kind, work.key) for work in works} == {
        (Kind.CANCEL, plan),
        (Kind.DELETE, model.key),
    }
