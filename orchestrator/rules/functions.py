"""Functions and their build, and the tasks that follow it (orchestrator.md 6.2, 7.1, 7.4)."""

from collections.abc import Mapping

from google.protobuf.message import Message

from orchestrator import validation as v
from orchestrator.errors import BadRequest, Conflict, Denied, NotFound
from orchestrator.identity import Caller
from orchestrator.needs import Needs
from orchestrator.rules import permissions, states
from orchestrator.rules.assets import check_registered, failed_plan
from orchestrator.state import (
    Change,
    Decision,
    Known,
    Moment,
    MoveTask,
    NewEvent,
    Put,
    TakeAddress,
    Task,
)
from protos.orchestrator.common_pb2 import (
    ASSET_COMPUTE_PLAN,
    ASSET_COMPUTE_TASK,
    ASSET_DATA_MANAGER,
    ASSET_DATA_SAMPLE,
    ASSET_FUNCTION,
    ASSET_MODEL,
    ASSET_PERFORMANCE,
    Addressable,
)
from protos.orchestrator.event_pb2 import EVENT_ASSET_CREATED, EVENT_ASSET_UPDATED
from protos.orchestrator.function_pb2 import (
    FUNCTION_STATUS_WAITING,
    ApplyFunctionActionParam,
    ApplyFunctionActionResponse,
    Function,
    FunctionInput,
    FunctionOutput,
    NewFunction,
    UpdateFunctionParam,
    UpdateFunctionResponse,
)

FUNCTION = "function"
USER_ACTION = "User action"


def register_function_needs(request: NewFunction, known: Known, needs: Needs) -> None:
    needs.new(ASSET_FUNCTION, request.key)
    needs.address((request.description.storage_address, request.archive.storage_address))


def register_function(known: Known, caller: Caller, request: NewFunction, now: Moment) -> Decision:
    _validate(request)
    if known.is_taken(ASSET_FUNCTION, request.key):
        raise Conflict(FUNCTION, request.key)
    given = permissions.build_both(
        request.new_permissions, caller.organization, known.organizations
    )
    check_registered(known, caller)
    addresses = (request.description.storage_address, request.archive.storage_address)
    known.check_addresses(addresses)
    function = Function(
        key=request.key,
        name=request.name,
        description=request.description,
        archive=request.archive,
        permissions=given,
        owner=caller.organization,
        creation_date=now.wire,
        metadata=request.metadata,
        inputs=request.inputs,
        outputs=request.outputs,
        status=FUNCTION_STATUS_WAITING,
        image=Addressable(),
    )
    return Decision(
        function,
        [Put(ASSET_FUNCTION, function.key, function), *map(TakeAddress, addresses)],
        [NewEvent(ASSET_FUNCTION, EVENT_ASSET_CREATED, function.key, function)],
    )


def update_function_needs(request: UpdateFunctionParam, known: Known, needs: Needs) -> None:
    needs.document(ASSET_FUNCTION, request.key)


def update_function(
    known: Known, caller: Caller, request: UpdateFunctionParam, now: Moment
) -> Decision:
    """Name and, when it has a checksum, image. A READY function without image keeps being nameable."""
    v.check(
        FUNCTION,
        {
            "key": v.key(request.key),
            "name": v.name(request.name),
            "image": _image(request.image),
        },
    )
    changed = own_function(known, caller, request.key)
    changed.name = request.name
    changes: list[Change] = [Put(ASSET_FUNCTION, changed.key, changed, new=False)]
    if request.image.checksum:
        changed.image.CopyFrom(request.image)
        if request.image.storage_address:
            changes.append(TakeAddress(request.image.storage_address, shared=True))
    return Decision(
        UpdateFunctionResponse(),
        changes,
        [NewEvent(ASSET_FUNCTION, EVENT_ASSET_UPDATED, changed.key, changed)],
    )


def function_action_needs(request: ApplyFunctionActionParam, known: Known, needs: Needs) -> None:
    needs.document(ASSET_FUNCTION, request.function_key)
    if v.is_key(request.function_key):
        needs.builds.add(request.function_key)


def function_action_plans(request: ApplyFunctionActionParam, known: Known, needs: Needs) -> None:
    followers_plans(known, request.function_key, needs)


def apply_function_action(
    known: Known, caller: Caller, request: ApplyFunctionActionParam, now: Moment
) -> Decision:
    transition = states.FUNCTION_ACTIONS.get(request.action)
    if transition is None:
        raise BadRequest(f"function action {request.action} is not supported")
    v.stored_key(FUNCTION, request.function_key)
    return move(
        known,
        own_function(known, caller, request.function_key),
        transition,
        USER_ACTION,
        now,
        answer=ApplyFunctionActionResponse(),
    )


