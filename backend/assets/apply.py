"""What a batch of ledger events does to all rows, and what of it became interesting to the engine.

The bridge calls `apply_events` inside the transaction that moves its cursor. Applying a batch twice, in other
batches, or the whole history again gives the same rows. Within a batch the rooms are handled in a fixed order
(the order of their references, which is also the order in which rows are locked: rule 4), inside a room in the
order of the stream.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import select
from sqlmodel import Session

from backend.access.organizations import events as organizations
from backend.assets.compute_plans import events as compute_plans
from backend.assets.compute_plans.states import PlanChanges
from backend.assets.data_managers import events as data_managers
from backend.assets.data_samples import events as data_samples
from backend.assets.failure_reports import events as failure_reports
from backend.assets.functions import events as functions
from backend.assets.functions.tables import Function
from backend.assets.models import events as models
from backend.assets.performances import events as performances
from backend.assets.profiling import events as profiling
from backend.assets.tasks import events as tasks
from backend.assets.tasks.states import FINAL, TaskState, TaskStatus
from backend.kit.columns import core
from protos.orchestrator import event_pb2, function_pb2


@dataclass(frozen=True, slots=True)
class FunctionEvent:
    """A function in its present state; `created` when the batch held its creation."""

    key: UUID
    owner: str
    status: str  # FUNCTION_STATUS_…
    created: bool


@dataclass(frozen=True, slots=True)
class DisabledModel:
    """A transient model whose address is gone; its owner deletes the file."""

    key: UUID
    owner: str
    task: UUID


@dataclass(slots=True)
class Applied:
    """What the batch named, in its present state: an event is history, the rows are not (orchestrator.md 17.7).

    The lists name every asset that an event of the batch was about, whether or not the event still changed a
    row: this server's own requests may have written the row before. What the engine makes of them must
    therefore be idempotent (insert its work `ON CONFLICT DO NOTHING`). Each list keeps the order of the stream.
    """

    functions: list[FunctionEvent] = field(default_factory=list)
    tasks: list[TaskState] = field(default_factory=list)
    models_disabled: list[DisabledModel] = field(default_factory=list)
    plans_canceled: list[UUID] = field(default_factory=list)
    plans_failed: list[UUID] = field(default_factory=list)
    """Plans whose present status is FAILED and of which the batch named a task or the plan."""

    @property
    def tasks_ready(self) -> list[TaskState]:
        """Tasks that wait for an executor slot now: work for the organization `worker`."""
        return [t for t in self.tasks if t.status is TaskStatus.WAITING_FOR_EXECUTOR_SLOT]

    @property
    def tasks_final(self) -> list[TaskState]:
        """Tasks that are DONE, FAILED or CANCELED now."""
        return [t for t in self.tasks if t.status in FINAL]

    @property
    def functions_created(self) -> list[FunctionEvent]:
        return [f for f in self.functions if f.created]

    @property
    def functions_ready(self) -> list[FunctionEvent]:
        ready = function_pb2.FunctionStatus.Name(function_pb2.FUNCTION_STATUS_READY)
        return [f for f in self.functions if f.status == ready]


def apply_events(session: Session, channel: str, events: Sequence[event_pb2.Event]) -> Applied:
    """Apply consecutive events of one channel to the rows, in the caller's transaction.

    Raises nothing of its own: a database error means that the transaction must be rolled back and the batch
    repeated.
    """
    applied = Applied()
    changes = PlanChanges()
    for event in events:
        match event.WhichOneof("asset"):
            case "organization":
                organizations.apply(session, event)
            case "function":
                functions.apply(session, event)
            case "data_manager":
                data_managers.apply(session, event)
    data_samples.apply(session, channel, _of(events, "data_sample"))
    compute_plans.apply(session, channel, _of(events, "compute_plan"), changes)
    applied.tasks = tasks.apply(session, channel, _of(events, "compute_task"), changes)
    models.apply(session, channel, _of(events, "model"))
    performances.apply(session, channel, _of(events, "performance"))
    tasks.apply_output_assets(session, channel, _of(events, "compute_task_output_asset"))
    failure_reports.apply(session, channel, _of(events, "failure_report"))
    profiling.apply(session, channel, _of(events, "profiling_step"))
    settled = compute_plans.settle(session, changes)
    applied.plans_canceled = settled.canceled
    applied.plans_failed = settled.failed
    applied.functions = _functions(session, _of(events, "function"))
    applied.models_disabled = _disabled(_of(events, "model"))
    return applied


def _of(events: Sequence[event_pb2.Event], asset: str) -> list[event_pb2.Event]:
    return [event for event in events if event.WhichOneof("asset") == asset]


def _functions(session: Session, events: Sequence[event_pb2.Event]) -> list[FunctionEvent]:
    created = {e.function.key for e in events if e.event_kind == event_pb2.EVENT_ASSET_CREATED}
    order = dict.fromkeys(event.function.key for event in events)
    if not order:
        return []
    columns = core(Function).c
    query = select(columns.key, columns.owner, columns.status).where(columns.key.in_(order))
    rows = {str(row.key): row for row in session.connection().execute(query)}
    return [
        FunctionEvent(rows[key].key, rows[key].owner, rows[key].status, created=key in created)
        for key in order
        if key in rows
    ]


def _disabled(events: Sequence[event_pb2.Event]) -> list[DisabledModel]:
    return [
        DisabledModel(UUID(e.model.key), e.model.owner, UUID(e.model.compute_task_key))
        for e in events
        if e.event_kind == event_pb2.EVENT_ASSET_DISABLED
    ]
