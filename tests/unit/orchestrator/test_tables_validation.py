"""What every message must hold (orchestrator.md 4.2), row by row: one valid request, bent in one place.

None stands for "passes": what looks wrong and is allowed belongs to the contract too.
"""

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.message import Message

from orchestrator.errors import Invalid
from protos.orchestrator import common_pb2 as c
from protos.orchestrator import failure_report_pb2 as fr
from protos.orchestrator import function_pb2 as f
from protos.orchestrator.computeplan_pb2 import UpdateComputePlanParam
from protos.orchestrator.computetask_pb2 import (
    TASK_ACTION_EXECUTING,
    ComputeTaskInput,
    NewComputeTaskOutput,
    ParentTaskOutputRef,
    RegisterTasksParam,
)
from protos.orchestrator.datamanager_pb2 import UpdateDataManagerParam
from protos.orchestrator.datasample_pb2 import RegisterDataSamplesParam, UpdateDataSamplesParam
from protos.orchestrator.model_pb2 import RegisterModelsParam
from protos.orchestrator.performance_pb2 import NewPerformance
from protos.orchestrator.profiling_pb2 import ProfilingStep
from tests.unit.orchestrator import requests as r
from tests.unit.orchestrator.channel import Channel
from tests.unit.orchestrator.ladder import change

Bend = Callable[[Any], object]
Row = tuple[str, str, Bend, str | None]
BUILT = (f.FUNCTION_ACTION_BUILDING, f.FUNCTION_ACTION_READY)
NO_UUID = "must be a valid UUID"
LONG = "the length must be no more than 100"
BLANK = "cannot be blank"
DIGEST = "must be 64 hexadecimal characters"
WIDE = "é" * 51  # 51 characters, 102 bytes


def put(*path: str | int, **values: Any) -> Bend:
    """Set fields of the message, or of a part of it that `path` names."""

    def bend(message: Any) -> None:
        for step in path:
            message = message[step] if isinstance(step, int) else getattr(message, step)
        change(message, **values)

    return bend


def clear(name: str) -> Bend:
    return lambda message: message.ClearField(name)


def also(*bends: Bend) -> Bend:
    return lambda message: [bend(message) for bend in bends]


# ------------------------------------------------------------------ rows shared by messages
def key(rpc: str, name: str = "key", *path: str | int) -> list[Row]:
    upper = "A0000000-0000-0000-0000-000000000000"
    return [
        (rpc, "no key", put(*path, **{name: ""}), f"{name}: {BLANK}"),
        (rpc, "key", put(*path, **{name: "x"}), f"{name}: {NO_UUID}"),
        (rpc, "upper-case key", put(*path, **{name: upper}), f"{name}: {NO_UUID}"),
    ]


def named(rpc: str) -> list[Row]:
    return [
        (rpc, "no name", put(name=""), f"name: {BLANK}"),
        (rpc, "long name", put(name=WIDE), f"name: {LONG}"),
        (rpc, "blank name", put(name=" "), None),
    ]


def metadata(rpc: str, *path: str | int) -> list[Row]:
    many = {str(number): "x" * 100 for number in range(500)}
    return [
        (rpc, "metadata key", put(*path, metadata={"k" * 101: ""}), f"metadata: ({'k' * 101}: "),
        (rpc, "metadata value", put(*path, metadata={"k": WIDE}), f"metadata: (k: {LONG}.)"),
        (rpc, "many entries", put(*path, metadata=many | {"": ""}), None),
    ]


def file(rpc: str, name: str, *path: str | int) -> list[Row]:
    def address(text: str) -> Bend:
        return put(*path, name, storage_address=text)

    text = f"{name}: (storage_address: "
    rows: list[Row] = [
        (rpc, f"no {name}", _cleared(name, *path), f"{name}: {BLANK}"),
        (rpc, f"{name} checksum", put(*path, name, checksum="x"), f"{name}: (checksum: {DIGEST}.)"),
        (rpc, f"{name} upper-case", put(*path, name, checksum="A" * 64), None),
        (rpc, f"{name} no address", address(""), f"{text}{BLANK}.)"),
        (rpc, f"{name} address", address("host"), f"{text}must be a valid URL.)"),
        (rpc, f"{name} dot", address(".host.tld"), f"{text}must be a valid URL.)"),
        (rpc, f"{name} scheme", address("gopher://h/x"), f"{text}must be a valid URL.)"),
        (rpc, f"{name} long", address("http://h/" + "x" * 192), f"{text}the length"),
        (rpc, f"{name} bare host", address("host.tld"), None),
    ]
    return rows


