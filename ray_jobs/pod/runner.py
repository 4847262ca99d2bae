"""A session in a pod: leases of one plan, one after the other, until none came for a while (rule 34)."""

import logging
import threading
import time
from typing import Any

from ray_jobs.exchange import Client, Unauthorized, Unavailable
from ray_jobs.learned import sane
from ray_jobs.performing import Ended
from ray_jobs.pod.agent_client import Agent, Hello, NoAgent
from ray_jobs.pod.lease import PodLease
from ray_jobs.pod.performing import PodPerformance
from ray_jobs.pod.session import PodSession, devote

log = logging.getLogger(__name__)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 3.0
_AGENT_S = 30.0


class PodRunner:
    """`run` until the work is done, the session is refused, or `stop`, which may come from any thread."""

    def __init__(self, session: PodSession) -> None:
        self._session = session
        self._agent = Agent(session.socket, session.agent_user)
        self._client = self._new_client()
        self._stopped = threading.Event()
        self._performance: PodPerformance | None = None
        self._useless: NoAgent | None = None  # found out after a task: its result is still given
        self._hello = Hello("", "/", {}, False)
        self._learned: dict[str, None] = {}  # modules that the tasks here have imported, in order

    def run(self) -> None:
        """Exchange results and leases. A result is kept until the API has taken it.

        Raises:
            Served: this pod has had a session before.
            NoAgent: the function's container is of no use (any more); the lease is free at once by the pool.
        """
        devote(self._session)
        self._hello = hello = self._agent.wait(_AGENT_S)
        if hello.image != self._session.image:
            raise NoAgent("the function's container is of another image")
        result: dict[str, Any] | None = None
        pause_s, idle_since = _FIRST_PAUSE_S, time.monotonic()
        try:
            while not self._stopped.is_set():
                left_s = self._session.idle_s - (time.monotonic() - idle_since)
                if result is None and left_s <= 0:
                    return
                wait_s = min(self._session.wait_s, max(left_s, 0.0))
                try:
                    answer = self._client.exchange(result, wait_s)
                except Unauthorized:
                    log.info("the session is over: the API does not know it")
                    return
                except Unavailable as error:
                    log.warning("no exchange: %r; again in %.1f s", error, pause_s)
                    self._stopped.wait(pause_s)
                    pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                    idle_since = time.monotonic()
                    continue
                pause_s, result = _FIRST_PAUSE_S, None
                if answer.get("lease"):
                    result = self._perform(answer["lease"])
                    idle_since = time.monotonic()
                if self._useless is not None:
                    break
            if result is not None:
                self._give_last(result)
            if self._useless is not None:
                raise self._useless
        finally:
            self._client.close()

    def stop(self) -> None:
        """End the running function and the long poll; `run` returns soon after."""
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
            lease = PodLease.parse(value)
        except (KeyError, TypeError, ValueError) as error:
            log.exception("a lease that cannot be read")
            failure = {"category": "INTERNAL", "reason": f"unreadable lease: {error!r}"}
            known = {name: value.get(name) for name in ("task", "lock_token")}
            empty: dict[str, Any] = {"outputs": [], "log": None, "steps": {}, "profile": {}}
            return {**known, "exit": None, "failure": failure, **empty}
        performance = PodPerformance(lease, self._session, self._agent, self._hello)
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
            log.info("task %s was ended", lease.task.task)
            return None
        except NoAgent as error:
            self._useless = error
            return None
        finally:
            self._performance = None
            done.set()
            self._clean(performance)

    def _clean(self, performance: PodPerformance) -> None:
        try:
            performance.clean()
            names = sane([*self._learned, *performance.modules])
            if len(names) > len(self._learned):
                self._learned = dict.fromkeys(names)
                self._agent.learn(names)
        except NoAgent as error:
            self._useless = self._useless or error

    def _beat(self, performance: PodPerformance, done: threading.Event) -> None:
        """Extend the lease while the task runs. An outage changes nothing: expiry only permits (rule 9)."""
        task = performance.lease.task
        lease = {"task": task.task, "lock_token": task.lock_token}
        client = self._new_client()
        while not done.wait(self._session.heartbeat_s):
            try:
                answer = client.heartbeat([lease])
            except (Unavailable, Unauthorized) as error:
                log.warning("task %s: no heartbeat: %r", task.task, error)
                continue
            if task.task in [*(answer.get("lost") or ()), *(answer.get("cancel") or ())]:
                performance.end()
        client.close()
