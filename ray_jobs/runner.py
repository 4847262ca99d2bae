"""A runner session: take a lease, perform it, give the result with the next request (rule 36).

It holds no task in memory that the API cannot hand out again: killed at any line, its function's tree ends
with it, the lease expires, and the task is leased anew.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from ray_jobs.crash_points import crash_points
from ray_jobs.exchange import Client, Unauthorized, Unavailable
from ray_jobs.learned import Learned
from ray_jobs.lease import Lease
from ray_jobs.performing import Ended, Performance, remove_outbox
from ray_jobs.scratch import Scratch
from ray_jobs.session import Session
from ray_jobs.shares import Shares
from ray_jobs.standby import Standby
from ray_jobs.zygotes import Zygotes

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 3.0
_STANDBY_S = 5.0  # without a task; a long poll may make it longer
SHOWN_AFTER_S = 0.1
"""A task that runs longer is shown to whoever looks at the host; it would cost a short one too much."""
Show = Callable[[Lease], AbstractContextManager[None]]
log = logging.getLogger(__name__)


class Runner:
    """`run` until `stop`, which may come from any thread or signal handler."""

    def __init__(
        self, session_path: str | Path, show: Show = lambda lease: contextlib.nullcontext()
    ) -> None:
        """`show` gives a context in which the host displays the task as running."""
        self._show = show
        self._session = Session.read(Path(session_path))
        session = self._session
        self._scratch = Scratch(session.run_folder, session.media, session.session)
        self._learned = Learned(session.media / "learned")
        self._zygotes = Zygotes(session, self._scratch, self._learned)
        self._shares = Shares(session.shares)
        self._standby = Standby(session, self._scratch, self._zygotes)
        self._client = self._new_client()
        self._stopped = threading.Event()
        self._performance: Performance | None = None

    def run(self) -> None:
        """Exchange results and leases until `stop`. A result is kept until the API has taken it."""
        result: dict[str, Any] | None = None
        pause_s, busy_until = _FIRST_PAUSE_S, 0.0
        try:
            while not self._stopped.is_set():
                try:
                    answer = self._client.exchange(result, self._session.wait_s)
                except (Unavailable, Unauthorized) as error:
                    if not self._stopped.is_set():
                        log.warning("no exchange: %r; again in %.1f s", error, pause_s)
                    self._stopped.wait(pause_s)
                    pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                    continue
                pause_s = _FIRST_PAUSE_S
                if result is not None:
                    crash_points.reach("runner", "result", "given")
                result = None
                if answer.get("lease"):
                    crash_points.reach("runner", "lease", "taken")
                    result = self._perform(answer["lease"])
                    crash_points.reach("runner", "result", "kept")
                    busy_until = time.monotonic()
                elif time.monotonic() - busy_until > _STANDBY_S:
                    self._standby.clear()
            if result is not None:
                self._give_last(result)
        finally:
            self._client.close()
            self._standby.clear()
            self._zygotes.close()
            self._scratch.close()

    def stop(self) -> None:
        """End the running function's tree and the long poll; `run` returns soon after."""
        self._stopped.set()
        performance = self._performance
        if performance is not None:
            performance.end()
        self._client.interrupt()

    def _new_client(self) -> Client:
        return Client(self._session.url, self._session.token, self._session.session)

    def _give_last(self, result: dict[str, Any]) -> None:
        client = self._new_client()
        try:
            client.exchange(result, 0)
        except (Unavailable, Unauthorized) as error:
            log.warning("task %s: result not given: %r", result["task"], error)
        finally:
            client.close()

    def _perform(self, value: dict[str, Any]) -> dict[str, Any] | None:
        """The result, or None for a task that was ended."""
        try:
            lease = Lease.parse(value)
        except (KeyError, TypeError, ValueError) as error:
            log.exception("a lease that cannot be read")
            return {
                "task": value.get("task"),
                "lock_token": value.get("lock_token"),
                "exit": None,
                "failure": {"category": "INTERNAL", "reason": f"unreadable lease: {error!r}"},
                "outputs": [],
                "log": None,
                "steps": {},
                "profile": {},
            }
        performance = Performance(
            lease,
            self._session,
            self._scratch,
            self._zygotes,
            self._learned,
            self._shares,
            self._standby,
        )
        self._performance = performance
        done = threading.Event()
        heart = threading.Thread(
            target=self._beat, args=(performance, done), name="heartbeat", daemon=True
        )
        heart.start()
        try:
            if self._stopped.is_set():
                performance.end()
            return performance.result()
        except Ended:
            log.info("task %s was ended", lease.task)
            remove_outbox(self._session.outbox / lease.task / lease.lock_token)
            return None
        finally:
            self._performance = None
            done.set()

    def _beat(self, performance: Performance, done: threading.Event) -> None:
        """Show the task and extend its lease while it runs."""
        if done.wait(SHOWN_AFTER_S):
            return
        with self._show(performance.lease):
            self._extend(performance, done)

    def _extend(self, performance: Performance, done: threading.Event) -> None:
        """An outage changes nothing: expiry only permits (rule 9)."""
        lease = {"task": performance.lease.task, "lock_token": performance.lease.lock_token}
        client: Client | None = None
        while not done.wait(self._session.heartbeat_s):
            client = client or self._new_client()
            try:
                answer = client.heartbeat([lease])
            except (Unavailable, Unauthorized) as error:
                log.warning("task %s: no heartbeat: %r", lease["task"], error)
                continue
            gone = [*(answer.get("lost") or ()), *(answer.get("cancel") or ())]
            if lease["task"] in gone:
                performance.end()
        if client is not None:
            client.close()