def _cleared(name: str, *path: str | int) -> Bend:
    def bend(message: Any) -> None:
        for step in path:
            message = message[step] if isinstance(step, int) else getattr(message, step)
        message.ClearField(name)

    return bend


# ------------------------------------------------------------------ 4.2, message by message
def _in(identifier: str = "i", **fields: Any) -> Bend:
    return put(inputs={identifier: f.FunctionInput(**fields)})


def _out(identifier: str = "o", **fields: Any) -> Bend:
    return put(outputs={identifier: f.FunctionOutput(**fields)})


DATA = {
    "d": f.FunctionInput(kind=c.ASSET_DATA_MANAGER),
    "s": f.FunctionInput(kind=c.ASSET_DATA_SAMPLE),
    "t": f.FunctionInput(kind=c.ASSET_DATA_SAMPLE, multiple=True),
}
TOGETHER = "data manager and data samples come together"
FUNCTION = "FunctionService/RegisterFunction"
FUNCTIONS: list[Row] = [
    *key(FUNCTION),
    *named(FUNCTION),
    *metadata(FUNCTION),
    *file(FUNCTION, "description"),
    *file(FUNCTION, "archive"),
    (FUNCTION, "no permissions", clear("new_permissions"), f"new_permissions: {BLANK}"),
    (FUNCTION, "empty permissions", put(new_permissions=c.NewPermissions()), None),
    (FUNCTION, "no inputs, no outputs", put(inputs={}, outputs={}), None),
    (FUNCTION, "input kind", _in(kind=c.ASSET_PERFORMANCE), "inputs: (i: kind must be"),
    (FUNCTION, "input kind 0", _in(), "inputs: (i: kind must be"),
    (FUNCTION, "input name", _in("", kind=c.ASSET_MODEL), f"inputs: (: {BLANK}.)"),
    (FUNCTION, "long input", _in(WIDE, kind=c.ASSET_MODEL), f"inputs: ({WIDE}: {LONG}.)"),
    (
        FUNCTION,
        "multiple manager",
        put(inputs=DATA | {"d": f.FunctionInput(kind=c.ASSET_DATA_MANAGER, multiple=True)}),
        "inputs: (d: a data manager can be neither",
    ),
    (
        FUNCTION,
        "optional manager",
        put(inputs=DATA | {"d": f.FunctionInput(kind=c.ASSET_DATA_MANAGER, optional=True)}),
        "inputs: (d: a data manager can be neither",
    ),
    (
        FUNCTION,
        "two managers",
        put(inputs=DATA | {"e": f.FunctionInput(kind=c.ASSET_DATA_MANAGER)}),
        "inputs: at most one data manager",
    ),
    (FUNCTION, "manager alone", _in(kind=c.ASSET_DATA_MANAGER), f"inputs: {TOGETHER}"),
    (FUNCTION, "sample alone", _in(kind=c.ASSET_DATA_SAMPLE), f"inputs: {TOGETHER}"),
    (FUNCTION, "several samples", put(inputs=DATA), None),
    (FUNCTION, "output kind", _out(kind=c.ASSET_DATA_SAMPLE), "outputs: (o: kind must be"),
    (FUNCTION, "output kind 0", _out(), "outputs: (o: kind must be"),
    (FUNCTION, "output name", _out("", kind=c.ASSET_MODEL), f"outputs: (: {BLANK}.)"),
    (
        FUNCTION,
        "multiple performance",
        _out(kind=c.ASSET_PERFORMANCE, multiple=True),
        "outputs: (o: a performance cannot be multiple.)",
    ),
    (FUNCTION, "multiple model", _out(kind=c.ASSET_MODEL, multiple=True), None),
]
UPDATED = "FunctionService/UpdateFunction"
MANAGER = "DataManagerService/RegisterDataManager"
SAMPLES = "DataSampleService/RegisterDataSamples"
LINKS = "DataSampleService/UpdateDataSamples"
PLAN = "ComputePlanService/RegisterPlan"
RENAMED = ("DataManagerService/UpdateDataManager", "ComputePlanService/UpdatePlan")
ASSETS: list[Row] = [
    *key(UPDATED),
    *named(UPDATED),
    (UPDATED, "image unchecked", put("image", checksum="x", storage_address="y"), None),
    *key(MANAGER),
    *named(MANAGER),
    *metadata(MANAGER),
    *file(MANAGER, "description"),
    *file(MANAGER, "opener"),
    (MANAGER, "no permissions", clear("new_permissions"), f"new_permissions: {BLANK}"),
    (MANAGER, "no logs permission", clear("logs_permission"), f"logs_permission: {BLANK}"),
    (MANAGER, "type ignored", put(type="t" * 500), None),
    *(row for rpc in RENAMED for row in (*key(rpc), *named(rpc))),
    *key(SAMPLES, "key", "samples", 0),
    (SAMPLES, "no checksum", put("samples", 0, checksum=""), f"checksum: {BLANK}"),
    (SAMPLES, "checksum", put("samples", 0, checksum="g" * 64), f"checksum: {DIGEST}"),
    (SAMPLES, "no manager", put("samples", 0, data_manager_keys=[]), None),
    (
        SAMPLES,
        "manager key",
        put("samples", 0, data_manager_keys=["x"]),
        f"data_manager_keys: (0: {NO_UUID}.)",
    ),
    (SAMPLES, "no sample", put(samples=[]), None),
    (LINKS, "no keys", put(keys=[]), f"keys: {BLANK}"),
    (LINKS, "key", put(keys=["x"]), f"keys: (0: {NO_UUID}.)"),
    (LINKS, "manager key", put(data_manager_keys=["x"]), f"data_manager_keys: (0: {NO_UUID}.)"),
    (LINKS, "no manager", put(data_manager_keys=[]), None),
    *key(PLAN),
    *named(PLAN),
    *metadata(PLAN),
    (PLAN, "no tag", put(tag=""), None),
    (PLAN, "long tag", put(tag=WIDE), f"tag: {LONG}"),
]


