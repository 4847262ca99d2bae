"""The control plane of one organization: all its loops in one process (architecture.md 2).

No logic of its own: it builds the parts, runs each loop in a thread, and starts a thread again that ended.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import structlog

from backend.engine.bridge.applier import Applier
from backend.engine.bridge.loop import ChannelBridge
from backend.engine.compute.bounds import Bounds
from backend.engine.compute.cache import AssetCache
from backend.engine.compute.chainkeys import Chainkeys
from backend.engine.compute.chores import Chores
from backend.engine.compute.janitor import Janitor
from backend.engine.compute.last_use import LastUse
from backend.engine.compute.leases import LoopLeases
from backend.engine.compute.local import Host, PlainHost, RunnerPool
from backend.engine.compute.loops import Keeper, Loop
from backend.engine.compute.offering import Images, Inputs, Offering
from backend.engine.compute.power import after_a_boot
from backend.engine.compute.preparation import Preparation
from backend.engine.compute.reporting import Reporter
from backend.engine.compute.scheduler import Scheduler
from backend.engine.compute.wakeups import Wakeups
from backend.engine.images.builder import ImageBuilder, OnThisMachine
from backend.engine.images.builds import Builds
from backend.engine.images.embedded import EmbeddedBuilder
from backend.engine.images.interpreters import Interpreters
from backend.engine.images.stand_ins import network_environment
from backend.engine.images.store import ImageStore
from backend.engine.images.transfer import ImageTransfer
from backend.kit.migrations import prepare
from backend.monitoring.counters import Counters
from backend.node import Node
from backend.ports.secrets import open_secrets
from backend.ports.storage import Storage
from backend.settings import Settings

log = structlog.get_logger()
POOL = 6
WATCH_S = 0.5
SILENT_S = 30.0
"""A loop without a sign of life for so long, and not in the middle of a turn, is shown as unhealthy."""


@dataclass(slots=True)
class Threaded:
    """A loop, its threads so far, and how to tell that it lives."""

    name: str
    run: Callable[[], None]
    beat: Callable[[], float]
    busy: Callable[[], bool]
    thread: threading.Thread | None = None
    restarts: int = field(default=-1)

    def start(self) -> None:
        self.restarts += 1
        self.thread = threading.Thread(target=self.run, name=self.name, daemon=True)
        self.thread.start()

    @property
    def alive(self) -> bool:
        return self.thread is not None and self.thread.is_alive()

    @property
    def healthy(self) -> bool:
        return self.alive and (self.busy() or time.monotonic() - self.beat() < SILENT_S)


class ControlPlane:
    """Event bridges, scheduler, reporter, chores, builder, janitor, and the pool of runners."""

    def __init__(self, settings_path: Path, host: Host | None = None) -> None:
        settings = Settings.read(settings_path)
        self._settings = settings
        self._node = Node.build(settings, pool_size=POOL)
        self._stop = threading.Event()
        self._wakeups = Wakeups(self._node.database)
        self._leases = LoopLeases(self._node.database)
        self._keeper = Keeper(self._leases, self._stop)
        self._host = host or PlainHost(settings.RUN_FOLDER / "sessions")
        self._threads: list[Threaded] = []
        self._watcher: threading.Thread | None = None
        self._preparation: Preparation | None = None
        self._pool: RunnerPool | None = None

    def start(self) -> None:
        """Bring the schema up, then start every loop."""
        prepare(self._node.database)
        if self._settings.COMPUTE != "kuberay":
            after_a_boot(self._settings.MEDIA_ROOT, self._node.database)
        self._wakeups.listen()
        self._threads = self._build()
        self._watcher = threading.Thread(target=self._watch, name="watcher", daemon=True)
        self._watcher.start()

    def stop(self, *, runners: bool = True) -> None:
        """End the loops, give their leases back, and stop the runners unless they are to live on."""
        self._stop.set()
        for signal in ("new", "ready", "build", "cancel", "chore", "outbox"):
            self._wakeups.signal(signal).fire()
        if self._watcher is not None:
            self._watcher.join(10)
        for loop in self._threads:
            if loop.thread is not None:
                loop.thread.join(10)
        if runners and self._pool is not None:
            self._pool.close()
        if self._preparation is not None:
            self._preparation.close()
        with contextlib.suppress(Exception):
            self._keeper.free()
        self._wakeups.close()
        self._node.close()

    def health(self) -> dict[str, bool]:
        """Each loop by its role's name; several bridges are one role, which is as well as its worst."""
        health: dict[str, bool] = {}
        for loop in self._threads:
            role = loop.name.partition(":")[0]
            health[role] = health.get(role, True) and loop.healthy
        return health

    def wait(self) -> None:
        """Block until `stop`."""
        self._stop.wait()

    def _watch(self) -> None:
        """Start again what ended, at most every half second."""
        while not self._stop.is_set():
            for loop in self._threads:
                if not loop.alive:
                    if loop.restarts >= 0:
                        log.error("loop_restarted", loop=loop.name)
                    loop.start()
            self._stop.wait(WATCH_S)

    def _build(self) -> list[Threaded]:
        settings, node, wake = self._settings, self._node, self._wakeups.wake
        database, storage, ledger, me = node.database, node.storage, node.ledger.on, settings.MSP_ID
        counters = Counters(database)
        moved = partial(counters.add, "substra_transfer_bytes")
        folder = settings.MEDIA_ROOT / "cache"
        used = LastUse()
        moved_model = partial(moved, kind="model")
        cache = AssetCache(folder, me, storage, node.exchange, moved_model, used)
        store = _image_store(settings)
        transfer = ImageTransfer(
            store, node.exchange, me, folder / "images", partial(moved, kind="image"), used.touch
        )
        reporter = Reporter(settings, database, storage, ledger)
        chainkeys = Chainkeys(
            settings.MEDIA_ROOT, open_secrets(settings) if settings.TASK_CHAINKEYS_ENABLED else None
        )
        inputs: Inputs = cache
        images: Images = transfer
        drop_model = cache.drop_model
        offering = Offering(settings, cache, transfer, chainkeys)
        if settings.COMPUTE == "kuberay":
            from backend.engine.compute.cluster.pods import pods  # the Kubernetes client is large

            there = pods(settings, database, storage, cache, chainkeys, reporter, wake,
                         node.exchange, partial(moved, kind="image"))  # fmt: skip
            inputs, images, offering = there.inputs, there.images, there.offering
            drop_model = there.inputs.drop_model
            runners = [
                self._loop("runners", there.pool.turn, "ready", 0.5),
                self._loop("pod-files", there.sweeper.turn, None, 5.0),
            ]
        else:
            self._pool = RunnerPool(settings, database, self._host, wake)
            runners = [self._loop("runners", self._pool.turn, None, 0.5)]
        self._preparation = Preparation(
            settings,
            database,
            inputs,
            images,
            offering,
            chainkeys,
            ledger,
            reporter,
            wake,
            self._wakeups.signal("cancel"),
        )
        scheduler = Scheduler(settings, database, self._preparation, wake, counters)
        chores = Chores(database, me, storage, drop_model, ledger)
        janitor = Janitor(settings, database, storage, cache, chainkeys, ledger, wake)
        bounds = Bounds(settings, database, used, counters, self._preparation.touch)
        loops = [
            self._loop("scheduler", scheduler.turn, "new", 0.5, scheduler.inherit),
            self._loop("reporter", reporter.resume, "outbox", 1.0),
            self._loop("chores", chores.turn, "chore", 1.0, chores.inherit),
            self._loop("janitor", janitor.turn, None, 1.0),
            self._loop("storage", bounds.turn, None, 5.0),
            *runners,
        ]
        if settings.BUILDER_ENABLED:
            builder = _builder(settings, store, storage)
            canceled = self._wakeups.signal("cancel")
            builds = Builds(settings, database, storage, ledger, builder, canceled, counters)
            for number in range(max(1, settings.BUILDER_CONCURRENCY)):
                name = f"builder:{number}" if number else "builder"
                loops.append(self._loop(name, builds.turn, "build", 1.0, builds.inherit))
        bridges = [self._bridge(channel, self._preparation) for channel in settings.CHANNELS]
        keeper = Threaded("keeper", self._keeper.run, time.monotonic, lambda: False)
        return [keeper, *bridges, *loops]

    def _loop(
        self,
        name: str,
        turn: Callable[[], bool],
        topic: str | None,
        every_s: float,
        taken: Callable[[], None] = lambda: None,
    ) -> Threaded:
        signal = self._wakeups.signal(topic) if topic else None
        loop = Loop(
            name, turn, self._keeper, self._stop, signal=signal, every_s=every_s, taken=taken
        )
        return Threaded(name, loop.run, lambda: loop.beat, lambda: loop.busy)

    def _bridge(self, channel: str, preparation: Preparation) -> Threaded:
        database, me = self._node.database, self._settings.MSP_ID
        applier = Applier(database, channel, me, self._wakeups.wake, preparation.offers)
        bridge = ChannelBridge(
            self._node.ledger.on(channel), applier, self._leases, self._stop, preparation.awaited
        )
        return Threaded(f"event-bridge:{channel}", bridge.run, lambda: bridge.beat, lambda: False)


def _builder(settings: Settings, store: ImageStore, storage: Storage) -> ImageBuilder:
    """What makes function images of archives."""
    if settings.BUILDER != "embedded":
        from backend.engine.images.in_cluster import InCluster  # the Kubernetes client is large

        return InCluster(settings, storage)
    builder = EmbeddedBuilder(
        settings.MEDIA_ROOT,
        run_environment=settings.RUN_ENVIRONMENT,
        timeout_s=settings.IMAGE_BUILD_TIMEOUT,
        store=store,
    )
    return OnThisMachine(builder, partial(_has, store))


def _image_store(settings: Settings) -> ImageStore:
    """The organization's image store; interpreters may be fetched with the captured proxy (rule 42)."""
    folder = settings.MEDIA_ROOT / "images" / "python"
    interpreters = Interpreters(folder, network_environment(settings.RUN_ENVIRONMENT))
    return ImageStore(settings.MEDIA_ROOT, interpreters)


def _has(store: ImageStore, digest: str) -> bool:
    """True when the image is whole in our store."""
    try:
        return not store.missing_layers(store.manifest(digest))
    except (LookupError, ValueError):
        return False
