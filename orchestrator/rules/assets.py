"""Organizations, compute plans, profiling steps: the assets with few rules (orchestrator.md 6.1, 6.4, 6.6)."""

from google.protobuf.empty_pb2 import Empty

from orchestrator import validation as v
from orchestrator.errors import (
    BadRequest,
    Conflict,
    Denied,
    NotFound,
    PlanTerminated,
    Unimplemented,
)
from orchestrator.identity import Caller
from orchestrator.needs import Needs
from orchestrator.state import Decision, Known, Moment, NewEvent, Put
from protos.orchestrator.common_pb2 import (
    ASSET_COMPUTE_PLAN,
    ASSET_ORGANIZATION,
    ASSET_PROFILING_STEP,
)
from protos.orchestrator.computeplan_pb2 import (
    PLAN_ACTION_CANCELED,
    ApplyPlanActionParam,
    ApplyPlanActionResponse,
    ComputePlan,
    NewComputePlan,
    UpdateComputePlanParam,
    UpdateComputePlanResponse,
)
from protos.orchestrator.event_pb2 import EVENT_ASSET_CREATED, EVENT_ASSET_UPDATED
from protos.orchestrator.organization_pb2 import Organization, RegisterOrganizationParam
from protos.orchestrator.profiling_pb2 import ProfilingStep

PLAN = "computeplan"


def check_registered(known: Known, caller: Caller) -> None:
    """Owners are registered organizations (orchestrator.md 4.4).

    Raises:
        BadRequest: the caller is a member of the channel that never registered.
    """
    if caller.organization not in known.organizations:
        raise BadRequest(
            f'organization "{caller.organization}" is not registered in channel "{caller.channel}"'
        )


# ------------------------------------------------------------------ organizations
def register_organization(
    known: Known, caller: Caller, request: RegisterOrganizationParam, now: Moment
) -> Decision:
    v.organization_address(request.address)
    if caller.organization in known.organizations:
        raise Conflict("organization", caller.organization)
    organization = Organization(
        id=caller.organization, address=request.address, creation_date=now.wire
    )
    return Decision(
        organization,
        [Put(ASSET_ORGANIZATION, organization.id, organization)],
        [NewEvent(ASSET_ORGANIZATION, EVENT_ASSET_CREATED, organization.id, organization)],
    )


# ------------------------------------------------------------------ compute plans
def register_plan_needs(request: NewComputePlan, known: Known, needs: Needs) -> None:
    needs.new(ASSET_COMPUTE_PLAN, request.key)


def register_plan(known: Known, caller: Caller, request: NewComputePlan, now: Moment) -> Decision:
    v.check(
        PLAN,
        {
            "key": v.key(request.key),
            "name": v.name(request.name),
            "tag": v.at_most(request.tag),
            "metadata": v.metadata(request.metadata),
        },
    )
    if known.is_taken(ASSET_COMPUTE_PLAN, request.key):
        raise Conflict(PLAN, request.key)
    check_registered(known, caller)
    plan = ComputePlan(
        key=request.key,
        owner=caller.organization,
        name=request.name,
        tag=request.tag,
        metadata=request.metadata,
        creation_date=now.wire,
    )
    return Decision(
        plan,
        [Put(ASSET_COMPUTE_PLAN, plan.key, plan)],
        [NewEvent(ASSET_COMPUTE_PLAN, EVENT_ASSET_CREATED, plan.key, plan)],
    )


def plan_needs(
    request: UpdateComputePlanParam | ApplyPlanActionParam, known: Known, needs: Needs
) -> None:
    needs.document(ASSET_COMPUTE_PLAN, request.key)


def update_plan(
    known: Known, caller: Caller, request: UpdateComputePlanParam, now: Moment
) -> Decision:
    v.check(PLAN, {"key": v.key(request.key), "name": v.name(request.name)})
    changed = _own_plan(known, caller, request.key)
    changed.name = request.name
    return _changed_plan(UpdateComputePlanResponse(), changed)


def apply_plan_action(
    known: Known, caller: Caller, request: ApplyPlanActionParam, now: Moment
) -> Decision:
    """Cancel a plan. Its tasks are not touched: workers cancel theirs (orchestrator.md 7.4)."""
    v.stored_key(PLAN, request.key)
    changed = _own_plan(known, caller, request.key)
    if request.action != PLAN_ACTION_CANCELED:
        raise Unimplemented(f"plan action {request.action} is not implemented")
    if is_terminated(changed):
        raise PlanTerminated(f'compute plan "{request.key}" is already terminated')
    changed.cancelation_date.CopyFrom(now.wire)
    return _changed_plan(ApplyPlanActionResponse(), changed)


def is_terminated(plan: ComputePlan) -> bool:
    return plan.HasField("cancelation_date") or plan.HasField("failure_date")


def failed_plan(known: Known, key: str, now: Moment) -> list[Put]:
    """A task of the plan failed: the plan gets its failure date, silently, unless it has ended already."""
    plan = known.plan(key)
    if plan is None or is_terminated(plan):
        return []
    changed = ComputePlan()
    changed.CopyFrom(plan)
    changed.failure_date.CopyFrom(now.wire)
    return [Put(ASSET_COMPUTE_PLAN, key, changed, new=False)]


def _own_plan(known: Known, caller: Caller, key: str) -> ComputePlan:
    """A copy of the caller's plan."""
    plan = known.plan(key)
    if plan is None:
        raise NotFound(PLAN, key)
    if plan.owner != caller.organization:
        raise Denied("only the owner of a compute plan can change it")
    copy = ComputePlan()
    copy.CopyFrom(plan)
    return copy


def _changed_plan(
    answer: UpdateComputePlanResponse | ApplyPlanActionResponse, changed: ComputePlan
) -> Decision:
    return Decision(
        answer,
        [Put(ASSET_COMPUTE_PLAN, changed.key, changed, new=False)],
        [NewEvent(ASSET_COMPUTE_PLAN, EVENT_ASSET_UPDATED, changed.key, changed)],
    )


# ------------------------------------------------------------------ profiling
def register_profiling_step(
    known: Known, caller: Caller, request: ProfilingStep, now: Moment
) -> Decision:
    """An event and nothing else: neither stored nor checked against anything."""
    v.check(
        "profiling_step",
        {
            "asset_key": v.key(request.asset_key),
            "step": v.name(request.step),
            "duration": None if request.duration else v.BLANK,
        },
    )
    step = ProfilingStep()
    step.CopyFrom(request)
    return Decision(
        Empty(),
        [],
        [NewEvent(ASSET_PROFILING_STEP, EVENT_ASSET_CREATED, step.asset_key, step)],
    )
