"""Perform one leased task in a pod: download, let the agent run it, judge its files, upload (rule 16)."""

import contextlib
import json
import logging
import os
import secrets
import threading
from pathlib import Path
from typing import Any

from ray_jobs.command import NoEntryPoint, can_be_forked
from ray_jobs.execution import Execution, Outcome
from ray_jobs.guard import DiskGuard
from ray_jobs.lease import MODEL, OPENER, SAMPLE, Lease, file_name
from ray_jobs.performing import EXECUTION, INTERNAL, Ended, Stopwatch
from ray_jobs.pod import transfer
from ray_jobs.pod.agent_client import Agent, Hello, Prepared
from ray_jobs.pod.lease import PodLease
from ray_jobs.pod.live import Live, SharedCapture
from ray_jobs.pod.outputs import Unfit, deliver
from ray_jobs.pod.session import PodSession
from ray_jobs.scratch import remove_tree
from ray_jobs.staging import output_file

log = logging.getLogger(__name__)
_SHARED = 0o2770  # of the pod's group: the function's user may write there


class PodPerformance:
    """A task being performed. `end` may come from any thread, at any moment, more than once."""

    def __init__(self, lease: PodLease, session: PodSession, agent: Agent, hello: Hello) -> None:
        self.lease = lease
        self.modules: list[str] = []  # that a function which ended well has imported
        self._session = session
        self._agent = agent
        self._hello = hello
        self._start = "pod"
        self._name = secrets.token_hex(8)
        self._read = session.inputs / self._name
        self._out = session.outputs / self._name
        self._kept = session.work / self._name
        self._ended = threading.Event()
        self._execution: Execution | None = None
        self._watch = Stopwatch()

    def end(self) -> None:
        """Kill whatever runs; `result` raises Ended soon after."""
        self._ended.set()
        execution = self._execution
        if execution is not None:
            execution.end()

    def result(self) -> dict[str, Any]:
        """Do the task; what the API is told. `clean` must follow, whatever came.

        Raises:
            Ended: nothing is to be told.
            NoAgent: the pod is of no use any more; nothing is to be told either.
        """
        session = self._session
        self._kept.mkdir(mode=0o700)
        capture = SharedCapture(self._kept / "log", session.log_head_bytes, session.log_tail_bytes)
        try:
            with Live(capture, self.lease.log_url):
                message = self._perform(capture)
        except (transfer.TransferFailed, OSError, ValueError, KeyError) as error:
            if self._ended.is_set():
                raise Ended from error
            log.exception("task %s could not be performed", self.lease.task.task)
            reason = f"{type(error).__name__}: {error}"[:300]
            message = self._message(None, (INTERNAL, reason), [], {})
        finally:
            capture.close()
        if self.lease.log_url:
            with (
                contextlib.suppress(transfer.TransferFailed),
                (self._kept / "log").open("rb") as file,
            ):
                transfer.upload(self.lease.log_url, file, "log")
        return message

    def clean(self) -> None:
        """Empty all that the function may have written, and remove what it was given.

        Raises:
            NoAgent: no other task may run here.
        """
        try:
            self._agent.clean()
        finally:
            for folder in (self._read, self._out, self._kept):
                remove_tree(folder)

    def _perform(self, capture: SharedCapture) -> dict[str, Any]:
        for folder in (self._read, self._out):
            folder.mkdir()
            folder.chmod(_SHARED)
        outputs = os.open(self._out, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            arguments = self._stage()
            self._watch.lap("stage")
            prepared = self._prepare(warm=True)
            self._watch.lap("connect")
            steps = {"prepare_inputs": sum(self._watch.laps.values())}
            outcome = self._run(prepared, arguments, capture)
            if prepared.warm and (outcome.refused or outcome.lost) and not self._ended.is_set():
                log.warning("once more, the zygote was lost: %s", outcome.refused or outcome.reason)
                capture.say("The function was killed from outside, and is started once more.")
                capture.again()
                self._agent.clean()
                outcome = self._run(self._prepare(warm=False), arguments, capture)
            steps["task_execution"] = self._watch.lap("execute")
            for name in ("fork", "run"):
                self._watch.laps[name] = round(outcome.times_ms.get(name, 0.0), 3)
            if self._ended.is_set():
                raise Ended
            self._agent.settle(self._name)
            self._watch.lap("settle")
            failure, found = self._judge(outcome, outputs, capture)
            self.modules = [] if failure else outcome.modules
            steps["save_outputs"] = self._watch.lap("collect")
        finally:
            os.close(outputs)
        return self._message(outcome.exit, failure, found, steps)

    def _stage(self) -> Path:
        """Inputs in their places; the arguments file."""
        places: dict[Path, Path] = {}
        order = []
        for asset, source in zip(self.lease.task.inputs, self.lease.downloads, strict=True):
            place = _place(asset.kind, asset.key, self._read)
            order.append(place)
            if place in places:
                continue
            places[place] = place
            place.parent.mkdir(parents=True, exist_ok=True)
            if self._ended.is_set():
                raise Ended
            if source.packed:
                archive = self._kept / "archive"
                transfer.download(source.url, archive, source.checksum, source.salt)
                transfer.unpack(archive, place)
                archive.unlink()
            else:
                transfer.download(source.url, place, source.checksum, source.salt)
        arguments = self._read / "arguments.txt"
        arguments.write_text(_arguments(self.lease.task, order, self._out), "utf-8")
        return arguments

    def _environment(self) -> dict[str, str]:
        """The function's variables but its HOME."""
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            **self._hello.environment,
            **self.lease.task.environment.env,
        }

    def _prepare(self, *, warm: bool) -> Prepared:
        """A place for the task and, where its entry point is a Python script, the zygote."""
        environment = self.lease.task.environment
        with contextlib.suppress(NoEntryPoint):
            if warm and can_be_forked(environment):
                python = environment.entrypoint[0]
                prepared = self._agent.prepare(
                    self._name, python=python, environment=self._environment()
                )
                if prepared.cold is not None:
                    log.warning("no zygote, functions start cold: %s", prepared.cold)
                return prepared
        return self._agent.prepare(self._name)

    def _run(self, prepared: Prepared, arguments: Path, capture: SharedCapture) -> Outcome:
        self._execution = prepared.execution
        self._start = "zygote" if prepared.warm else "pod"
        if self._ended.is_set():
            prepared.execution.end()
        task = self.lease.task
        limits = dict(self._session.limits)
        if task.memory_bytes:
            limits["memory_bytes"] = task.memory_bytes
        words = command(task, arguments)
        request = {
            "argv": script_of(words) if prepared.warm else words,
            "directory": prepared.directory,
            "environment": {**self._environment(), "HOME": prepared.home},
            "policy": {**prepared.policy, "limits": limits},
        }
        prepared.execution.start(request, capture)
        disk = DiskGuard(self._out, self._session.disk_reserve_bytes)
        return prepared.execution.wait(capture, task.timeout_s, disk)

    def _judge(
        self, outcome: Outcome, outputs: int, capture: SharedCapture
    ) -> tuple[tuple[str, str] | None, list[dict[str, Any]]]:
        """The failure, if any, and the outputs, uploaded. The user's faults are said in the user's log."""
        if outcome.exit is None:
            reason = outcome.reason or "the function's process was lost"
            if outcome.limit:
                capture.say(f"The function was ended: {reason}.")
            return (EXECUTION if outcome.limit else INTERNAL, reason), []
        if outcome.exit != 0:
            ending = f"exit code {outcome.exit}"
            if outcome.exit < 0:
                ending = f"ended by signal {-outcome.exit}"
                capture.say(f"The function was {ending}.")
            return (EXECUTION, ending), []
        try:
            most = self._session.output_bytes
            uploads = self.lease.uploads
            return None, deliver(self.lease.task, outputs, uploads, most, self._ended)
        except Unfit as error:
            capture.say(f"The function ended well, but {error}.")
            return (EXECUTION, str(error)), []

    def _message(
        self,
        code: int | None,
        failure: tuple[str, str] | None,
        outputs: list[dict[str, Any]],
        steps_ms: dict[str, float],
    ) -> dict[str, Any]:
        category, reason = failure or ("", "")
        return {
            "task": self.lease.task.task,
            "lock_token": self.lease.task.lock_token,
            "exit": code,
            "failure": {"category": category, "reason": reason} if failure else None,
            "outputs": outputs,
            "log": None,
            "steps": {name: round(1e3 * lap) for name, lap in steps_ms.items()},
            "profile": {**self._watch.laps, "start": self._start},
        }


