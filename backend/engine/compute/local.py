"""The pool of runners on this machine: started, watched, restarted; their sessions opened and reported dead.

Two hosts of the same runner: a detached Ray actor, or a plain process. Both get one argument, the path of a
0600 session file (rule 18), and both survive the control plane: a new one finds them again by name.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

import psutil
import structlog

from backend.engine.compute.demands import Site
from backend.engine.compute.queue import WorkQueue
from backend.engine.compute.runner_options import runner_options
from backend.engine.compute.sessions import SessionStore
from backend.kit.database import Database
from backend.settings import Settings

if TYPE_CHECKING:
    from ray_jobs.lease import Lease

log = structlog.get_logger()
SHORT_LIFE_S = 5.0
RUNNER_HEARTBEAT_S = 0.5
"""Between a heartbeat's answer, which may take a while, and the next one: how late a cancel may be heard."""
MOST_PAUSE_S = 30.0


class Runner(Protocol):
    """A runner that was started, or found again."""

    def alive(self) -> bool: ...

    def stop(self) -> None: ...


class Host(Protocol):
    """Where runners run."""

    def find(self, name: str) -> Runner | None:
        """The runner of this name that still runs."""
        ...

    def start(self, name: str, session_file: Path) -> Runner: ...


class Slot:
    """One place in the pool: its runner, that runner's session, and how often it died young."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.runner: Runner | None = None
        self.session: UUID | None = None
        self.started = 0.0
        self.failures = 0
        self.not_before = 0.0


class RunnerPool:
    """Keeps `WORKERS` runners of one organization alive."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        host: Host,
        wake: Callable[[set[str]], None],
    ) -> None:
        self._settings = settings
        self._database = database
        self._host = host
        self._wake = wake
        self._folder = settings.RUN_FOLDER / "sessions"
        self._slots = [Slot(f"runner-{settings.NAME}-{i}") for i in range(settings.WORKERS)]
        self._found = False

    def turn(self) -> bool:
        """Replace dead runners at once; never more to do at once."""
        if not self._found:
            self._found = True
            for slot in self._slots:
                self._find(slot)
        for slot in self._slots:
            if slot.runner is not None and not slot.runner.alive():
                self._died(slot)
            if slot.runner is None and time.monotonic() >= slot.not_before:
                self._start(slot)
        return False

    def close(self) -> None:
        """Stop every runner; their tasks are free for others at once."""
        for slot in self._slots:
            if slot.runner is not None:
                slot.runner.stop()
                self._report_dead(slot)
                slot.runner = None

    def _find(self, slot: Slot) -> None:
        """A runner that outlived the control plane keeps its session, and its task."""
        runner = self._host.find(slot.name)
        if runner is None:
            slot.session = self._session_in(slot)  # of a dead runner: its leases are free
            if slot.session is not None:
                self._report_dead(slot)
            return
        slot.session, slot.started = self._session_in(slot), time.monotonic()
        if slot.session is None or not self._known(slot.session):
            log.warning("runner_without_session", runner=slot.name)
            runner.stop()
            return
        slot.runner = runner
        log.info("runner_found", runner=slot.name)

    def _known(self, session_id: UUID) -> bool:
        with self._database.transaction() as session:
            return SessionStore(session).seen(session_id) is not None

    def _start(self, slot: Slot) -> None:
        with self._database.transaction() as session:
            new = SessionStore(session).open(self._settings.SECRET_KEY, slot.name)
        slot.session, slot.started = new.id, time.monotonic()
        path = self._write(slot, new.token)
        slot.runner = self._host.start(slot.name, path)
        log.info("runner_started", runner=slot.name, session=str(new.id))

    def _died(self, slot: Slot) -> None:
        lived = time.monotonic() - slot.started
        slot.failures = slot.failures + 1 if lived < SHORT_LIFE_S else 0
        slot.not_before = time.monotonic()
        if slot.failures:
            slot.not_before += min(MOST_PAUSE_S, 0.5 * 2**slot.failures)
        log.warning("runner_died", runner=slot.name, lived_s=round(lived, 1))
        if slot.runner is not None:
            slot.runner.stop()  # what is left of it, its zygotes included
            slot.runner = None
        self._report_dead(slot)

    def _report_dead(self, slot: Slot) -> None:
        if slot.session is None:
            return
        with self._database.transaction() as session:
            opened = WorkQueue(session).report_dead(slot.session)
            SessionStore(session).end(slot.session)
        slot.session = None
        if opened:
            log.warning("tasks_freed", runner=slot.name, tasks=[str(key) for _, key in opened])
            self._wake({"ready", "new"})

    def _write(self, slot: Slot, token: str) -> Path:
        """The session file, readable for its owner only."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / f"{slot.name}.json"
        beside = path.with_suffix(".new")
        beside.unlink(missing_ok=True)
        content = {
            "session": str(slot.session),
            "token": token,
            "url": self._settings.RUNNER_API_URL.rstrip("/"),
            "run_folder": str(self._settings.RUN_FOLDER),
            "outbox": str(self._settings.MEDIA_ROOT / "outbox"),
            "organization": self._settings.NAME,
            "heartbeat_s": RUNNER_HEARTBEAT_S,
            "cpus": max(1, int(Site.of(self._settings).has.cpus) // max(1, self._settings.WORKERS)),
            **runner_options(self._settings),
        }
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file)
        beside.replace(path)
        return path

    def _session_in(self, slot: Slot) -> UUID | None:
        with contextlib.suppress(OSError, ValueError, KeyError):
            text = (self._folder / f"{slot.name}.json").read_text("utf-8")
            return UUID(json.loads(text)["session"])
        return None


class PlainRunner:
    """A runner process. A found one is known by process id and start time."""

    def __init__(self, process: psutil.Process, child: "subprocess.Popen[bytes] | None") -> None:
        self._process = process
        self._child = child

    def alive(self) -> bool:
        if self._child is not None:
            return self._child.poll() is None
        with contextlib.suppress(psutil.Error):
            return self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE
        return False

    def stop(self) -> None:
        """Ask it to end, then make it."""
        with contextlib.suppress(psutil.Error):
            self._process.terminate()
        if not self._ended(8):
            with contextlib.suppress(psutil.Error):
                self._process.kill()
            self._ended(5)

    def _ended(self, timeout_s: float) -> bool:
        try:
            if self._child is not None:
                self._child.wait(timeout_s)
            else:
                self._process.wait(timeout_s)
        except (subprocess.TimeoutExpired, psutil.TimeoutExpired):
            return False
        except psutil.Error:
            return True
        return True


class PlainHost:
    """Runners as processes: tests, and networks without Ray."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, name: str) -> PlainRunner | None:
        with contextlib.suppress(OSError, ValueError, KeyError, psutil.Error):
            known = json.loads((self._folder / f"{name}.pid").read_text("utf-8"))
            process = psutil.Process(int(known["pid"]))
            if abs(process.create_time() - float(known["started"])) < 0.1:
                return PlainRunner(process, None)
        return None

    def start(self, name: str, session_file: Path) -> PlainRunner:
        child = subprocess.Popen(  # in a session of its own: Ctrl-C of the terminal is not for it
            [sys.executable, "-m", "ray_jobs", str(session_file)],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        process = psutil.Process(child.pid)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        known = {"pid": child.pid, "started": process.create_time()}
        (self._folder / f"{name}.pid").write_text(json.dumps(known), "utf-8")
        return PlainRunner(process, child)


class RunnerActor:
    """The body of a runner's Ray actor: the runner in a thread, and a call that returns when it ends.

    A task that takes a moment is a call of the actor to itself, named for people, so that Ray's dashboard
    shows what runs where, and when it ended.
    """

    def __init__(self, session_file: str) -> None:
        import ray

        from ray_jobs.runner import Runner

        self._name = Path(session_file).stem
        self._myself: Any = ray.get_runtime_context().current_actor
        self._shown: dict[str, asyncio.Event] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._runner = Runner(session_file, self._show)
        self._thread = threading.Thread(target=self._runner.run, name="runner", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        """What Ray shows as the actor's name."""
        return self._name

    async def watch(self) -> None:
        """Pending while the runner lives."""
        while self._thread.is_alive():  # noqa: ASYNC110  a thread has no event to wait for
            await asyncio.sleep(0.5)

    async def task(self, key: str) -> None:
        """Pending while the runner performs this task."""
        self._loop = asyncio.get_running_loop()
        over = self._shown.get(key)
        if over is not None:
            await over.wait()

    @contextlib.contextmanager
    def _show(self, lease: "Lease") -> Iterator[None]:
        """In the runner's thread: name a call for the task, and let it return when the block ends."""
        over = self._shown[lease.task] = asyncio.Event()
        try:
            self._myself.task.options(name=lease.title or lease.task).remote(lease.task)
        except Exception as error:  # it is for the eyes only
            log.info("task_not_shown", task=lease.task, error=repr(error))
        try:
            yield
        finally:
            del self._shown[lease.task]
            if self._loop is not None:
                self._loop.call_soon_threadsafe(over.set)

    async def stop(self) -> None:
        """End the running function and the runner; returns when it has ended."""
        self._runner.stop()
        await self.watch()


class RayRunner:
    """A detached actor; its death fails the pending call, which costs nothing to look at."""

    def __init__(self, ray: Any, handle: Any) -> None:
        self._ray = ray
        self._handle = handle
        # It says nothing to who looks at the dashboard, and is pending for ever.
        self._watch = handle.watch.options(enable_task_events=False).remote()

    def alive(self) -> bool:
        done, _ = self._ray.wait([self._watch], timeout=0)
        return not done

    def stop(self) -> None:
        """Ask it to end, then make it."""
        if self.alive():
            with contextlib.suppress(Exception):  # dead, unreachable or too slow: the kill follows
                self._ray.get(self._handle.stop.remote(), timeout=8)
        with contextlib.suppress(Exception):
            self._ray.kill(self._handle)


class RayHost:
    """Runners as detached actors `runner-<organization>-<i>` on the Ray that this process is connected to."""

    def __init__(self, namespace: str, gpus: float = 0.0) -> None:
        """`gpus`: what each runner reserves of Ray's, so that no other actor or job gets them."""
        import ray

        self._ray: Any = ray
        self._namespace = namespace
        self._gpus = gpus

    def find(self, name: str) -> RayRunner | None:
        try:
            return RayRunner(self._ray, self._ray.get_actor(name, namespace=self._namespace))
        except ValueError:
            return None

    def start(self, name: str, session_file: Path) -> RayRunner:
        self._forget(name)
        actor = self._ray.remote(RunnerActor).options(
            name=name,
            namespace=self._namespace,
            lifetime="detached",
            num_cpus=0,
            num_gpus=self._gpus,
            max_restarts=0,
            get_if_exists=False,
        )
        return RayRunner(self._ray, actor.remote(str(session_file)))

    def _forget(self, name: str) -> None:
        """A name is free only when the dead actor was forgotten."""
        with contextlib.suppress(ValueError):
            self._ray.kill(self._ray.get_actor(name, namespace=self._namespace))
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                self._ray.get_actor(name, namespace=self._namespace)
            except ValueError:
                return
            threading.Event().wait(0.05)
