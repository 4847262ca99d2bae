"""Tables of the engine: work, results on their way to the ledger, runner sessions, loops that run once.

Every expiry in them is judged by PostgreSQL's `now()` (rule 9); no clock of another machine is compared.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, Column, DateTime, Index, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from backend.kit.columns import moment, optional_moment


class Kind(StrEnum):
    """What a piece of work is about; `key` is the key of a task, function, model or plan."""

    TASK = "task"  # run a task
    BUILD = "build"  # build a function of ours
    CANCEL = "cancel"  # a canceled plan: cancel our tasks, and functions that nobody needs any more
    DISABLE = "disable"  # a task of ours whose transient outputs may have become useless
    DELETE = "delete"  # a disabled model: its file and its copy in the cache


class State(StrEnum):
    """NEW → (PREPARING →) READY → LEASED → REPORTING → DONE for tasks; NEW → LEASED → DONE for the rest."""

    NEW = "new"
    PREPARING = "preparing"
    READY = "ready"
    LEASED = "leased"
    REPORTING = "reporting"
    DONE = "done"


class Work(SQLModel, table=True):
    """One thing to do, at most once at a time.

    `lock_token` names the last claim; it stays when the lease expires, so that a late result is still known
    as the last claimer's. `offer` is the prepared lease of a task, `cause` why the work waits.
    """

    __tablename__: ClassVar[str] = "work"
    __table_args__ = (
        UniqueConstraint("kind", "key"),
        Index(
            "work_ready",
            "compute_plan_key",
            "created",
            postgresql_where=text("kind = 'task' AND state = 'ready'"),
        ),
        Index("work_open", "kind", "created", postgresql_where=text("state = 'new'")),
        Index(
            "work_unprepared",
            "compute_plan_key",
            "not_before",
            "id",
            postgresql_where=text("kind = 'task' AND state = 'new'"),
        ),
        Index("work_held", "session", postgresql_where=text("state IN ('preparing', 'leased')")),
    )

    id: int | None = Field(default=None, primary_key=True)
    kind: str = Field(max_length=16)
    key: UUID
    channel: str = Field(max_length=100)
    compute_plan_key: UUID | None = None
    priority: int = 0
    state: str = Field(default=State.NEW, max_length=16)
    not_before: datetime = Field(
        sa_column=Column(DateTime(timezone=True), nullable=False, server_default=text("now()"))
    )
    attempts: int = 0  # leases that were handed out
    tries: int = Field(default=0, sa_column_kwargs={"server_default": "0"})  # vain preparations
    waits_since: datetime | None = optional_moment()  # when its inputs were first asked for
    last_error: str | None = Field(default=None, sa_type=Text)
    cause: str | None = Field(default=None, sa_type=Text)
    lock_token: str | None = Field(default=None, max_length=32)
    leased_until: datetime | None = optional_moment()
    session: UUID | None = None
    canceled: bool = False
    offer: dict[str, Any] | None = Field(default=None, sa_type=JSONB)
    # what a task keeps busy while it is leased (`demands.Needs`)
    cpus: float = Field(default=0.0, sa_column_kwargs={"server_default": "0"})
    memory_bytes: int = Field(
        default=0, sa_column=Column(BigInteger, nullable=False, server_default="0")
    )
    gpus: float = Field(default=0.0, sa_column_kwargs={"server_default": "0"})
    created: datetime = Field(
        sa_column=Column(
            DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")
        )
    )
    changed: datetime = Field(
        sa_column=Column(DateTime(timezone=True), nullable=False, server_default=text("now()"))
    )


class TaskAhead(SQLModel, table=True):
    """The lease of a task whose parents run here and have no result yet (`ahead`)."""

    __tablename__: ClassVar[str] = "task_ahead"
    __table_args__ = (Index("task_ahead_plan", "compute_plan_key"),)

    task_key: UUID = Field(primary_key=True)
    channel: str = Field(max_length=100)
    compute_plan_key: UUID
    offer: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))


class WorkTurn(SQLModel, table=True):
    """A plan's place in its channel's round (`claiming`): each lease moves `finish` on by 1 / `weight`.

    `weighed`: the weight was taken from the plan's priority.
    """

    __tablename__: ClassVar[str] = "work_turn"

    compute_plan_key: UUID = Field(primary_key=True)
    channel: str = Field(max_length=100)
    served: datetime | None = optional_moment()
    weight: float = Field(default=1.0, sa_column_kwargs={"server_default": "1"})
    finish: float = Field(default=0.0, sa_column_kwargs={"server_default": "0"})
    weighed: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})


class WorkClock(SQLModel, table=True):
    """A channel's place in the organization's round, and the virtual time of the round among its plans.

    The row with an empty name is the organization's own: its `clock` is the time of the round among channels,
    and `claims` counts claims, so that of two at once one sees that it judged from old rows.
    """

    __tablename__: ClassVar[str] = "work_clock"

    channel: str = Field(primary_key=True, max_length=100)
    weight: float = Field(default=1.0, sa_column_kwargs={"server_default": "1"})
    finish: float = Field(default=0.0, sa_column_kwargs={"server_default": "0"})
    clock: float = Field(default=0.0, sa_column_kwargs={"server_default": "0"})
    claims: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default="0"))


class Outbox(SQLModel, table=True):
    """The one result of a task, kept until the ledger knows all of it (rule 1).

    `claimed_until` is the short lease of whoever reports it now; `result` is `results.Accepted` as JSON.
    """

    __tablename__: ClassVar[str] = "outbox"

    task_key: UUID = Field(primary_key=True)
    channel: str = Field(max_length=100)
    lock_token: str | None = Field(default=None, max_length=32)
    result: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    attempts: int = 0
    last_error: str | None = Field(default=None, sa_type=Text)
    not_before: datetime = Field(
        sa_column=Column(DateTime(timezone=True), nullable=False, server_default=text("now()"))
    )
    claimed_until: datetime | None = optional_moment()
    created: datetime = Field(
        sa_column=Column(DateTime(timezone=True), nullable=False, server_default=text("now()"))
    )


class RunnerSession(SQLModel, table=True):
    """A runner that may ask for leases; of its token only a keyed digest is kept.

    A pod's session gets tasks of one plan and one function image only (rule 34): `image_group` names the image
    as the pool does. A runner's has neither.
    """

    __tablename__: ClassVar[str] = "runner_session"

    id: UUID = Field(primary_key=True)
    token_digest: str = Field(max_length=64)
    name: str = Field(max_length=100)
    created: datetime = moment()
    last_seen: datetime | None = optional_moment()
    compute_plan_key: UUID | None = None
    image_group: str | None = Field(default=None, max_length=40)


class LoopLease(SQLModel, table=True):
    """Who runs a loop that must run once per organization (rule 10)."""

    __tablename__: ClassVar[str] = "loop_lease"

    name: str = Field(primary_key=True, max_length=100)
    holder: str = Field(max_length=200)
    held_until: datetime = moment()