def command(task: Lease, arguments: Path) -> list[str]:
    """The image's entry point with the arguments file, `-u` after a Python (compute.md 3.8).

    Raises ValueError for an image without an entry point.
    """
    if not task.environment.entrypoint:
        raise ValueError("the image has no entry point")
    first, *rest = task.environment.entrypoint
    unbuffered = ["-u"] if first.startswith("python") and rest[:1] != ["-u"] else []
    return [first, *unbuffered, *rest, f"@{arguments}"]


def script_of(words: list[str]) -> list[str]:
    """The part of a Python command that a zygote runs."""
    return words[2:] if words[1] == "-u" else words[1:]


def _arguments(task: Lease, places: list[Path], out: Path) -> str:
    """The arguments file: one argument a line, no JSON escapes (compute.md 3.8, 12.5)."""
    inputs = [
        {"id": asset.identifier, "value": str(place), "multiple": asset.multiple}
        for asset, place in zip(task.inputs, places, strict=True)
    ]
    outputs = [
        {"id": output.identifier, "value": str(out / output_file(output)), "multiple": False}
        for output in task.outputs
    ]
    lines = ["--task-properties", json.dumps({"rank": task.rank})]
    lines += ["--inputs", json.dumps(inputs, ensure_ascii=False)]
    lines += ["--outputs", json.dumps(outputs, ensure_ascii=False)]
    return "\n".join(lines) + "\n"


def _place(kind: str, key: str, read: Path) -> Path:
    name = file_name(key)
    if kind == MODEL:
        return read / "in_models" / name
    if kind == OPENER:
        return read / "openers" / name / "__init__.py"
    if kind == SAMPLE:
        return read / "data_samples" / name
    raise ValueError(f"{kind} cannot be an input")
