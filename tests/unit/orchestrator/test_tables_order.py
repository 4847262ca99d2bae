"""Order of the checks of every call that writes (orchestrator.md 6), as ladders of faults.

Each ladder starts with all faults at once. The texts are what clients match on (2.6, 2.7).
"""

from collections.abc import Callable
from typing import Any

import pytest

from protos.orchestrator import function_pb2 as f
from protos.orchestrator.computeplan_pb2 import (
    PLAN_ACTION_CANCELED,
    ApplyPlanActionParam,
    UpdateComputePlanParam,
)
from protos.orchestrator.datamanager_pb2 import UpdateDataManagerParam
from protos.orchestrator.datasample_pb2 import RegisterDataSamplesParam, UpdateDataSamplesParam
from protos.orchestrator.organization_pb2 import RegisterOrganizationParam
from protos.orchestrator.profiling_pb2 import ProfilingStep
from tests.unit.orchestrator import requests as r
from tests.unit.orchestrator.channel import Channel
from tests.unit.orchestrator.ladder import Call, Ladder, ask_as, change, put

BUILT = (f.FUNCTION_ACTION_BUILDING, f.FUNCTION_ACTION_READY)
Build = Callable[[Channel], Ladder]
UNREGISTERED = 'OE0003: organization "z" is not registered'


@pytest.fixture
def channel() -> Channel:
    return Channel("a", "b", "c")


# ------------------------------------------------------------------ 6.1, 6.2
def register_organization(channel: Channel) -> Ladder:
    call = Call("OrganizationService/RegisterOrganization", RegisterOrganizationParam(address="x"))
    return Ladder(
        call,
        [
            ("address: must be a valid request URI.", put(address="http://a.test")),
            ('OE0006: organization with key "a" already exists', ask_as("d")),
        ],
    )


def register_function(channel: Channel) -> Ladder:
    taken = r.new_function()
    channel.call("FunctionService/RegisterFunction", taken)
    new = r.new_function(permissions=r.private("stranger"))
    change(new, key=taken.key, name="", archive=taken.archive)
    return Ladder(
        Call("FunctionService/RegisterFunction", new, "z"),
        [
            ("OE0101: function is not valid: name: cannot be blank.", put(name="n")),
            (f'OE0006: function with key "{taken.key}" already exists', put(key=r.key())),
            ("OE0003: invalid permission input values", put(new_permissions=r.private("b"))),
            (UNREGISTERED, ask_as("a")),
            ("OE0006: storage address", put(archive=r.address())),
        ],
    )


def update_function(channel: Channel) -> Ladder:
    key = channel.function()
    request = f.UpdateFunctionParam(key=r.key())
    return Ladder(
        Call("FunctionService/UpdateFunction", request, "b"),
        [
            ("OE0101: function is not valid: name: cannot be blank.", put(name="n")),
            ("OE0002: function with key", put(key=key)),
            ("OE0102", ask_as("a")),
        ],
    )


def apply_function_action(channel: Channel) -> Ladder:
    key = channel.function()
    request = f.ApplyFunctionActionParam(function_key="x")
    return Ladder(
        Call("FunctionService/ApplyFunctionAction", request, "b"),
        [
            ("OE0003", put(action=f.FUNCTION_ACTION_READY)),
            ("is not a valid key", put(function_key=r.key())),
            ("OE0002: function with key", put(function_key=key)),
            ("OE0102", ask_as("a")),
            (
                "event transitionReady inappropriate in current state FUNCTION_STATUS_WAITING",
                put(action=f.FUNCTION_ACTION_BUILDING),
            ),
        ],
    )


# ------------------------------------------------------------------ 6.3
def register_data_manager(channel: Channel) -> Ladder:
    taken = r.new_data_manager()
    channel.call("DataManagerService/RegisterDataManager", taken)
    new = r.new_data_manager(r.private("stranger"), logs_permission=r.private("nobody"))
    change(new, key=taken.key, opener=taken.opener)
    new.ClearField("description")
    return Ladder(
        Call("DataManagerService/RegisterDataManager", new, "z"),
        [
            (
                "OE0101: datamanager is not valid: description: cannot be blank.",
                put(description=r.address()),
            ),
            (f'OE0006: datamanager with key "{taken.key}"', put(key=r.key())),
            ("unknown organizations ['nobody']", put(logs_permission=r.private())),
            ("unknown organizations ['stranger']", put(new_permissions=r.private())),
            (UNREGISTERED, ask_as("a")),
            ("OE0006: storage address", put(opener=r.address())),
        ],
    )