def own_function(known: Known, caller: Caller, key: str) -> Function:
    """A copy of the caller's function.

    Raises:
        NotFound, Denied: there is none, or it is another organization's.
    """
    function = known.function(key)
    if function is None:
        raise NotFound(FUNCTION, key)
    if function.owner != caller.organization:
        raise Denied("only the owner of a function can change it")
    copy = Function()
    copy.CopyFrom(function)
    return copy


def followers_plans(known: Known, function: str, needs: Needs) -> None:
    """Plans that the function's tasks would fail with it."""
    tasks = known.builds.get(function, ())
    needs.document(ASSET_COMPUTE_PLAN, *{known.tasks[key].plan for key in tasks})


def move(
    known: Known, function: Function, transition: str, reason: str, now: Moment, *, answer: Message
) -> Decision:
    """Move a function (a copy that may be changed) and, as one set, the tasks that follow it."""
    function.status = states.move_function(function.status, transition)
    decision = Decision(
        answer,
        [Put(ASSET_FUNCTION, function.key, function, new=False)],
        [NewEvent(ASSET_FUNCTION, EVENT_ASSET_UPDATED, function.key, function, reason)],
    )
    if transition == states.READY:
        reason = f"Function {function.key} finished building"
    followed = states.FOLLOWERS[transition]
    failed: dict[str, None] = {}
    for key in known.builds.get(function.key, ()):
        task = known.tasks[key]
        if task.status not in followed:
            continue
        status = states.move_task(task.status, _task_transition(transition, task))
        decision.changes.append(MoveTask(key, status, task.pending))
        decision.events.append(moved_event(task, status, reason, slim=True))
        if transition == states.FAILED:
            failed[task.plan] = None
    for plan in failed:
        decision.changes.extend(failed_plan(known, plan, now))
    return decision


def moved_event(
    task: Task, status: states.TaskStatus, reason: str, *, slim: bool = False
) -> NewEvent:
    """A task's new status. Tasks moved by something else than a call on them are told without their inputs."""
    return NewEvent(
        ASSET_COMPUTE_TASK,
        EVENT_ASSET_UPDATED,
        task.key,
        reason=reason,
        task=task,
        status=status,
        slim=slim,
    )


def _task_transition(function_transition: str, task: Task) -> str:
    if function_transition != states.READY:
        return function_transition
    return states.WAITING_PARENT_TASKS if task.pending else states.WAITING_EXECUTOR_SLOT


# ------------------------------------------------------------------ validation
def _validate(request: NewFunction) -> None:
    v.check(
        FUNCTION,
        {
            "key": v.key(request.key),
            "name": v.name(request.name),
            "description": v.required_addressable(request, "description"),
            "archive": v.required_addressable(request, "archive"),
            "new_permissions": v.required(request, "new_permissions"),
            "metadata": v.metadata(request.metadata),
            "inputs": _inputs(request.inputs),
            "outputs": _outputs(request.outputs),
        },
    )


def _inputs(inputs: Mapping[str, FunctionInput]) -> v.Reason:
    reasons: dict[str, v.Reason] = {}
    kinds = [declared.kind for declared in inputs.values()]
    for identifier, declared in inputs.items():
        reasons[identifier] = v.name(identifier)
        if declared.kind not in (ASSET_MODEL, ASSET_DATA_SAMPLE, ASSET_DATA_MANAGER):
            reasons[identifier] = "kind must be a model, a data sample or a data manager"
        elif declared.kind == ASSET_DATA_MANAGER and (declared.multiple or declared.optional):
            reasons[identifier] = "a data manager can be neither multiple nor optional"
    if found := v.nested(reasons):
        return found
    if kinds.count(ASSET_DATA_MANAGER) > 1:
        return "at most one data manager is allowed"
    if (ASSET_DATA_MANAGER in kinds) != (ASSET_DATA_SAMPLE in kinds):
        return "data manager and data samples come together"
    return None


def _outputs(outputs: Mapping[str, FunctionOutput]) -> v.Reason:
    reasons: dict[str, v.Reason] = {}
    for identifier, declared in outputs.items():
        reasons[identifier] = v.name(identifier)
        if declared.kind not in (ASSET_MODEL, ASSET_PERFORMANCE):
            reasons[identifier] = "kind must be a model or a performance"
        elif declared.kind == ASSET_PERFORMANCE and declared.multiple:
            reasons[identifier] = "a performance cannot be multiple"
    return v.nested(reasons)


def _image(image: Addressable) -> v.Reason:
    """The original leaves the image unchecked; only what could not be stored is refused."""
    for text in (image.checksum, image.storage_address):
        if len(text) > v.ADDRESS_LENGTH or "\x00" in text:
            return f"must be no more than {v.ADDRESS_LENGTH} characters"
    return None
