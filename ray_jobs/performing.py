"""One task from lease to result: stage, run, judge, clean up."""

import contextlib
import logging
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any

from ray_jobs import chainkeys
from ray_jobs.capture import LogCapture
from ray_jobs.command import NoEntryPoint, can_be_forked
from ray_jobs.crash_points import crash_points
from ray_jobs.execution import Execution, Outcome
from ray_jobs.guard import DiskGuard
from ray_jobs.inner import landlock
from ray_jobs.learned import Learned
from ray_jobs.lease import Lease
from ray_jobs.results import BadOutput, collect
from ray_jobs.scratch import COLD, Scratch, TaskFolders
from ray_jobs.session import Session
from ray_jobs.shares import Share, Shares
from ray_jobs.staging import CannotLink, MissingInput, Staged, own_limits, stage
from ray_jobs.standby import Standby
from ray_jobs.zygotes import NoZygote, Zygotes

log = logging.getLogger(__name__)
_REFUSED_MEMORY = (
    b"MemoryError", b"std::bad_alloc", b"annot allocate memory", b"an't allocate memory",
    b"out of memory", b"Out of memory",
)  # fmt: skip
EXECUTION, INTERNAL = "EXECUTION", "INTERNAL"


class Ended(Exception):
    """The task was ended by `Performance.end`: it has no result."""


