"""RegisterTasks: a batch of new tasks, all or none (orchestrator.md 6.5)."""

from collections import deque
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator import validation as v
from orchestrator.errors import BadRequest, Conflict, Denied, Invalid, NotFound
from orchestrator.identity import Caller
from orchestrator.needs import Needs
from orchestrator.rules import permissions, states
from orchestrator.rules.assets import PLAN, failed_plan
from orchestrator.rules.functions import FUNCTION
from orchestrator.rules.inputs import check_inputs, check_outputs, data_manager_key
from orchestrator.rules.outputs import TASK
from orchestrator.state import AddTask, Decision, Known, Moment, NewEvent, Task
from protos.orchestrator.common_pb2 import (
    ASSET_COMPUTE_PLAN,
    ASSET_COMPUTE_TASK,
    ASSET_DATA_MANAGER,
    ASSET_DATA_SAMPLE,
    ASSET_FUNCTION,
    ASSET_MODEL,
    Permission,
)
from protos.orchestrator.computetask_pb2 import (
    STATUS_DONE,
    STATUS_FAILED,
    ComputeTask,
    ComputeTaskInput,
    ComputeTaskOutput,
    NewComputeTask,
    RegisterTasksParam,
    RegisterTasksResponse,
)
from protos.orchestrator.datamanager_pb2 import DataManager
from protos.orchestrator.event_pb2 import EVENT_ASSET_CREATED

_INPUT_KINDS = (ASSET_MODEL, ASSET_DATA_SAMPLE, ASSET_DATA_MANAGER)


# ------------------------------------------------------------------ what has to be known
def register_tasks_needs(request: RegisterTasksParam, known: Known, needs: Needs) -> None:
    batch = {new.key for new in request.tasks}
    needs.new(ASSET_COMPUTE_TASK, *batch)
    for new in request.tasks:
        needs.document(ASSET_COMPUTE_PLAN, new.compute_plan_key)
        needs.document(ASSET_FUNCTION, new.function_key)
        for reference in new.inputs:
            if reference.WhichOneof("ref") == "parent_task_output":
                parent = reference.parent_task_output.parent_task_key
                if parent not in batch:
                    needs.task(parent)


def register_tasks_assets(request: RegisterTasksParam, known: Known, needs: Needs) -> None:
    """Second round: the functions say which kind of asset each key is.

    A function that is not there may be registered earlier in the same group: then it may be any kind.
    """
    for new in request.tasks:
        function = known.function(new.function_key)
        for reference in new.inputs:
            if reference.WhichOneof("ref") == "parent_task_output":
                parent = known.tasks.get(reference.parent_task_output.parent_task_key)
                if parent is not None:
                    needs.document(ASSET_FUNCTION, parent.function)
            elif function is None:
                for kind in _INPUT_KINDS:
                    needs.document(kind, reference.asset_key)
            elif reference.identifier in function.inputs:
                kind = function.inputs[reference.identifier].kind
                if kind in _INPUT_KINDS:
                    needs.document(kind, reference.asset_key)


# ------------------------------------------------------------------ the batch
@dataclass(slots=True)
class Batch:
    """The batch while it grows: tasks of it count as parents of later ones."""

    known: Known
    caller: Caller
    created: Timestamp
    answer: RegisterTasksResponse = field(default_factory=RegisterTasksResponse)
    added: dict[str, Task] = field(default_factory=dict)
    messages: dict[str, ComputeTask] = field(default_factory=dict)
    """Wire forms of new tasks and of parents, parsed once a batch."""
    plans: set[str] = field(default_factory=set)
    """Plans that the caller owns."""

    def task(self, key: str) -> tuple[Task, ComputeTask] | None:
        """A task of the batch or of the channel, with its wire form."""
        task = self.added.get(key) or self.known.tasks.get(key)
        if task is None:
            return None
        message = self.messages.get(key)
        if message is None:
            message = task.message
            if message is None:
                return None
            self.messages[key] = message
        return task, message