def _input(**fields: Any) -> Bend:
    return put("tasks", 0, inputs=[ComputeTaskInput(**fields)])


def _parent(key: str, output: str) -> Bend:
    reference = ParentTaskOutputRef(parent_task_key=key, output_identifier=output)
    return _input(identifier="shared", parent_task_output=reference)


TASKS = "ComputeTaskService/RegisterTasks"
MODELS = "ModelService/RegisterModels"
PERFORMANCE = "PerformanceService/RegisterPerformance"
REPORT = "FailureReportService/RegisterFailureReport"
STEP = "ProfilingService/RegisterProfilingStep"
OF_TASKS: list[Row] = [
    *key(TASKS, "key", "tasks", 0),
    *key(TASKS, "function_key", "tasks", 0),
    *key(TASKS, "compute_plan_key", "tasks", 0),
    *metadata(TASKS, "tasks", 0),
    (TASKS, "input name", _input(asset_key=r.key()), f"inputs: (0: (identifier: {BLANK}.).)"),
    (TASKS, "no ref", _input(identifier="shared"), f"inputs: (0: (ref: {BLANK}.).)"),
    (TASKS, "asset key", _input(identifier="shared", asset_key="x"), f"(asset_key: {NO_UUID}.)"),
    (TASKS, "parent key", _parent("x", "model"), f"(parent_task_key: {NO_UUID}.)"),
    (TASKS, "parent output", _parent(r.key(), ""), f"(output_identifier: {BLANK}.)"),
    (
        TASKS,
        "output name",
        put("tasks", 0, outputs={"": r.new_output()}),
        f"outputs: (: {BLANK}.)",
    ),
    (
        TASKS,
        "output permissions",
        put("tasks", 0, outputs={"model": NewComputeTaskOutput()}),
        f"outputs: (model: {BLANK}.)",
    ),
    *key(MODELS, "key", "models", 0),
    *file(MODELS, "address", "models", 0),
    (
        MODELS,
        "output name",
        put("models", 0, compute_task_output_identifier=""),
        f"compute_task_output_identifier: {BLANK}",
    ),
    *key(PERFORMANCE, "compute_task_key"),
    (PERFORMANCE, "value 0", put(performance_value=0.0), None),
    (PERFORMANCE, "value NaN", put(performance_value=float("nan")), None),
    (
        PERFORMANCE,
        "output name",
        put(compute_task_output_identifier=""),
        f"compute_task_output_identifier: {BLANK}",
    ),
    *key(REPORT, "asset_key"),
    (REPORT, "error type 0", put(error_type=0), "error_type: must be a valid value"),
    (REPORT, "error type", put(error_type=9), "error_type: must be a valid value"),
    (REPORT, "asset type", put(asset_type=9), "asset_type: must be a valid value"),
    (REPORT, "build without logs", clear("logs_address"), f"logs_address: {BLANK}"),
    (
        REPORT,
        "execution without logs",
        also(put(error_type=fr.ERROR_TYPE_EXECUTION), clear("logs_address")),
        f"logs_address: {BLANK}",
    ),
    (REPORT, "internal with logs", put(error_type=fr.ERROR_TYPE_INTERNAL), "must be blank"),
    (
        REPORT,
        "internal without logs",
        also(put(error_type=fr.ERROR_TYPE_INTERNAL), clear("logs_address")),
        None,
    ),
    (REPORT, "logs", put("logs_address", checksum="x"), f"logs_address: (checksum: {DIGEST}.)"),
    *key(STEP, "asset_key"),
    (STEP, "no step", put(step=""), f"step: {BLANK}"),
    (STEP, "long step", put(step=WIDE), f"step: {LONG}"),
    (STEP, "no duration", put(duration=0), f"duration: {BLANK}"),
    (STEP, "longest", put(duration=2**32 - 1), None),
]
RESOURCES = {
    FUNCTION: "function",
    UPDATED: "function",
    MANAGER: "datamanager",
    SAMPLES: "datasample",
    LINKS: "datasample",
    PLAN: "computeplan",
    TASKS: "computetask",
    MODELS: "model",
    PERFORMANCE: "performance",
    REPORT: "failurereport",
    STEP: "profiling_step",
    RENAMED[0]: "datamanager",
    RENAMED[1]: "computeplan",
}


