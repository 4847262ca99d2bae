"""Ring 1's part of a task before a runner sees it: still wanted? Inputs local? Then the lease is offered.

The usual task of a chain has everything here already: then preparation is three queries for a whole batch of
tasks, no call, and one update in the same transaction.
"""

import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from sqlmodel import Session

from backend.engine.compute import decisions
from backend.engine.compute.cache import ForGood
from backend.engine.compute.canceling import cancel_tasks
from backend.engine.compute.chainkeys import Chainkeys
from backend.engine.compute.decisions import Prepare, back_off_s
from backend.engine.compute.demands import Impossible, Site, needs
from backend.engine.compute.giving_up import fail_internally, fail_with_a_log
from backend.engine.compute.leases import heartbeat
from backend.engine.compute.offering import Images, Inputs, Local, Offering
from backend.engine.compute.preparing import PreparingStore
from backend.engine.compute.queue import Claimed, WorkQueue
from backend.engine.compute.reporting import Reporter
from backend.engine.compute.store import InputAsset, TaskContext, task_contexts
from backend.engine.compute.wakeups import Signal
from backend.engine.images.transfer import ImageForGood
from backend.kit.database import Database
from backend.kit.errors import ApiError
from backend.ports.exchange import TransferStopped
from backend.ports.ledger.client import ChannelLedger
from backend.settings import Settings

log = structlog.get_logger()
BATCH = 64
TRANSFERS = 4
"""Tasks whose inputs are brought at a time, and assets of theirs that are on their way at a time."""
MOST_FLYING = 2 * TRANSFERS
"""Tasks handed to the transfer threads at a time: their leases are kept only while a thread has them."""

CANCELED_S = 0.1
"""When tasks of ended plans are looked at again while a batch of such tasks is being canceled."""

TURN_S = 0.2
"""When a task looks again whether another one of its plan still has the chainkeys."""

CROWDED_S = 5.0
"""When those are looked at again that wait behind more transfers than will end in a moment."""


