"""The two state machines, as tables that read like orchestrator.md 7.1 and 7.2."""

from collections.abc import Iterable
from typing import TypeAlias

from orchestrator.errors import Denied, IllegalTransition
from protos.orchestrator import computetask_pb2 as task_pb2
from protos.orchestrator import function_pb2
from protos.orchestrator.computetask_pb2 import (
    STATUS_BUILDING,
    STATUS_CANCELED,
    STATUS_DONE,
    STATUS_EXECUTING,
    STATUS_FAILED,
    STATUS_WAITING_FOR_BUILDER_SLOT,
    STATUS_WAITING_FOR_EXECUTOR_SLOT,
    STATUS_WAITING_FOR_PARENT_TASKS,
    ComputeTaskStatus,
)
from protos.orchestrator.function_pb2 import (
    FUNCTION_STATUS_BUILDING,
    FUNCTION_STATUS_CANCELED,
    FUNCTION_STATUS_FAILED,
    FUNCTION_STATUS_READY,
    FUNCTION_STATUS_WAITING,
    FunctionStatus,
)

TaskStatus: TypeAlias = ComputeTaskStatus.ValueType
FnStatus: TypeAlias = FunctionStatus.ValueType

BUILDING = "transitionBuilding"
WAITING_PARENT_TASKS = "transitionWaitingParentTasks"
WAITING_EXECUTOR_SLOT = "transitionWaitingExecutorSlot"
EXECUTING = "transitionExecuting"
DONE = "transitionDone"
FAILED = "transitionFailed"
CANCELED = "transitionCanceled"
READY = "transitionReady"

UNFINISHED: tuple[TaskStatus, ...] = (
    STATUS_WAITING_FOR_BUILDER_SLOT,
    STATUS_BUILDING,
    STATUS_WAITING_FOR_PARENT_TASKS,
    STATUS_WAITING_FOR_EXECUTOR_SLOT,
    STATUS_EXECUTING,
)

TASK_NEXT: dict[tuple[str, TaskStatus], TaskStatus] = {
    (BUILDING, STATUS_WAITING_FOR_BUILDER_SLOT): STATUS_BUILDING,
    (WAITING_PARENT_TASKS, STATUS_BUILDING): STATUS_WAITING_FOR_PARENT_TASKS,
    (WAITING_EXECUTOR_SLOT, STATUS_BUILDING): STATUS_WAITING_FOR_EXECUTOR_SLOT,
    (WAITING_EXECUTOR_SLOT, STATUS_WAITING_FOR_PARENT_TASKS): STATUS_WAITING_FOR_EXECUTOR_SLOT,
    (EXECUTING, STATUS_WAITING_FOR_EXECUTOR_SLOT): STATUS_EXECUTING,
    (DONE, STATUS_EXECUTING): STATUS_DONE,
    **{(FAILED, status): STATUS_FAILED for status in UNFINISHED},
    **{(CANCELED, status): STATUS_CANCELED for status in UNFINISHED},
}

FUNCTION_NEXT: dict[tuple[str, FnStatus], FnStatus] = {
    (BUILDING, FUNCTION_STATUS_WAITING): FUNCTION_STATUS_BUILDING,
    (READY, FUNCTION_STATUS_BUILDING): FUNCTION_STATUS_READY,
    (FAILED, FUNCTION_STATUS_BUILDING): FUNCTION_STATUS_FAILED,
    (CANCELED, FUNCTION_STATUS_WAITING): FUNCTION_STATUS_CANCELED,
    (CANCELED, FUNCTION_STATUS_BUILDING): FUNCTION_STATUS_CANCELED,
}

FUNCTION_ACTIONS: dict[int, str] = {
    function_pb2.FUNCTION_ACTION_BUILDING: BUILDING,
    function_pb2.FUNCTION_ACTION_READY: READY,
    function_pb2.FUNCTION_ACTION_FAILED: FAILED,
    function_pb2.FUNCTION_ACTION_CANCELED: CANCELED,
}

# Which tasks of a function follow it. Unlike in the original, a canceled function takes along the tasks that
# still wait for the builder: nothing else would ever move them (orchestrator.md 14.1).
FOLLOWERS: dict[str, tuple[TaskStatus, ...]] = {
    BUILDING: (STATUS_WAITING_FOR_BUILDER_SLOT,),
    READY: (STATUS_BUILDING,),
    FAILED: (STATUS_BUILDING,),
    CANCELED: (STATUS_BUILDING, STATUS_WAITING_FOR_BUILDER_SLOT),
}

_WORKER_ACTIONS: dict[int, str] = {
    task_pb2.TASK_ACTION_EXECUTING: EXECUTING,
    task_pb2.TASK_ACTION_DONE: DONE,
}
_SHARED_ACTIONS: dict[int, str] = {
    task_pb2.TASK_ACTION_CANCELED: CANCELED,
    task_pb2.TASK_ACTION_FAILED: FAILED,
}


def is_final(status: TaskStatus) -> bool:
    """Final: no transition leads out of it."""
    return status not in UNFINISHED


def move_task(status: TaskStatus, transition: str) -> TaskStatus:
    """The next status.

    Raises:
        IllegalTransition: the table has no row for this pair.
    """
    try:
        return TASK_NEXT[transition, status]
    except KeyError:
        raise IllegalTransition(transition, ComputeTaskStatus.Name(status)) from None


def move_function(status: FnStatus, transition: str) -> FnStatus:
    """The next status.

    Raises:
        IllegalTransition: the table has no row for this pair.
    """
    try:
        return FUNCTION_NEXT[transition, status]
    except KeyError:
        raise IllegalTransition(transition, FunctionStatus.Name(status)) from None


def task_transition(action: int, caller: str, *, owner: str, worker: str) -> str:
    """The transition that `action` asks for, when `caller` may ask for it (orchestrator.md 5.5).

    Raises:
        Denied: the caller may not do this, or nobody may.
    """
    if action in _WORKER_ACTIONS and caller == worker:
        return _WORKER_ACTIONS[action]
    if action in _SHARED_ACTIONS and caller in (owner, worker):
        return _SHARED_ACTIONS[action]
    raise Denied(f'organization "{caller}" is not allowed to perform this action on the task')


def first_status(function: FnStatus, parents: Iterable[TaskStatus]) -> TaskStatus:
    """Status of a new task: the first row of orchestrator.md 7.2 that fits."""
    statuses = set(parents)
    if statuses & {STATUS_FAILED, STATUS_CANCELED}:
        return STATUS_CANCELED
    if function == FUNCTION_STATUS_READY:
        done = statuses <= {STATUS_DONE}
        return STATUS_WAITING_FOR_EXECUTOR_SLOT if done else STATUS_WAITING_FOR_PARENT_TASKS
    return _STATUS_OF_UNREADY[function]


_STATUS_OF_UNREADY: dict[FnStatus, TaskStatus] = {
    FUNCTION_STATUS_WAITING: STATUS_WAITING_FOR_BUILDER_SLOT,
    FUNCTION_STATUS_BUILDING: STATUS_BUILDING,
    FUNCTION_STATUS_FAILED: STATUS_FAILED,
    FUNCTION_STATUS_CANCELED: STATUS_CANCELED,
}
