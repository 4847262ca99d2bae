"""The pool's `Work` over the work queue: what waits for pods, what the end of a session means for its task."""

from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

import structlog

from backend.engine.compute.cluster.causes import Cause, Verdict
from backend.engine.compute.cluster.images import PodImages
from backend.engine.compute.cluster.planning import Demand
from backend.engine.compute.cluster.store import PoolStore
from backend.engine.compute.cluster.template import FunctionImage
from backend.engine.compute.giving_up import fail_while_running
from backend.engine.compute.queue import WorkQueue
from backend.engine.compute.reporting import Reporter
from backend.engine.compute.sessions import Bound, NewSession, SessionStore
from backend.kit.database import Database
from backend.ports.storage import Storage
from backend.settings import Settings

log = structlog.get_logger()
MOST_CAUSE = 500


class QueueWork:
    """`compute.kuberay.Work` of one organization. For the pool's thread."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        storage: Storage,
        images: PodImages,
        reporter: Reporter,
        wake: Callable[[set[str]], None],
    ) -> None:
        self._me = settings.MSP_ID
        self._name = settings.NAME
        self._secret = settings.SECRET_KEY
        self._database = database
        self._storage = storage
        self._images = images
        self._reporter = reporter
        self._wake = wake
        self._waiting: set[str] = set()  # groups whose tasks were told a cause

    def demands(self) -> Sequence[Demand]:
        """Tasks that are ready for pods, or run in them."""
        with self._database.transaction(durable=False) as session:
            return PoolStore(session).demands()

    def images(self) -> Mapping[str, FunctionImage]:
        """Images of our functions that are READY, and of those that have work here, the newest last."""
        with self._database.transaction(durable=False) as session:
            digests = PoolStore(session).images(self._me)
        found = [self._images.known(digest) for digest in reversed(digests)]
        return {image.group: image for image in found if image is not None}

    def opened(self, session: str, token: str, plan: str, group: str) -> None:
        new = NewSession(UUID(session), token)
        name = f"pod-{self._name}-{group}"
        with self._database.transaction() as connection:
            SessionStore(connection).open_in_pod(self._secret, new, name, Bound(UUID(plan), group))

    def ended(self, session: str, found: Cause | None) -> None:
        """Its task is free for another pod at once, or fails where the function itself is to blame."""
        if found is not None and found.verdict is Verdict.FAIL:
            self._fail(UUID(session), found.text)
        reason = found.text if found is not None else "its pod ended"
        with self._database.transaction() as connection:
            freed = WorkQueue(connection).report_dead(UUID(session), reason)
            SessionStore(connection).end(UUID(session))
        if freed:
            log.warning("tasks_freed", tasks=[str(key) for _, key in freed], reason=reason)
            self._wake({"ready"})

    def waits(self, group: str, found: Cause | None) -> None:
        if found is None and group not in self._waiting:
            return
        text = None if found is None else found.text[:MOST_CAUSE]
        with self._database.transaction(durable=False) as connection:
            PoolStore(connection).waits(group, text)
        self._waiting = (self._waiting - {group}) | (set() if text is None else {group})

    def _fail(self, session: UUID, reason: str) -> None:
        with self._database.transaction() as connection:
            work = WorkQueue(connection).held(session)
        if work is None:
            return
        log.warning("task_failed_with_its_pod", task=str(work.key), reason=reason)
        entry = fail_while_running(self._database, self._storage, work, reason)
        if entry is not None:
            self._reporter.report(entry)