def register_tasks(
    known: Known, caller: Caller, request: RegisterTasksParam, now: Moment
) -> Decision:
    """Answer and events come in topological order, not in the request's."""
    if not request.tasks:
        raise BadRequest("no tasks to register")
    keys: set[str] = set()
    for new in request.tasks:
        _validate(new)
    for new in request.tasks:
        if new.key in keys or known.is_taken(ASSET_COMPUTE_TASK, new.key):
            raise Conflict(TASK, new.key)
        keys.add(new.key)
    batch = Batch(known, caller, now.wire)
    decision = Decision(batch.answer)
    for new, parents in topological(request.tasks, known.tasks.keys()):
        task = _decide(batch, new, parents)
        batch.added[task.key] = task
        decision.changes.append(AddTask(task, parents, now.at))
        decision.events.append(
            NewEvent(
                ASSET_COMPUTE_TASK, EVENT_ASSET_CREATED, task.key, task=task, status=task.status
            )
        )
    # A task that is born FAILED fails its plan like any other: otherwise nothing would ever end the plan.
    for plan in dict.fromkeys(t.plan for t in batch.added.values() if t.status == STATUS_FAILED):
        decision.changes.extend(failed_plan(known, plan, now))
    return decision


def parent_keys(inputs: Iterable[ComputeTaskInput]) -> tuple[str, ...]:
    """Distinct parents, in the order of the inputs."""
    parents = (
        reference.parent_task_output.parent_task_key
        for reference in inputs
        if reference.WhichOneof("ref") == "parent_task_output"
    )
    return tuple(dict.fromkeys(parents))


def topological(
    tasks: Sequence[NewComputeTask], stored: Container[str]
) -> Iterator[tuple[NewComputeTask, tuple[str, ...]]]:
    """Kahn's order, breadth first: tasks without parents in the batch first, in request order; each with its
    distinct parents.

    Raises:
        Invalid: some tasks are on a cycle or have a parent that nobody knows; says how many.
    """
    batch = {new.key: (new, parent_keys(new.inputs)) for new in tasks}
    children: dict[str, list[str]] = {}
    missing: dict[str, int] = {}
    ready: deque[str] = deque()
    for name, (_, parents) in batch.items():
        waits_for = [parent for parent in parents if parent in batch]
        unknown = sum(parent not in batch and parent not in stored for parent in parents)
        missing[name] = len(waits_for) + unknown
        for parent in waits_for:
            children.setdefault(parent, []).append(name)
        if not missing[name]:
            ready.append(name)
    order: list[tuple[NewComputeTask, tuple[str, ...]]] = []
    while ready:
        key = ready.popleft()
        order.append(batch[key])
        for child in children.get(key, ()):
            missing[child] -= 1
            if not missing[child]:
                ready.append(child)
    if len(order) != len(tasks):
        left = len(tasks) - len(order)
        raise Invalid(f"cyclic dependency or unknown parent in compute graph: {left} tasks left")
    return iter(order)


