"""What moves a task: actions of its owner and worker, and failure reports (orchestrator.md 7.2, 7.4, 8.3)."""

from orchestrator import validation as v
from orchestrator.errors import BadRequest, Conflict, Denied
from orchestrator.identity import Caller
from orchestrator.limits import LONGEST_REASON
from orchestrator.needs import Needs
from orchestrator.rules import functions, states
from orchestrator.rules.assets import check_registered, failed_plan
from orchestrator.rules.functions import USER_ACTION, moved_event
from orchestrator.rules.outputs import TASK, stored_task
from orchestrator.state import Decision, Known, Moment, MoveTask, NewEvent, Put, TakeAddress, Task
from protos.orchestrator.common_pb2 import (
    ASSET_COMPUTE_PLAN,
    ASSET_FAILURE_REPORT,
    ASSET_FUNCTION,
)
from protos.orchestrator.computetask_pb2 import (
    STATUS_EXECUTING,
    STATUS_WAITING_FOR_PARENT_TASKS,
    TASK_ACTION_DONE,
    ApplyTaskActionParam,
    ApplyTaskActionResponse,
)
from protos.orchestrator.event_pb2 import EVENT_ASSET_CREATED
from protos.orchestrator.failure_report_pb2 import (
    ERROR_TYPE_BUILD,
    ERROR_TYPE_EXECUTION,
    ERROR_TYPE_INTERNAL,
    FAILED_ASSET_COMPUTE_TASK,
    FAILED_ASSET_FUNCTION,
    FailureReport,
    NewFailureReport,
)

REPORT = "failurereport"
REPORTED = "failure report registered"


# ------------------------------------------------------------------ actions
def task_action_needs(request: ApplyTaskActionParam, known: Known, needs: Needs) -> None:
    needs.task(request.compute_task_key)
    if request.action == TASK_ACTION_DONE and v.is_key(request.compute_task_key):
        needs.children.add(request.compute_task_key)


def task_action_plan(request: ApplyTaskActionParam, known: Known, needs: Needs) -> None:
    _plan_of(known, request.compute_task_key, needs)


def apply_task_action(
    known: Known, caller: Caller, request: ApplyTaskActionParam, now: Moment
) -> Decision:
    v.stored_key(TASK, request.compute_task_key)
    task = stored_task(known, request.compute_task_key)
    transition = states.task_transition(
        request.action, caller.organization, owner=task.owner, worker=task.worker
    )
    decision = Decision(ApplyTaskActionResponse())
    reason = request.log[:LONGEST_REASON] or USER_ACTION
    _move(known, decision, task, transition, reason, now)
    return decision


def _move(
    known: Known, decision: Decision, task: Task, transition: str, reason: str, now: Moment
) -> None:
    """Move one task, then what follows from it."""
    status = states.move_task(task.status, transition)
    decision.changes.append(MoveTask(task.key, status, task.pending))
    decision.events.append(moved_event(task, status, reason.replace("\x00", "\ufffd")))
    if transition == states.DONE:
        _release_children(known, decision, task)
    elif transition == states.FAILED:
        decision.changes.extend(failed_plan(known, task.plan, now))


def _release_children(known: Known, decision: Decision, task: Task) -> None:
    """Every child has one unfinished parent less; those that waited for this one become ready."""
    for key in task.children or ():
        child = known.tasks[key]
        status, pending = child.status, child.pending - 1
        if pending == 0 and status == STATUS_WAITING_FOR_PARENT_TASKS:
            status = states.move_task(status, states.WAITING_EXECUTOR_SLOT)
            reason = f"Last parent task {task.key} done"
            decision.events.append(moved_event(child, status, reason, slim=True))
        decision.changes.append(MoveTask(key, status, pending))


# ------------------------------------------------------------------ failure reports
def failure_report_needs(request: NewFailureReport, known: Known, needs: Needs) -> None:
    needs.new(ASSET_FAILURE_REPORT, request.asset_key)
    needs.address((request.logs_address.storage_address,))
    if request.asset_type == FAILED_ASSET_FUNCTION:
        needs.document(ASSET_FUNCTION, request.asset_key)
        if v.is_key(request.asset_key):
            needs.builds.add(request.asset_key)
    else:
        needs.task(request.asset_key)


def failure_report_plans(request: NewFailureReport, known: Known, needs: Needs) -> None:
    if request.asset_type == FAILED_ASSET_FUNCTION:
        functions.followers_plans(known, request.asset_key, needs)
    else:
        _plan_of(known, request.asset_key, needs)


def register_failure_report(
    known: Known, caller: Caller, request: NewFailureReport, now: Moment
) -> Decision:
    """The asset fails, then the report is told: consumers see FAILED before they know why."""
    _validate(request)
    report = FailureReport(
        asset_key=request.asset_key,
        error_type=request.error_type,
        creation_date=now.wire,
        owner=caller.organization,
        asset_type=request.asset_type,
    )
    if request.HasField("logs_address"):
        report.logs_address.CopyFrom(request.logs_address)
    if request.asset_type == FAILED_ASSET_COMPUTE_TASK:
        decision = Decision(report)
        task = stored_task(known, request.asset_key)
        if caller.organization != task.worker:
            raise Denied("only the worker of a task can report its failure")
        if task.status != STATUS_EXECUTING:
            raise BadRequest(f'task "{task.key}" is not executing')
        _move(known, decision, task, states.FAILED, REPORTED, now)
    elif request.asset_type == FAILED_ASSET_FUNCTION:
        function = functions.own_function(known, caller, request.asset_key)
        decision = functions.move(known, function, states.FAILED, REPORTED, now, answer=report)
    else:
        raise BadRequest(f"asset type {request.asset_type} cannot fail")
    if known.is_taken(ASSET_FAILURE_REPORT, request.asset_key):
        raise Conflict("failure report", request.asset_key)
    check_registered(known, caller)
    if report.HasField("logs_address"):
        known.check_addresses((report.logs_address.storage_address,))
        decision.changes.append(TakeAddress(report.logs_address.storage_address))
    decision.changes.append(Put(ASSET_FAILURE_REPORT, report.asset_key, report))
    decision.events.append(
        NewEvent(ASSET_FAILURE_REPORT, EVENT_ASSET_CREATED, report.asset_key, report)
    )
    return decision


def _validate(request: NewFailureReport) -> None:
    with_logs = (ERROR_TYPE_BUILD, ERROR_TYPE_EXECUTION)
    logs: v.Reason = None
    if request.error_type in with_logs:
        logs = v.required_addressable(request, "logs_address")
    elif request.HasField("logs_address"):
        logs = "must be blank"
    types = (0, FAILED_ASSET_COMPUTE_TASK, FAILED_ASSET_FUNCTION)
    v.check(
        REPORT,
        {
            "asset_key": v.key(request.asset_key),
            "error_type": None
            if request.error_type in (*with_logs, ERROR_TYPE_INTERNAL)
            else "must be a valid value",
            "asset_type": None if request.asset_type in types else "must be a valid value",
            "logs_address": logs,
        },
    )


def _plan_of(known: Known, task: str, needs: Needs) -> None:
    """The plan of a task, which fails with it."""
    found = known.tasks.get(task)
    if found is not None:
        needs.document(ASSET_COMPUTE_PLAN, found.plan)