class Preparation:
    """Prepares the tasks of one organization."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        cache: Inputs,
        images: Images,
        offering: Offering,
        chainkeys: Chainkeys,
        ledger: Callable[[str], ChannelLedger],
        reporter: Reporter,
        wake: Callable[[set[str]], None],
        canceled: Signal,
    ) -> None:
        """`canceled` is fired when plans are canceled: transfers look whether they are still wanted."""
        self._database = database
        self.offering = offering
        # from when inputs and image were first asked for, over all attempts; transfers under way end too
        self.stage_s = settings.TASK_STAGING_TIMEOUT
        self._site = Site.of(settings)
        self._outbox = settings.MEDIA_ROOT / "outbox"
        self._cache = cache
        self._images = images
        self._chainkeys = chainkeys
        self._ledger = ledger
        self._reporter = reporter
        self._wake = wake
        self._canceled = canceled
        self._count = threading.Lock()
        self._flying = 0
        self._in_hand: dict[UUID, TaskContext] = {}
        self._is_canceling = (
            False  # one batch at a time, or those of a ledger that is away would pile up
        )
        self._pool = ThreadPoolExecutor(TRANSFERS, thread_name_prefix="transfer")
        self._fetching = ThreadPoolExecutor(TRANSFERS, thread_name_prefix="fetch")
        self._canceling = ThreadPoolExecutor(1, thread_name_prefix="canceling")

    def turn(self) -> bool:
        """Look at a batch of new tasks; False when there was none."""
        slow: list[tuple[Claimed, TaskContext]] = []
        over: list[Claimed] = []
        over_later: list[Claimed] = []
        canceling = self._is_canceling
        unknown: list[Claimed] = []
        behind: list[Claimed] = []
        with self._database.transaction(durable=False) as session:
            store = PreparingStore(session)
            works = store.new(BATCH)
            contexts = task_contexts(session, [work.key for work in works])
            ready = 0
            for work in works:
                context = contexts.get(work.key)
                step = decisions.prepare(
                    context.status if context else None, context.plan_status if context else None
                )
                local = self.offering.local(context) if step is Prepare.OFFER and context else None
                if local is not None and context is not None:
                    store.offer(work, self.offering.lease(context, local))
                    self.offering.profile(session, context, local)
                    ready += 1
                elif step is Prepare.DROP:
                    store.drop(work)
                elif step is Prepare.CANCEL and canceling:
                    over_later.append(work)
                elif step is Prepare.CANCEL:
                    over.append(store.take(work))
                elif step in (Prepare.WAIT, Prepare.EARLY) or context is None:
                    unknown.append(work)
                elif len(slow) + self._flying >= MOST_FLYING:
                    behind.append(work)
                else:
                    slow.append((store.take(work), context))
            store.wait(unknown, "its task is not known yet", 1.0)
            store.wait(over_later, "its plan ended", CANCELED_S)
            cause = "it waits for other transfers"
            store.wait(behind[:MOST_FLYING], cause, 0.5)
            store.wait(behind[MOST_FLYING:], cause, CROWDED_S)
        if ready:
            self._wake({"ready"})
        for work, context in slow:
            with self._count:
                self._flying += 1
            self._pool.submit(self._guarded, work, context)
        if over:
            self._is_canceling = True
            self._canceling.submit(self._cancel, over)
        return bool(works)

    def offers(self, session: Session, keys: Sequence[UUID]) -> dict[UUID, dict[str, Any] | None]:
        """The leases of those new tasks that need no preparation (`Offering.at_once`)."""
        return self.offering.at_once(session, keys[:BATCH])

    def awaited(self, key: str) -> bool:
        """Whether a task that turns ready needs nobody to hurry (`Offering.awaited`)."""
        return self.offering.awaited(key)

    def touch(self) -> None:
        """What is here already of tasks whose other inputs are on their way counts as used now."""
        for context in list(self._in_hand.values()):
            if context.image:
                self._images.present(context.image)
            for asset in context.inputs:
                self._cache.present(asset)

    def close(self) -> None:
        for pool in (self._pool, self._fetching, self._canceling):
            pool.shutdown(wait=False, cancel_futures=True)

    # ------------------------------------------------------------------ in the pools
    def _guarded(self, work: Claimed, context: TaskContext) -> None:
        try:
            with self._database.transaction(durable=False) as session:
                if not WorkQueue(session).extend(work):  # it waited too long for a thread
                    return
                waited_s = PreparingStore(session).begin(work)
            self._in_hand[work.key] = context
            over = partial(self._over, work)
            with heartbeat(self._database, work, over=over, signal=self._canceled) as stopped:
                self._bring_in_time(work, context, stopped, waited_s)
        except Exception as error:  # the lease runs out, and the task is looked at again
            log.exception("preparation_failed", task=str(work.key), error=repr(error))
        finally:
            self._in_hand.pop(work.key, None)
            with self._count:
                self._flying -= 1

    def _bring_in_time(
        self, work: Claimed, context: TaskContext, stopped: Callable[[], bool], waited_s: float
    ) -> None:
        """Bring what is missing until the limit of staging, of which `waited_s` are gone."""
        limit_s = self.stage_s
        late_at = time.monotonic() + limit_s - waited_s if limit_s else math.inf
        try:
            self._bring(work, context, lambda: time.monotonic() > late_at or stopped())
        except TransferStopped:
            if time.monotonic() > late_at and not stopped():
                self._again(work, TimeoutError("they are still on their way"))
                return
            log.info("transfer_stopped", task=str(work.key))  # its next look cancels it
            with self._database.transaction(durable=False) as session:
                WorkQueue(session).retry(work, "its plan ended", after_s=0)
            self._wake({"new"})

    def _cancel(self, works: Sequence[Claimed]) -> None:
        """The plans ended before these tasks started (orchestrator.md 11.3).

        What is not over then waits for its lease to run out, and is looked at again.
        """
        try:
            self._cancel_all(works)
        except Exception as error:
            log.exception("cancel_failed", error=repr(error))
        finally:
            self._is_canceling = False

    def _cancel_all(self, works: Sequence[Claimed]) -> None:
        over: set[UUID] = set()
        for channel in sorted({work.channel for work in works}):
            tasks = [work.key for work in works if work.channel == channel]
            found = cancel_tasks(self._ledger(channel), tasks, "Compute plan is not runnable")
            over |= found.over
            if found.error is not None:
                log.warning("cancel_repeated", channel=channel, error=found.error.details)
        with self._database.transaction(durable=False) as session:
            queue = WorkQueue(session)
            for work in works:
                if work.key in over:
                    queue.settle(work)

    def _over(self, work: Claimed) -> bool:
        """Whether the plan ended while the task's inputs were on their way."""
        with self._database.transaction(durable=False) as session:
            context = task_contexts(session, [work.key]).get(work.key)
        return context is not None and context.plan_status in decisions.ENDED_PLANS

    def _bring(self, work: Claimed, context: TaskContext, stopped: Callable[[], bool]) -> None:
        """Fetch and unpack what is missing, then offer the lease; give up only for good (rule 44)."""
        try:
            local = self._fetched(context, stopped)
        except Impossible as error:
            log.error("task_impossible", task=str(work.key), reason=str(error))
            entry = fail_with_a_log(self._database, self._outbox, work, str(error))
            if entry is not None:
                self._reporter.report(entry)
            return
        except (ForGood, ImageForGood) as error:
            log.error("task_impossible", task=str(work.key), reason=str(error))
            with self._database.transaction() as session:
                entry = fail_internally(session, work, str(error))
            if entry is not None:
                self._reporter.report(entry)
            return
        except (ApiError, OSError) as error:
            self._again(work, error)
            return
        with self._database.transaction() as session:
            store = PreparingStore(session)
            if local.chainkeys is not None and not store.alone(work):
                store.later(work, "another task of its plan has the chainkeys", TURN_S)
                return
            offered = store.offer(work, self.offering.lease(context, local))
            self.offering.profile(session, context, local)
        if offered:
            self._wake({"ready"})

    def _fetched(self, context: TaskContext, stopped: Callable[[], bool]) -> Local:
        if context.unresolved:
            raise OSError(f"inputs are not known yet: {', '.join(sorted(context.unresolved))}")
        if not context.image:
            raise OSError("the function's image is not known yet")
        wanted = needs(self._site, context.function_metadata, context.plan_metadata)
        started = time.monotonic()
        environment = self._images.bring(
            context.function, context.function_owner, context.channel, context.image, stopped
        )
        duration = decisions.clamp_microseconds(time.monotonic() - started)
        chainkeys = None
        if self._chainkeys.wanted(context.plan_tag):
            chainkeys = self._chainkeys.bring(context.plan, context.plan_tag)
        started = time.monotonic()
        inputs = self._inputs(context, stopped)
        brought = decisions.clamp_microseconds(time.monotonic() - started)
        return Local(inputs, environment, wanted, duration, chainkeys, brought)

    def _inputs(self, context: TaskContext, stopped: Callable[[], bool]) -> dict[UUID, str]:
        """Where the inputs are; those that are missing are fetched side by side."""

        def bring(asset: InputAsset) -> str:
            return str(self._cache.bring(asset, context.channel, stopped))

        assets = {asset.key: asset for asset in context.inputs}
        return dict(zip(assets, self._fetching.map(bring, assets.values()), strict=True))

    def _again(self, work: Claimed, error: Exception) -> None:
        cause, limit_s = str(error) or repr(error), self.stage_s
        log.warning("task_waits", task=str(work.key), cause=cause)
        with self._database.transaction() as session:
            attempts, waited_s = PreparingStore(session).tries(work)
            if not decisions.too_long(waited_s, limit_s):
                after_s = back_off_s(attempts)
                if limit_s:  # the last look is when the time is over
                    after_s = min(after_s, limit_s - waited_s + 0.01)
                WorkQueue(session).retry(
                    work, cause, after_s=after_s, cause=cause[:500], counted=True
                )
                return
            reason = f"its inputs did not come within {limit_s:g} s: {cause}"
            entry = fail_internally(session, work, reason)
        if entry is not None:
            self._reporter.report(entry)