# ------------------------------------------------------------------ one task
def _decide(batch: Batch, new: NewComputeTask, parent_names: tuple[str, ...]) -> Task:
    known, caller = batch.known, batch.caller
    plan = new.compute_plan_key
    if plan not in batch.plans:
        _check_plan(known, caller, plan)
        batch.plans.add(plan)
    found = [one for name in parent_names if (one := batch.task(name))]
    parents = [task for task, _ in found]
    function = known.function(new.function_key)
    if function is None:
        raise NotFound(FUNCTION, new.function_key)
    if not permissions.allows(function.permissions.process, caller.organization):
        raise Denied(
            f'organization "{caller.organization}" cannot process function "{function.key}"'
        )
    status = states.first_status(function.status, [parent.status for parent in parents])
    for parent in parents:
        if parent.status == STATUS_DONE and parent.has_disabled:
            raise Invalid(f'some model of parent task "{parent.key}" has been disabled')
    outputs = _build_outputs(known, caller, new)
    manager_key = data_manager_key(function, new.inputs)
    manager = known.data_manager(manager_key) if manager_key else None
    worker = _worker(known, new, manager_key, manager)
    logs = _logs_permission(caller, manager, [form for _, form in found])
    check_inputs(known, caller, batch.task, function, new.inputs, worker)
    check_outputs(function, new.outputs)
    message = batch.answer.tasks.add(
        key=new.key,
        owner=caller.organization,
        compute_plan_key=plan,
        rank=max((parent.rank + 1 for _, parent in found), default=0),
        worker=worker,
        creation_date=batch.created,
        logs_permission=logs,
        metadata=new.metadata,
        inputs=new.inputs,
        outputs=outputs,
        function_key=function.key,
    )
    document = message.SerializeToString()
    message.status = status
    batch.messages[new.key] = message
    return Task(
        key=new.key,
        owner=caller.organization,
        worker=worker,
        plan=plan,
        function=function.key,
        status=status,
        pending=sum(parent.status != STATUS_DONE for parent in parents),
        has_disabled=False,
        document=document,
        children=[],
        links={},
    )


def _check_plan(known: Known, caller: Caller, key: str) -> None:
    plan = known.plan(key)
    if plan is None:
        raise NotFound(PLAN, key)
    if plan.owner != caller.organization:
        raise Denied("only the owner of a compute plan can add tasks to it")


def _build_outputs(
    known: Known, caller: Caller, new: NewComputeTask
) -> Mapping[str, ComputeTaskOutput]:
    return {
        identifier: ComputeTaskOutput(
            permissions=permissions.build_both(
                output.permissions, caller.organization, known.organizations
            ),
            transient=output.transient,
        )
        for identifier, output in new.outputs.items()
    }


def _worker(
    known: Known, new: NewComputeTask, manager_key: str | None, manager: DataManager | None
) -> str:
    """The data's owner when there is data, else who is named."""
    worker = new.worker
    if manager_key:
        if manager is None:
            raise NotFound("datamanager", manager_key)
        if worker not in ("", manager.owner):
            raise BadRequest("the worker of a task must be the owner of its data manager")
        worker = manager.owner
    if not worker:
        raise BadRequest("a task without data manager needs a worker")
    if worker not in known.organizations:
        raise NotFound("organization", worker)
    return worker


def _logs_permission(
    caller: Caller, manager: DataManager | None, parents: Iterable[ComputeTask]
) -> Permission:
    """The data manager's, else the union of the parents' and of the owner alone."""
    if manager is not None:
        return manager.logs_permission
    permission = Permission(authorized_ids=[caller.organization])
    for parent in parents:
        permission = permissions.union(permission, parent.logs_permission)
    return permission


# ------------------------------------------------------------------ validation
def _validate(new: NewComputeTask) -> None:
    outputs: dict[str, v.Reason] = {}
    for identifier, output in new.outputs.items():
        reason = v.name(identifier) or v.required(output, "permissions")
        outputs[identifier] = reason
    v.check(
        TASK,
        {
            "key": v.key(new.key),
            "function_key": v.key(new.function_key),
            "compute_plan_key": v.key(new.compute_plan_key),
            "metadata": v.metadata(new.metadata),
            "inputs": v.nested(
                {str(n): _input(reference) for n, reference in enumerate(new.inputs)}
            ),
            "outputs": v.nested(outputs),
        },
    )


def _input(reference: ComputeTaskInput) -> v.Reason:
    if reason := v.name(reference.identifier):
        return f"(identifier: {reason}.)"
    match reference.WhichOneof("ref"):
        case "asset_key":
            reason = v.key(reference.asset_key)
            return f"(asset_key: {reason}.)" if reason else None
        case "parent_task_output":
            parent = reference.parent_task_output
            return v.nested(
                {
                    "parent_task_key": v.key(parent.parent_task_key),
                    "output_identifier": v.name(parent.output_identifier),
                }
            )
    return f"(ref: {v.BLANK}.)"
