"""A small world: a real ledger, one organization's bridge and scheduler, and a runner played by the test.

Images are the only double: an environment is a dictionary here.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import text

from backend.engine.bridge.applier import Applier
from backend.engine.bridge.loop import ChannelBridge
from backend.engine.compute.cache import AssetCache
from backend.engine.compute.chainkeys import Chainkeys
from backend.engine.compute.chores import Chores
from backend.engine.compute.cluster.leases import PodLeases
from backend.engine.compute.exchange import RunnerService, lease
from backend.engine.compute.janitor import Janitor
from backend.engine.compute.leases import LoopLeases
from backend.engine.compute.loops import Keeper, Loop
from backend.engine.compute.offering import Images, Inputs, Offering
from backend.engine.compute.preparation import Preparation
from backend.engine.compute.reporting import Reporter
from backend.engine.compute.results import Result
from backend.engine.compute.scheduler import Scheduler
from backend.engine.compute.sessions import SessionStore
from backend.engine.compute.wakeups import Wakeups
from backend.kit.database import Database
from backend.monitoring.counters import Counters
from backend.ports.exchange import Exchange, TransferStopped
from backend.ports.ledger.client import ChannelLedger, Ledger
from backend.ports.secrets import FolderSecrets
from backend.ports.storage import FilesystemStorage
from backend.settings import ChannelSettings, Settings
from orchestrator.server import Server
from protos.orchestrator import computetask_pb2
from tests.integration.backend.engine.registering import IMAGE, ME, OTHER, Registering

__all__ = ["CHANNEL", "IMAGE", "ME", "OTHER", "Crash", "World", "eventually"]
CHANNEL = "mychannel"
T = TypeVar("T")


def eventually(probe: Callable[[], T | None], what: str, timeout_s: float = 15.0) -> T:
    """The first result of `probe` that is neither None nor False."""
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while time.monotonic() < deadline:
        found = probe()
        if found is not None and found is not False:
            return found
        pause.wait(0.02)
    raise AssertionError(f"not within {timeout_s} s: {what}")


class NoImages:
    """Stands for the image store: every image is there, except those named in `refused` and `slow`."""

    def __init__(self) -> None:
        self.refused: dict[str, Exception] = {}
        self.slow: set[str] = set()
        self.begun = threading.Event()

    def present(self, digest: str) -> dict[str, Any] | None:
        return (
            None
            if digest in self.refused or digest in self.slow
            else {"key": digest, "root": "/", "layers": []}
        )

    def bring(
        self,
        function: UUID,
        owner: str,
        channel: str,
        digest: str,
        stopped: Callable[[], bool] = lambda: False,
    ) -> dict[str, Any]:
        while digest in self.slow:
            self.begun.set()
            if stopped():
                raise TransferStopped
            threading.Event().wait(0.02)
        if digest in self.refused:
            raise self.refused[digest]
        return {"key": digest, "root": "/", "layers": []}


class Crash(Exception):
    """The process dies here."""


@dataclass
class Breaking:
    """A ledger connection that dies before or after a named call, once."""

    inner: Callable[[str], ChannelLedger]
    call: str = ""
    after: bool = False
    calls: list[str] = field(default_factory=list)

    def __call__(self, channel: str) -> Any:
        outer = self

        class Proxy:
            def __getattr__(self, name: str) -> Any:
                real = getattr(outer.inner(channel), name)

                def call(*arguments: Any) -> Any:
                    breaks = outer.call == name
                    outer.calls.append(name)
                    if breaks:
                        outer.call = ""
                        if outer.after:
                            real(*arguments)
                        raise Crash(name)
                    return real(*arguments)

                return call

        return Proxy()


class World(Registering):
    def __init__(self, database: Database, ledger_url: str, folder: Path) -> None:
        self.database = database
        self.server = Server(ledger_url, {CHANNEL: [ME, OTHER]})
        self.folder = folder
        self.stopping = threading.Event()

    def start(self) -> None:
        self.server.start()
        host, _, port = self.server.address.rpartition(":")
        self.settings = Settings(
            NAME="org-1",
            MSP_ID=ME,
            CHANNELS={CHANNEL: ChannelSettings()},
            ORCHESTRATOR_HOST=host,
            ORCHESTRATOR_PORT=int(port),
            SECRET_KEY="s" * 32,
            MEDIA_ROOT=self.folder / "medias",
            DEFAULT_DOMAIN="http://127.0.0.1:8000/org-1",
        )
        self.connection = Ledger(self.settings)
        self.other = Ledger(self.settings.model_copy(update={"MSP_ID": OTHER}))
        self.mine, self.theirs = self.connection.on(CHANNEL), self.other.on(CHANNEL)
        self.mine.register_organization("http://127.0.0.1:8000/org-1")
        self.theirs.register_organization("http://127.0.0.1:8000/org-2")
        self.breaking = Breaking(self.connection.on)
        self.storage = self.new_storage()
        self.wakeups = Wakeups(self.database)
        self.images = NoImages()
        self._parts()
        self._threads()

    def new_storage(self) -> FilesystemStorage:
        return FilesystemStorage(self.settings.MEDIA_ROOT)

    def ways(self) -> tuple[Inputs, Images, Offering]:
        """How tasks get their inputs and images: here as a runner on this machine does."""
        offering = Offering(self.settings, self.cache, self.images, self.chainkeys)
        return self.cache, self.images, offering

    def _parts(self) -> None:
        settings, database, ledger = self.settings, self.database, self.breaking
        self.cache = AssetCache(settings.MEDIA_ROOT / "cache", ME, self.storage, Exchange(settings))
        self.reporter = Reporter(settings, database, self.storage, ledger)
        self.counters = Counters(database)
        pods = PodLeases(self.storage)
        self.service = RunnerService(settings, database, ledger, self.reporter, self.counters, pods)
        self.secrets = FolderSecrets(self.folder / "secrets")
        self.chainkeys = Chainkeys(settings.MEDIA_ROOT, self.secrets)
        self.preparation = Preparation(
            settings,
            database,
            *self.ways(),
            self.chainkeys,
            self.connection.on,
            self.reporter,
            self.wakeups.wake,
            self.wakeups.signal("cancel"),
        )
        self.scheduler = Scheduler(
            settings, database, self.preparation, self.wakeups.wake, self.counters
        )
        self.chores = Chores(database, ME, self.storage, self.cache.drop_model, self.connection.on)
        self.janitor = Janitor(
            settings,
            database,
            self.storage,
            self.cache,
            self.chainkeys,
            self.connection.on,
            self.wakeups.wake,
        )

    def _threads(self) -> None:
        leases = LoopLeases(self.database)
        keeper = Keeper(leases, self.stopping)
        applier = Applier(self.database, CHANNEL, ME, self.wakeups.wake, self.preparation.offers)
        self.bridge = ChannelBridge(
            self.mine, applier, leases, self.stopping, self.preparation.awaited
        )
        loops = [
            Loop("scheduler", self.scheduler.turn, keeper, self.stopping,
                 signal=self.wakeups.signal("new"), every_s=0.2),
            Loop("chores", self.chores.turn, keeper, self.stopping,
                 signal=self.wakeups.signal("chore"), every_s=0.2),
        ]  # fmt: skip
        runs = [self.bridge.run, keeper.run, *(loop.run for loop in loops)]
        self.threads = [threading.Thread(target=run, daemon=True) for run in runs]
        for thread in self.threads:
            thread.start()

    def halt(self) -> None:
        """End the loops; the ledger, the service and the reporter stay."""
        self.stopping.set()
        for topic in ("new", "chore"):
            self.wakeups.signal(topic).fire()
        for thread in self.threads:
            thread.join(15)

    def stop(self) -> None:
        self.halt()
        self.preparation.close()
        self.wakeups.close()
        self.connection.close()
        self.other.close()
        self.server.stop()

    # ------------------------------------------------------------------ the runner
    def session(self) -> UUID:
        with self.database.transaction() as session:
            return SessionStore(session).open(self.settings.SECRET_KEY, "runner").id

    def lease(self, session: UUID) -> dict[str, Any]:
        """The next lease, its start on the ledger."""
        work = eventually(lambda: self.service.take(session), "a lease")
        self.service.start(work)
        return lease(work)

    def result(self, lease: Mapping[str, Any], content: bytes = b"weights") -> Result:
        """What a runner gives back when all went well."""
        outputs = []
        for slot in lease["outputs"]:
            if slot["kind"] == "ASSET_PERFORMANCE":
                outputs.append({**slot, "value": 0.5})
                continue
            folder = self.settings.MEDIA_ROOT / "outbox" / lease["task"] / lease["lock_token"]
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / slot["identifier"]
            path.write_bytes(content)
            checksum = hashlib.sha256(content + lease["task"].encode()).hexdigest()
            outputs.append({**slot, "path": str(path), "checksum": checksum, "size": len(content)})
        if "chainkeys" in lease:
            folder = self.settings.MEDIA_ROOT / "outbox" / lease["task"] / lease["lock_token"]
            (folder / "chainkeys").mkdir(parents=True)
            (folder / "chainkeys" / "chainkeys.json").write_text(f"after {lease['task']}")
        return Result.model_validate(
            {
                "task": lease["task"],
                "lock_token": lease["lock_token"],
                "exit": 0,
                "outputs": outputs,
                "steps": {"prepare_inputs": 1, "task_execution": 2, "save_outputs": 3},
            }
        )

    def failure(self, lease: Mapping[str, Any], category: str, log: bytes = b"Traceback") -> Result:
        folder = self.settings.MEDIA_ROOT / "outbox" / lease["task"] / lease["lock_token"]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "log").write_bytes(log)
        return Result.model_validate(
            {
                "task": lease["task"],
                "lock_token": lease["lock_token"],
                "exit": 1,
                "failure": {"category": category, "reason": "it broke"},
                "log": str(folder / "log"),
            }
        )

    def give(self, session: UUID, result: Result) -> None:
        """The exchange's two steps: commit, then report."""
        entry = self.service.give(session, result)
        if entry is not None:
            self.service.report(entry)

    # ------------------------------------------------------------------ what is true
    def status(self, task: UUID | str) -> str:
        return computetask_pb2.ComputeTaskStatus.Name(self.mine.task(str(task)).status)

    def row_status(self, task: UUID | str) -> str | None:
        found = self.one("SELECT status FROM compute_task WHERE key = :key", key=task)
        return found[0] if found else None

    def work_state(self, key: UUID | str, kind: str = "task") -> str | None:
        found = self.one(
            "SELECT state FROM work WHERE key = :key AND kind = :kind", key=key, kind=kind
        )
        return found[0] if found else None

    def one(self, query: str, **values: Any) -> Any:
        with self.database.reading() as connection:
            return connection.execute(text(query), values).first()

    def count(self, table: str) -> int:
        return int(self.one(f"SELECT count(*) FROM {table}")[0])

    def execute(self, statement: str, **values: Any) -> None:
        with self.database.transaction() as session:
            session.connection().execute(text(statement), values)

    def expire(self) -> None:
        """As if nobody had extended a lease for 6 seconds."""
        self.execute("UPDATE work SET leased_until = now() - interval '1 s' WHERE state = 'leased'")
        self.execute("UPDATE outbox SET claimed_until = now() - interval '1 s', not_before = now()")
        self.scheduler.sweep()
