"""Requests as members send them: valid ones, to be bent by tests."""

import hashlib
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from protos.orchestrator.common_pb2 import (
    ASSET_DATA_MANAGER,
    ASSET_DATA_SAMPLE,
    ASSET_MODEL,
    ASSET_PERFORMANCE,
    Addressable,
    NewPermissions,
)
from protos.orchestrator.computeplan_pb2 import NewComputePlan
from protos.orchestrator.computetask_pb2 import (
    ComputeTaskInput,
    NewComputeTask,
    NewComputeTaskOutput,
    ParentTaskOutputRef,
)
from protos.orchestrator.datamanager_pb2 import NewDataManager
from protos.orchestrator.datasample_pb2 import NewDataSample
from protos.orchestrator.function_pb2 import FunctionInput, FunctionOutput, NewFunction
from protos.orchestrator.model_pb2 import NewModel

PUBLIC = NewPermissions(public=True)


def key() -> str:
    return str(uuid.uuid4())


def checksum() -> str:
    return hashlib.sha256(uuid.uuid4().bytes).hexdigest()


def address() -> Addressable:
    return Addressable(checksum=checksum(), storage_address=f"http://files.test/{uuid.uuid4().hex}")


def private(*organizations: str) -> NewPermissions:
    return NewPermissions(authorized_ids=organizations)


TRAIN_INPUTS = {
    "opener": FunctionInput(kind=ASSET_DATA_MANAGER),
    "samples": FunctionInput(kind=ASSET_DATA_SAMPLE, multiple=True),
    "shared": FunctionInput(kind=ASSET_MODEL, optional=True, multiple=True),
}
MODEL_INPUTS = {"shared": FunctionInput(kind=ASSET_MODEL, optional=True, multiple=True)}
OUTPUTS = {"model": FunctionOutput(kind=ASSET_MODEL)}
TEST_OUTPUTS = {"performance": FunctionOutput(kind=ASSET_PERFORMANCE)}


def new_function(
    inputs: Mapping[str, FunctionInput] | None = None,
    outputs: Mapping[str, FunctionOutput] | None = None,
    permissions: NewPermissions = PUBLIC,
    **fields: Any,
) -> NewFunction:
    request = NewFunction(
        key=key(),
        name="function",
        description=address(),
        archive=address(),
        new_permissions=permissions,
        inputs=MODEL_INPUTS if inputs is None else inputs,
        outputs=OUTPUTS if outputs is None else outputs,
    )
    request.MergeFrom(NewFunction(**fields))
    return request


def new_data_manager(permissions: NewPermissions = PUBLIC, **fields: Any) -> NewDataManager:
    request = NewDataManager(
        key=key(),
        name="data",
        new_permissions=permissions,
        logs_permission=NewPermissions(),
        description=address(),
        opener=address(),
    )
    request.MergeFrom(NewDataManager(**fields))
    return request


def new_data_sample(*managers: str) -> NewDataSample:
    return NewDataSample(key=key(), data_manager_keys=managers, checksum=checksum())


def new_plan(**fields: Any) -> NewComputePlan:
    request = NewComputePlan(key=key(), name="plan", tag="tag", metadata={"a": "b"})
    request.MergeFrom(NewComputePlan(**fields))
    return request


def asset(identifier: str, asset_key: str) -> ComputeTaskInput:
    return ComputeTaskInput(identifier=identifier, asset_key=asset_key)


def parent(task: str, output: str = "model", identifier: str = "shared") -> ComputeTaskInput:
    reference = ParentTaskOutputRef(parent_task_key=task, output_identifier=output)
    return ComputeTaskInput(identifier=identifier, parent_task_output=reference)


def new_output(
    permissions: NewPermissions = PUBLIC, *, transient: bool = False
) -> NewComputeTaskOutput:
    return NewComputeTaskOutput(permissions=permissions, transient=transient)


def new_task(
    plan: str,
    function: str,
    *inputs: ComputeTaskInput,
    worker: str = "",
    outputs: Mapping[str, NewComputeTaskOutput] | None = None,
) -> NewComputeTask:
    return NewComputeTask(
        key=key(),
        function_key=function,
        compute_plan_key=plan,
        worker=worker,
        inputs=inputs,
        outputs={"model": new_output()} if outputs is None else outputs,
    )


def new_model(task: str, identifier: str = "model") -> NewModel:
    return NewModel(
        key=key(),
        compute_task_key=task,
        compute_task_output_identifier=identifier,
        address=address(),
    )


def keys(items: Iterable[Any]) -> list[str]:
    return [item.key for item in items]
