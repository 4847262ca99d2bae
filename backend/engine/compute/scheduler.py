"""The scheduler's turn: prepare new tasks, weigh new plans, open again what nobody keeps alive."""

import time
from collections.abc import Callable
from uuid import uuid4

import structlog

from backend.engine.compute.claiming import Claiming
from backend.engine.compute.demands import priority, weight
from backend.engine.compute.preparation import Preparation
from backend.engine.compute.queue import WorkQueue
from backend.engine.compute.tables import Kind
from backend.kit.database import Database
from backend.monitoring.counters import Counters
from backend.settings import Settings

log = structlog.get_logger()
SWEEP_S = 1.0
TOPICS = {Kind.TASK: ("new", "ready"), Kind.BUILD: ("build",)}


class Scheduler:
    def __init__(
        self,
        settings: Settings,
        database: Database,
        preparation: Preparation,
        wake: Callable[[set[str]], None],
        counters: Counters,
    ) -> None:
        self._counters = counters
        self._settings = settings
        self._shared = False
        self._database = database
        self._preparation = preparation
        self._wake = wake
        self._swept = 0.0
        self._id = uuid4()

    def inherit(self) -> None:
        """Tasks that a process which died was preparing are new again, before their lease ends."""
        with self._database.transaction(durable=False) as session:
            WorkQueue(session).inherit((Kind.TASK,), self._id)

    def turn(self) -> bool:
        """Prepare a batch; True while more may be waiting."""
        worked = self._preparation.turn()
        if time.monotonic() - self._swept > SWEEP_S:
            self._swept = time.monotonic()
            self.sweep()
            self.weigh()
            self._counters.flush()
        return worked

    def weigh(self) -> None:
        """Give channels their share, and plans that are new here the weight of their priority."""
        settings = self._settings
        with self._database.transaction(durable=False) as session:
            claiming = Claiming(session)
            if not self._shared:
                for name, channel in settings.CHANNELS.items():
                    claiming.channel(name, channel.weight)
            for plan in claiming.unweighed():
                found = priority(
                    plan.metadata,
                    ours=plan.owner == settings.MSP_ID,
                    administrator=plan.role == "ADMIN",
                    most=settings.PRIORITY_MAX,
                    foreign=settings.PRIORITY_MAX_FOREIGN,
                )
                claiming.weigh(plan.plan, weight(found))
        self._shared = True

    def sweep(self) -> None:
        """Leases that ran out: their work may be claimed again."""
        with self._database.transaction() as session:
            opened = WorkQueue(session).sweep()
        for kind, _ in opened:
            self._counters.add("substra_lease_expiries", kind=kind)
        if opened:
            log.warning("leases_ran_out", works=[f"{kind}:{key}" for kind, key in opened])
            self._wake({topic for kind, _ in opened for topic in TOPICS.get(kind, ("chore",))})
