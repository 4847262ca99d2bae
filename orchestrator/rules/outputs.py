"""What a task leaves: models, performances, the end of transient outputs (orchestrator.md 6.6, 8)."""

from orchestrator import validation as v
from orchestrator.errors import (
    BadRequest,
    CannotDisable,
    Conflict,
    Denied,
    NotFound,
    UnknownOutput,
    WrongOutputKind,
)
from orchestrator.identity import Caller
from orchestrator.needs import Needs
from orchestrator.rules import states
from orchestrator.rules.assets import check_registered
from orchestrator.state import (
    Decision,
    FreeAddress,
    Kind,
    Known,
    Link,
    MarkDisabled,
    Moment,
    NewEvent,
    Put,
    TakeAddress,
    Task,
)
from protos.orchestrator.common_pb2 import (
    ASSET_COMPUTE_TASK_OUTPUT_ASSET,
    ASSET_FUNCTION,
    ASSET_MODEL,
    ASSET_PERFORMANCE,
)
from protos.orchestrator.computetask_pb2 import (
    STATUS_EXECUTING,
    ComputeTask,
    ComputeTaskOutputAsset,
    DisableOutputParam,
    DisableOutputResponse,
)
from protos.orchestrator.event_pb2 import EVENT_ASSET_CREATED, EVENT_ASSET_DISABLED
from protos.orchestrator.function_pb2 import FunctionOutput
from protos.orchestrator.model_pb2 import (
    Model,
    NewModel,
    RegisterModelsParam,
    RegisterModelsResponse,
)
from protos.orchestrator.performance_pb2 import NewPerformance, Performance

TASK = "computetask"
MODEL = "model"
PERFORMANCE = "performance"


def loaded(known: Known, key: str) -> tuple[Task, ComputeTask]:
    """A task and its wire form.

    Raises:
        NotFound: the channel has no such task.
    """
    task = stored_task(known, key)
    message = task.message
    assert message is not None
    return task, message


def stored_task(known: Known, key: str) -> Task:
    """A task of the channel.

    Raises:
        NotFound: there is none of this key.
    """
    task = known.tasks.get(key)
    if task is None or task.document is None:
        raise NotFound(TASK, key)
    return task


# ------------------------------------------------------------------ models
def register_models_needs(request: RegisterModelsParam, known: Known, needs: Needs) -> None:
    for new in request.models:
        _model_needs(new, needs)


def register_models_functions(request: RegisterModelsParam, known: Known, needs: Needs) -> None:
    for new in request.models:
        _function_of(known, new.compute_task_key, needs)


def register_models(
    known: Known, caller: Caller, request: RegisterModelsParam, now: Moment
) -> Decision:
    if not request.models:
        raise BadRequest("no models to register")
    first = request.models[0].compute_task_key
    answer = RegisterModelsResponse()
    decision = Decision(answer)
    keys: set[str] = set()
    counts: dict[str, int] = {}
    message = ComputeTask()
    for new in request.models:
        task = stored_task(known, new.compute_task_key)
        if task.key != first:
            raise BadRequest("all models of a request must come from one task")
        if not answer.models:
            message = task.message or message
        _validate_model(new)
        declared = _declared(known, caller, task, message, new.compute_task_output_identifier)
        model = _model(known, caller, task, message, new, declared, counts, now)
        if model.key in keys:
            raise Conflict(MODEL, model.key)
        keys.add(model.key)
        position = counts[new.compute_task_output_identifier] - 1
        answer.models.append(model)
        _register(decision, task, new.compute_task_output_identifier, position, model)
    check_registered(known, caller)
    known.check_addresses(new.address.storage_address for new in request.models)
    return decision


def register_model_needs(request: NewModel, known: Known, needs: Needs) -> None:
    _model_needs(request, needs)


def register_model_function(request: NewModel, known: Known, needs: Needs) -> None:
    _function_of(known, request.compute_task_key, needs)