def valid(channel: Channel, rpc: str) -> Message:
    """A request that is carried out."""
    scored = {"score": f.FunctionOutput(kind=c.ASSET_PERFORMANCE)}
    match rpc.partition("/")[2]:
        case "RegisterFunction":
            return r.new_function()
        case "UpdateFunction":
            return f.UpdateFunctionParam(key=channel.function(), name="n")
        case "RegisterDataManager":
            return r.new_data_manager()
        case "UpdateDataManager":
            return UpdateDataManagerParam(key=channel.data(by="a")[0], name="n")
        case "RegisterDataSamples":
            samples = [r.new_data_sample(channel.data(by="a")[0])]
            return RegisterDataSamplesParam(samples=samples)
        case "UpdateDataSamples":
            manager, sample = channel.data(by="a")
            return UpdateDataSamplesParam(keys=[sample], data_manager_keys=[manager])
        case "RegisterPlan":
            return r.new_plan()
        case "UpdatePlan":
            return UpdateComputePlanParam(key=channel.plan(), name="n")
        case "RegisterTasks":
            task = r.new_task(channel.plan(), channel.function(*BUILT), worker="a")
            return RegisterTasksParam(tasks=[task])
        case "RegisterModels":
            return RegisterModelsParam(models=[r.new_model(channel.running()[0])])
        case "RegisterPerformance":
            function = channel.function(*BUILT, outputs=scored)
            outputs = {"score": r.new_output()}
            (task_,) = channel.register(
                r.new_task(channel.plan(), function, worker="a", outputs=outputs)
            )
            channel.act(task_.key, TASK_ACTION_EXECUTING)
            return NewPerformance(
                compute_task_key=task_.key, compute_task_output_identifier="score"
            )
        case "RegisterFailureReport":
            return fr.NewFailureReport(
                asset_key=channel.running()[0],
                asset_type=fr.FAILED_ASSET_COMPUTE_TASK,
                error_type=fr.ERROR_TYPE_BUILD,
                logs_address=r.address(),
            )
    return ProfilingStep(asset_key=r.key(), step="build_image", duration=1)


ROWS = [*FUNCTIONS, *ASSETS, *OF_TASKS]


@pytest.mark.parametrize(
    ("rpc", "what", "bend", "text"),
    ROWS,
    ids=[f"{row[0].partition('/')[2]} {row[1]}" for row in ROWS],
)
def test_a_message_passes_or_is_refused_for_its_one_fault(
    rpc: str, what: str, bend: Bend, text: str | None
) -> None:
    channel = Channel("a", "b")
    request = valid(channel, rpc)
    channel.told()
    bend(request)
    if text is None:
        assert channel.call(rpc, request) is not None
        return
    with pytest.raises(Invalid) as refusal:
        channel.call(rpc, request)
    assert str(refusal.value).startswith(f"OE0101: {RESOURCES[rpc]} is not valid: ")
    assert text in str(refusal.value)
    assert str(refusal.value).endswith(".")
    assert channel.told() == []
