"""Inputs and outputs of a new task against its function (orchestrator.md 6.5, rows 10 to 12)."""

from collections.abc import Callable, Iterable, Mapping

from orchestrator.errors import Denied, Invalid, NotFound
from orchestrator.identity import Caller
from orchestrator.rules import permissions
from orchestrator.state import Known, Task
from protos.orchestrator.common_pb2 import (
    ASSET_DATA_MANAGER,
    ASSET_DATA_SAMPLE,
    ASSET_PERFORMANCE,
    AssetKind,
)
from protos.orchestrator.computetask_pb2 import (
    ComputeTask,
    ComputeTaskInput,
    NewComputeTaskOutput,
)
from protos.orchestrator.function_pb2 import Function, FunctionInput

FindTask = Callable[[str], tuple[Task, ComputeTask] | None]
"""A task by its key, with its wire form."""


def data_manager_key(function: Function, inputs: Iterable[ComputeTaskInput]) -> str | None:
    """Key of the data manager among the inputs.

    Raises:
        Invalid: an input that the function does not declare stands before it, or the data manager is given as
            the output of a task.
    """
    for reference in inputs:
        declared = _declared(function, reference.identifier)
        if declared.kind == ASSET_DATA_MANAGER:
            if reference.WhichOneof("ref") != "asset_key":
                raise Invalid(
                    f'input "{reference.identifier}": a data manager must be an asset key'
                )
            return reference.asset_key
    return None


def check_inputs(
    known: Known,
    caller: Caller,
    find: FindTask,
    function: Function,
    inputs: Iterable[ComputeTaskInput],
    worker: str,
) -> None:
    """Every input is declared, of the right kind and permitted, and none is missing.

    Raises:
        Invalid, NotFound, Denied: the first input that is not.
    """
    references = list(inputs)
    given: set[str] = set()
    for reference in references:
        declared = _declared(function, reference.identifier)
        if reference.identifier in given and not declared.multiple:
            raise Invalid(f'input "{reference.identifier}" is given more than once')
        given.add(reference.identifier)
        if declared.kind == ASSET_DATA_MANAGER:
            _check_data(known, caller, function, reference, references)
        elif declared.kind != ASSET_DATA_SAMPLE:
            _check_model(known, find, reference, declared, worker)
    for identifier, declared in sorted(function.inputs.items()):
        if not declared.optional and identifier not in given:
            raise Invalid(f'input "{identifier}" is missing')


def check_outputs(function: Function, outputs: Mapping[str, NewComputeTaskOutput]) -> None:
    """Exactly the declared outputs, performances public and lasting.

    Raises:
        Invalid: the first that is not so.
    """
    for identifier, output in sorted(outputs.items()):
        if identifier not in function.outputs:
            raise Invalid(f'output "{identifier}" is not declared by the function')
        if function.outputs[identifier].kind == ASSET_PERFORMANCE:
            if not output.permissions.public:
                raise Invalid(f'output "{identifier}": a performance must be public')
            if output.transient:
                raise Invalid(f'output "{identifier}": a performance cannot be transient')
    missing = sorted(set(function.outputs) - set(outputs))
    if missing:
        raise Invalid(f'output "{missing[0]}" is missing')


def _declared(function: Function, identifier: str) -> FunctionInput:
    if identifier not in function.inputs:
        raise Invalid(f'input "{identifier}" is not declared by the function')
    return function.inputs[identifier]


def _check_data(
    known: Known,
    caller: Caller,
    function: Function,
    reference: ComputeTaskInput,
    inputs: Iterable[ComputeTaskInput],
) -> None:
    """The data manager is permitted to the owner of the task, and all samples are its own."""
    manager = known.data_manager(reference.asset_key)
    if manager is None:
        raise NotFound("datamanager", reference.asset_key)
    if not permissions.allows(manager.permissions.process, caller.organization):
        raise Denied(
            f'organization "{caller.organization}" cannot process data manager "{manager.key}"'
        )
    for other in inputs:
        if _declared(function, other.identifier).kind != ASSET_DATA_SAMPLE:
            continue
        if other.WhichOneof("ref") != "asset_key":
            raise Invalid(f'input "{other.identifier}": a data sample must be an asset key')
        sample = known.data_sample(other.asset_key)
        if sample is None:
            raise NotFound("datasample", other.asset_key)
        if manager.key not in sample.data_manager_keys:
            raise Invalid(
                f'data sample "{sample.key}" is not linked to data manager "{manager.key}"'
            )


def _check_model(
    known: Known,
    find: FindTask,
    reference: ComputeTaskInput,
    declared: FunctionInput,
    worker: str,
) -> None:
    """A model by its key, or an output of a parent, that the worker may process."""
    if reference.WhichOneof("ref") == "asset_key":
        model = known.model(reference.asset_key)
        if model is None:
            raise NotFound("model", reference.asset_key)
        if not permissions.allows(model.permissions.process, worker):
            raise Denied(f'organization "{worker}" cannot process model "{model.key}"')
        return
    key = reference.parent_task_output.parent_task_key
    output = reference.parent_task_output.output_identifier
    found = find(key)
    function = known.function(found[0].function) if found else None
    if found is None or function is None:
        raise NotFound("computetask", key)
    declared_outputs = found[1].outputs
    if output not in function.outputs:
        raise Invalid(f'parent task "{key}" has no output "{output}"')
    source = function.outputs[output]
    if source.kind != declared.kind:
        kinds = f"{AssetKind.Name(source.kind)} for {AssetKind.Name(declared.kind)}"
        raise Invalid(f'input "{reference.identifier}": wrong kind of parent output, {kinds}')
    if source.multiple and not declared.multiple:
        raise Invalid(
            f'input "{reference.identifier}" takes one asset, the parent output is multiple'
        )
    if output not in declared_outputs:
        raise Invalid(f'parent task "{key}" has no output "{output}"')
    if not permissions.allows(declared_outputs[output].permissions.process, worker):
        raise Denied(f'organization "{worker}" cannot process output "{output}" of task "{key}"')