def register_model(known: Known, caller: Caller, request: NewModel, now: Moment) -> Decision:
    decision = register_models(known, caller, RegisterModelsParam(models=[request]), now)
    answer = decision.answer
    assert isinstance(answer, RegisterModelsResponse)
    return Decision(answer.models[0], decision.changes, decision.events)


def _model(
    known: Known,
    caller: Caller,
    task: Task,
    message: ComputeTask,
    new: NewModel,
    declared: FunctionOutput,
    counts: dict[str, int],
    now: Moment,
) -> Model:
    identifier = new.compute_task_output_identifier
    if declared.kind != ASSET_MODEL:
        raise WrongOutputKind(f'output "{identifier}" of task "{task.key}" is not a model')
    stored = counts.setdefault(identifier, len((task.links or {}).get(identifier, ())))
    if stored and not declared.multiple:
        raise Conflict(f'asset for output "{identifier}" of computetask', task.key)
    if known.is_taken(ASSET_MODEL, new.key):
        raise Conflict(MODEL, new.key)
    counts[identifier] += 1
    return Model(
        key=new.key,
        compute_task_key=task.key,
        address=new.address,
        permissions=message.outputs[identifier].permissions,
        owner=caller.organization,
        creation_date=now.wire,
    )


def _register(decision: Decision, task: Task, identifier: str, position: int, model: Model) -> None:
    decision.changes += [
        Put(ASSET_MODEL, model.key, model),
        TakeAddress(model.address.storage_address),
        Link(task.key, identifier, position, ASSET_MODEL, model.key),
    ]
    decision.events += [
        NewEvent(ASSET_MODEL, EVENT_ASSET_CREATED, model.key, model),
        _output_event(task, identifier, ASSET_MODEL, model.key),
    ]


def _model_needs(new: NewModel, needs: Needs) -> None:
    needs.new(ASSET_MODEL, new.key)
    needs.address((new.address.storage_address,))
    _task_needs(new.compute_task_key, needs)


def _validate_model(new: NewModel) -> None:
    v.check(
        MODEL,
        {
            "key": v.key(new.key),
            "compute_task_key": v.key(new.compute_task_key),
            "compute_task_output_identifier": v.name(new.compute_task_output_identifier),
            "address": v.required_addressable(new, "address"),
        },
    )


# ------------------------------------------------------------------ performances
def register_performance_needs(request: NewPerformance, known: Known, needs: Needs) -> None:
    _task_needs(request.compute_task_key, needs)


def register_performance_function(request: NewPerformance, known: Known, needs: Needs) -> None:
    _function_of(known, request.compute_task_key, needs)


def register_performance(
    known: Known, caller: Caller, request: NewPerformance, now: Moment
) -> Decision:
    identifier = request.compute_task_output_identifier
    v.check(
        PERFORMANCE,
        {
            "compute_task_key": v.key(request.compute_task_key),
            "compute_task_output_identifier": v.name(identifier),
        },
    )
    task, message = loaded(known, request.compute_task_key)
    declared = _declared(known, caller, task, message, identifier)
    if declared.kind != ASSET_PERFORMANCE:
        raise WrongOutputKind(f'output "{identifier}" of task "{task.key}" is not a performance')
    key = f"{task.key}|{identifier}"
    if (task.links or {}).get(identifier):
        raise Conflict(PERFORMANCE, key)
    performance = Performance(
        compute_task_key=task.key,
        compute_task_output_identifier=identifier,
        performance_value=request.performance_value,
        creation_date=now.wire,
    )
    return Decision(
        performance,
        [
            Put(ASSET_PERFORMANCE, key, performance),
            Link(task.key, identifier, 0, ASSET_PERFORMANCE, key),
        ],
        [
            NewEvent(ASSET_PERFORMANCE, EVENT_ASSET_CREATED, key, performance),
            _output_event(task, identifier, ASSET_PERFORMANCE, key),
        ],
    )


# ------------------------------------------------------------------ transient outputs
def disable_output_needs(request: DisableOutputParam, known: Known, needs: Needs) -> None:
    _task_needs(request.compute_task_key, needs)
    if v.is_key(request.compute_task_key):
        needs.children.add(request.compute_task_key)