class Stopwatch:
    """Milliseconds by name, for the profile."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> float:
        """Name the time since the last call; milliseconds."""
        now = time.monotonic()
        lap = 1e3 * (now - self._last)
        self.laps[name] = round(self.laps.get(name, 0.0) + lap, 3)
        self._last = now
        return lap


class Performance:
    """A task being performed. `end` may come from any thread, at any moment, more than once."""

    def __init__(
        self,
        lease: Lease,
        session: Session,
        scratch: Scratch,
        zygotes: Zygotes,
        learned: Learned,
        shares: Shares,
        standby: Standby,
    ) -> None:
        self.lease = lease
        self._standby = standby
        self._shares = shares
        self._share = Share()
        self._session = session
        self._scratch = scratch
        self._zygotes = zygotes
        self._learned = learned
        self._outbox = session.outbox / lease.task / lease.lock_token
        self._ended = threading.Event()
        self._execution: Execution | None = None
        self._chainkeys: Path | None = None
        self._watch = Stopwatch()
        self._start = "none"

    def end(self) -> None:
        """Kill whatever runs; `result` raises Ended soon after."""
        self._ended.set()
        execution = self._execution
        if execution is not None:
            execution.end()

    def result(self) -> dict[str, Any]:
        """Do the task; what the API is told (rule 36).

        Raises:
            Ended: nothing is to be told.
        """
        session = self._session
        capture = LogCapture(self._outbox / "log", session.log_head_bytes, session.log_tail_bytes)
        try:
            self._share = self._shares.take(self.lease)
            return self._perform(capture)
        except (MissingInput, OSError, ValueError) as error:
            if self._ended.is_set():
                raise Ended from error
            log.exception("task %s could not be performed", self.lease.task)
            return self._message(None, (INTERNAL, f"{type(error).__name__}: {error}"[:300]), [], {})
        except NoEntryPoint:
            return self._message(None, (INTERNAL, "the image has no entry point"), [], {})
        finally:
            self._share.release()
            capture.close()

    def _perform(self, capture: LogCapture) -> dict[str, Any]:
        folders, outcome, steps = self._attempt(capture)
        if self._worth_another(outcome, capture):
            self._scratch.remove(folders)
            capture.again()
            folders, outcome, steps = self._attempt(capture)
        try:
            steps["task_execution"] = self._watch.lap("execute")
            failure, outputs = self._judge(outcome, folders, capture)
            steps["save_outputs"] = self._watch.lap("collect")
            for name in ("fork", "run"):
                self._watch.laps[name] = round(outcome.times_ms.get(name, 0.0), 3)
        finally:
            self._scratch.remove_soon(folders)
        self._watch.lap("clean")
        self._learn(outcome)
        return self._message(outcome.exit, failure, outputs, steps)

    def _worth_another(self, outcome: Outcome, capture: LogCapture) -> bool:
        """Whether it was no fault of the function's, or may not have been: once more then, never twice."""
        if self._ended.is_set():
            return False
        if outcome.refused is not None:
            self._zygotes.refuse(self.lease.environment, outcome.refused)
            return True
        if not outcome.lost and outcome.exit != -signal.SIGKILL:
            return False
        log.warning("task %s: its processes were killed; once more", self.lease.task)
        capture.say("The function was killed from outside, and is started once more.")
        return True

    def _attempt(self, capture: LogCapture) -> tuple[TaskFolders, Outcome, dict[str, float]]:
        folders, staged, execution = self._prepare()
        try:
            self._watch.lap("stage")
            steps = {"prepare_inputs": sum(self._watch.laps.values())}
            disk = DiskGuard(folders.write, self._session.disk_reserve_bytes)
            return folders, self._run(execution, staged, capture, disk), steps
        except BaseException:
            self._scratch.remove_soon(folders)
            raise

    def _prepare(self) -> tuple[TaskFolders, Staged, Execution]:
        """Folders, inputs and somebody to run it: the zygote if it can be, else cold."""
        environment = self.lease.environment
        walled = landlock.abi() > 0
        # a zygote's children have no devices but its own, and it has none
        if can_be_forked(environment) and not self._share.devices:
            berth = self._standby.take(environment)
            folders = (
                berth.folders if berth else self._scratch.open(self._zygotes.zone(environment))
            )
            try:
                staged = self._stage(folders, "links" if walled else "copies", berth is not None)
                self._watch.lap("stage")
                connection = berth.claimed(staged.policy) if berth else None
                if connection is None:
                    connection = self._zygotes.connect(environment, self._ended)
                self._watch.lap("connect")
                return folders, staged, Execution.in_zygote(connection)
            except (CannotLink, NoZygote) as error:
                self._scratch.remove(folders)
                if self._ended.is_set():
                    raise Ended from error
            except BaseException:
                self._scratch.remove(folders)
                raise
            finally:
                if berth is not None:
                    berth.leave()
        folders = self._scratch.open(self._scratch.zone(COLD))
        try:
            staged = self._stage(folders, "in place" if walled else "copies")
            return folders, staged, Execution.cold()
        except BaseException:
            self._scratch.remove(folders)
            raise

    def _stage(self, folders: TaskFolders, way: str, composed: bool = False) -> Staged:
        beside = []
        if self.lease.chainkeys is not None:
            copy = chainkeys.place(self.lease.chainkeys, folders)
            beside.append((chainkeys.IDENTIFIER, copy))
        return stage(self.lease, folders, way, self._session, self._share, beside, composed)

    def _run(
        self, execution: Execution, staged: Staged, capture: LogCapture, disk: DiskGuard
    ) -> Outcome:
        self._execution = execution
        self._start = "zygote" if execution.warm else "cold"
        if self._ended.is_set():
            execution.end()
        argv = staged.command.words
        if execution.warm and staged.command.script:
            argv = staged.command.script
        crash_points.reach("runner", "inputs", "staged")
        execution.start(staged.request(argv), capture)
        if execution.warm:
            self._standby.prepare(self.lease.environment, own_limits(self.lease))
        crash_points.reach("runner", "function", "started")
        return execution.wait(capture, self.lease.timeout_s, disk)

    def _judge(
        self, outcome: Outcome, folders: TaskFolders, capture: LogCapture
    ) -> tuple[tuple[str, str] | None, list[dict[str, Any]]]:
        """The failure, if any, and the outputs. The user's faults are written in the user's log."""
        if self._ended.is_set():
            raise Ended
        if outcome.exit is None and outcome.limit:
            capture.say(f"The function was ended: {outcome.reason}.")
            return (EXECUTION, outcome.reason or ""), []
        if outcome.exit is None:
            return (INTERNAL, outcome.reason or "the function's process was lost"), []
        if outcome.exit != 0:
            return (EXECUTION, _ending(outcome.exit, capture, self.lease.memory_bytes)), []
        try:
            return None, self._collect(folders)
        except BadOutput as error:
            capture.say(f"The function ended well, but {error}.")
            return (EXECUTION, str(error)), []

    def _collect(self, folders: TaskFolders) -> list[dict[str, Any]]:
        most = self._session.output_bytes
        crash_points.reach("runner", "function", "ended")
        outputs = collect(self.lease, folders, self._outbox, most, self._ended)
        if self.lease.chainkeys is not None:
            self._chainkeys = chainkeys.take_back(folders, self._outbox)
        crash_points.reach("runner", "outputs", "collected")
        return outputs

    def _learn(self, outcome: Outcome) -> None:
        environment = self.lease.environment
        if outcome.modules and outcome.exit == 0:
            with contextlib.suppress(OSError):
                names = self._learned.add(environment.key, outcome.modules)
                if names:
                    self._zygotes.warm(environment, names)

    def _message(
        self,
        code: int | None,
        failure: tuple[str, str] | None,
        outputs: list[dict[str, Any]],
        steps_ms: dict[str, float],
    ) -> dict[str, Any]:
        category, reason = failure or ("", "")
        return {
            "task": self.lease.task,
            "lock_token": self.lease.lock_token,
            "exit": code,
            "failure": {"category": category, "reason": reason} if failure else None,
            "outputs": outputs,
            "log": str(self._outbox / "log"),
            "steps": {name: round(1e3 * lap) for name, lap in steps_ms.items()},
            "profile": {**self._watch.laps, "start": self._start},
            **({"chainkeys": str(self._chainkeys)} if self._chainkeys else {}),
        }


def _ending(code: int, capture: LogCapture, memory_bytes: int) -> str:
    """In words; a library that was refused more memory than the task has only says so in its own."""
    if memory_bytes and capture.ends_with_any(_REFUSED_MEMORY):
        capture.say(f"The function was out of memory: it may have {memory_bytes >> 20} MiB.")
        return f"out of memory, exit code {code}"
    if code < 0:
        capture.say(f"The function was ended by signal {-code}.")
        return f"ended by signal {-code}"
    return f"exit code {code}"


def remove_outbox(outbox: Path) -> None:
    """Forget what an ended task left in its outbox."""
    with contextlib.suppress(OSError):
        shutil.rmtree(outbox)
        outbox.parent.rmdir()