def update_data_manager(channel: Channel) -> Ladder:
    key, _ = channel.data(by="a")
    return Ladder(
        Call("DataManagerService/UpdateDataManager", UpdateDataManagerParam(key=r.key()), "b"),
        [
            ("OE0101: datamanager is not valid: name: cannot be blank.", put(name="n")),
            ("OE0002: datamanager with key", put(key=key)),
            ("OE0102", ask_as("a")),
        ],
    )


def register_data_samples(channel: Channel) -> Ladder:
    manager, taken = channel.data(by="a")
    first = r.new_data_sample(manager)
    bad = change(r.new_data_sample(r.key()), key=taken, checksum="x")

    def mend(**values: Any) -> Callable[[Call], object]:
        return lambda call: change(call.request.samples[1], **values)

    return Ladder(
        Call(
            "DataSampleService/RegisterDataSamples",
            RegisterDataSamplesParam(samples=[first, bad]),
        ),
        [
            ("OE0101: datasample is not valid: checksum", mend(checksum=r.checksum())),
            ("OE0002: datamanager with key", mend(data_manager_keys=[channel.data()[0]])),
            ("OE0102", mend(data_manager_keys=[manager])),
            (f'OE0006: datasample with key "{taken}"', mend(key=first.key)),
            (f'OE0006: datasample with key "{first.key}"', mend(key=r.key())),
        ],
    )


def update_data_samples(channel: Channel) -> Ladder:
    foreign_manager, foreign_sample = channel.data()
    manager, _ = channel.data(by="a")
    _, sample = channel.data(by="a")
    request = UpdateDataSamplesParam(data_manager_keys=[r.key()])
    return Ladder(
        Call("DataSampleService/UpdateDataSamples", request),
        [
            ("OE0101: datasample is not valid: keys: cannot be blank.", put(keys=[r.key()])),
            ("OE0002: datamanager with key", put(data_manager_keys=[foreign_manager])),
            ("OE0102", put(data_manager_keys=[manager])),
            ("OE0002: datasample with key", put(keys=[foreign_sample])),
            ("OE0102", put(keys=[sample])),
        ],
    )


# ------------------------------------------------------------------ 6.4
def register_plan(channel: Channel) -> Ladder:
    taken = channel.plan()
    return Ladder(
        Call("ComputePlanService/RegisterPlan", r.new_plan(key=taken, tag="t" * 101), "z"),
        [
            ("OE0101: computeplan is not valid: tag: the length must be", put(tag="")),
            (f'OE0006: computeplan with key "{taken}" already exists', put(key=r.key())),
            (UNREGISTERED, ask_as("a")),
        ],
    )


def update_plan(channel: Channel) -> Ladder:
    plan = channel.plan()
    return Ladder(
        Call("ComputePlanService/UpdatePlan", UpdateComputePlanParam(key="x"), "b"),
        [
            (
                "OE0101: computeplan is not valid: key: must be a valid UUID; name: cannot be blank.",
                put(key=r.key(), name="n"),
            ),
            ("OE0002: computeplan with key", put(key=plan)),
            ("OE0102", ask_as("a")),
        ],
    )


def apply_plan_action(channel: Channel) -> Ladder:
    canceled, plan = channel.plan(), channel.plan()
    param = ApplyPlanActionParam(key=canceled, action=PLAN_ACTION_CANCELED)
    channel.call("ComputePlanService/ApplyPlanAction", param)
    return Ladder(
        Call("ComputePlanService/ApplyPlanAction", ApplyPlanActionParam(key=r.key()), "b"),
        [
            ("OE0002: computeplan with key", put(key=canceled)),
            ("OE0102", ask_as("a")),
            ("OE0010", put(action=PLAN_ACTION_CANCELED)),
            ("OE0109", put(key=plan)),
        ],
    )


# ------------------------------------------------------------------ 6.6
def register_profiling_step(channel: Channel) -> Ladder:
    return Ladder(
        Call("ProfilingService/RegisterProfilingStep", ProfilingStep(step="s" * 101), "stranger"),
        [
            (
                "OE0101: profiling_step is not valid: asset_key: cannot be blank; "
                "duration: cannot be blank; step: the length must be no more than 100.",
                put(asset_key=r.key(), duration=1, step="build_image"),
            ),
        ],
    )


LADDERS: list[Build] = [
    register_organization,
    register_function,
    update_function,
    apply_function_action,
    register_data_manager,
    update_data_manager,
    register_data_samples,
    update_data_samples,
    register_plan,
    update_plan,
    apply_plan_action,
    register_profiling_step,
]


@pytest.mark.parametrize("build", LADDERS, ids=lambda build: build.__name__)
def test_the_first_fault_in_the_order_of_the_specification_wins(
    channel: Channel, build: Build
) -> None:
    ladder = build(channel)
    channel.told()
    assert ladder.climb(channel) is not None
    assert channel.events