def disable_output_models(request: DisableOutputParam, known: Known, needs: Needs) -> None:
    for link in _links(known.tasks.get(request.compute_task_key), request.identifier):
        if link.kind == ASSET_MODEL:
            needs.document(ASSET_MODEL, link.asset_key)


def disable_output(
    known: Known, caller: Caller, request: DisableOutputParam, now: Moment
) -> Decision:
    """Give up the models of a transient output. A second call succeeds and says nothing."""
    v.stored_key(TASK, request.compute_task_key)
    task, message = loaded(known, request.compute_task_key)
    if caller.organization != task.worker:
        raise Denied("only the worker of a task can disable its outputs")
    links = _disableable(known, task, message, request.identifier)
    decision = Decision(DisableOutputResponse())
    for link in links:
        model = known.model(link.asset_key)
        if model is None or not model.HasField("address"):
            continue
        disabled = Model()
        disabled.CopyFrom(model)
        disabled.ClearField("address")
        decision.changes += [
            Put(ASSET_MODEL, model.key, disabled, new=False),
            FreeAddress(model.address.storage_address),
            MarkDisabled(task.key),
        ]
        decision.events.append(NewEvent(ASSET_MODEL, EVENT_ASSET_DISABLED, model.key, disabled))
    return decision


def _disableable(known: Known, task: Task, message: ComputeTask, identifier: str) -> list[Link]:
    """The assets of an output that may go, checked in the order of orchestrator.md 8.2."""
    if not states.is_final(task.status):
        raise CannotDisable(f'task "{task.key}" is not in a final state')
    if identifier not in message.outputs:
        raise CannotDisable(f'task "{task.key}" has no output "{identifier}"')
    if not message.outputs[identifier].transient:
        raise CannotDisable(f'output "{identifier}" of task "{task.key}" is not transient')
    links = _links(task, identifier)
    if not links:
        raise CannotDisable(f'output "{identifier}" of task "{task.key}" has no asset')
    if any(link.kind != ASSET_MODEL for link in links):
        raise CannotDisable(f'output "{identifier}" of task "{task.key}" is not a model')
    children = [known.tasks[key] for key in task.children or ()]
    if not children:
        raise CannotDisable(f'task "{task.key}" has no child')
    if not all(states.is_final(child.status) for child in children):
        raise CannotDisable(f'some child of task "{task.key}" is not in a final state')
    return links


# ------------------------------------------------------------------ shared by all outputs
def _declared(
    known: Known, caller: Caller, task: Task, message: ComputeTask, identifier: str
) -> FunctionOutput:
    """The declaration of an output that the caller may register now."""
    if caller.organization != task.worker:
        raise Denied("only the worker of a task can register its outputs")
    if task.status != STATUS_EXECUTING:
        raise BadRequest(f'task "{task.key}" is not executing')
    function = known.function(task.function)
    if identifier not in message.outputs or function is None:
        raise UnknownOutput(f'task "{task.key}" has no output "{identifier}"')
    return function.outputs[identifier]


def _output_event(task: Task, identifier: str, kind: Kind, asset_key: str) -> NewEvent:
    payload = ComputeTaskOutputAsset(
        compute_task_key=task.key,
        compute_task_output_identifier=identifier,
        asset_kind=kind,
        asset_key=asset_key,
    )
    return NewEvent(ASSET_COMPUTE_TASK_OUTPUT_ASSET, EVENT_ASSET_CREATED, task.key, payload)


def _links(task: Task | None, identifier: str) -> list[Link]:
    return (task.links or {}).get(identifier, []) if task else []


def _task_needs(task: str, needs: Needs) -> None:
    needs.task(task)
    if v.is_key(task):
        needs.links.add(task)


def _function_of(known: Known, key: str, needs: Needs) -> None:
    task = known.tasks.get(key)
    if task is not None:
        needs.document(ASSET_FUNCTION, task.function)
