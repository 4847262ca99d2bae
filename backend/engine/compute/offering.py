"""The lease of a task that has everything here, for its turn now or for later."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from sqlmodel import Session

from backend.engine.compute import decisions
from backend.engine.compute.ahead import AFTER, AheadStore, Kept
from backend.engine.compute.chainkeys import Chainkeys
from backend.engine.compute.decisions import Prepare
from backend.engine.compute.demands import Impossible, Needs, Site, needs
from backend.engine.compute.outbox import OutboxStore
from backend.engine.compute.store import InputAsset, TaskContext, task_contexts
from backend.settings import Settings

AHEAD = 64
"""Most tasks that one call prepares ahead of their turn."""
BROUGHT = "brought_us"
"""Member of a lease that is not the runner's: microseconds that its inputs took to come here."""
MOST_KEPT = 10_000
"""Tasks remembered as awaited; of one that was forgotten the bridge hears in a hurry, no more."""


@dataclass(frozen=True, slots=True)
class Local:
    """What of a task is on this machine: paths by asset, and the image's environment."""

    paths: dict[UUID, str]
    environment: dict[str, Any]
    needs: Needs
    transferred_us: int | None = None
    chainkeys: Path | None = None
    brought_us: int = 0  # spent on inputs that were not here


class Inputs(Protocol):
    """Where inputs are: paths of this machine (`AssetCache`), names of the storage (`PodInputs`)."""

    def present(self, asset: InputAsset) -> Path | str | None:
        """The asset's place; None when it has to be brought first. Costs next to nothing."""
        ...

    def bring(
        self, asset: InputAsset, channel: str, stopped: Callable[[], bool] = lambda: False
    ) -> Path | str:
        """Raises as `AssetCache.bring`."""
        ...


class Images(Protocol):
    """What function images become for a lease: unpacked here (`ImageTransfer`), or named (`PodImages`)."""

    def present(self, digest: str) -> dict[str, Any] | None:
        """The environment of an image that is ready. Costs next to nothing."""
        ...

    def bring(
        self,
        function: UUID,
        owner: str,
        channel: str,
        digest: str,
        stopped: Callable[[], bool] = lambda: False,
    ) -> dict[str, Any]:
        """Raises as `ImageTransfer.bring`."""
        ...


class Offering:
    """Makes the leases of one organization. Fetches nothing."""

    def __init__(
        self, settings: Settings, cache: Inputs, images: Images, chainkeys: Chainkeys
    ) -> None:
        self._me = settings.MSP_ID
        self._name = settings.NAME
        index = settings.ORGANIZATION_INDEX
        self.variables = {"ORGANIZATION_INDEX": index} if index else {}
        self._run_s = settings.TASK_TIMEOUT
        self._site = Site.of(settings)
        self._cache = cache
        self._images = images
        self._chainkeys = chainkeys
        self._kept: dict[str, None] = {}  # the latest, for `awaited`

    def at_once(self, session: Session, keys: Sequence[UUID]) -> dict[UUID, dict[str, Any] | None]:
        """The leases of those new tasks that have everything here: what the bridge inserts READY at once.

        None: the task's work is there already. Leases of those that come next are kept for them (`ahead`).

        A large batch is left to the turns, so that the bridge's transaction stays short.
        """
        ahead = AheadStore.of(session)
        due, next_ones = ahead.line(self._me, keys, len(keys) + AHEAD)
        offers: dict[UUID, dict[str, Any] | None] = {}
        wanted = list(next_ones)
        for task in due:
            self._kept.pop(str(task.key), None)
            if task.queued:
                offers[task.key] = None
            elif task.offer is not None and self.is_here(task.offer):
                offers[task.key] = task.offer
            else:
                wanted.append(task.key)
        keep = []
        for key, context in task_contexts(session, wanted, ahead_for=self._me).items():
            step = decisions.prepare(context.status, context.plan_status)
            early = step is Prepare.EARLY
            local = self.local(context) if early or step is Prepare.OFFER else None
            if local is None or (context.after and not early):
                continue
            offer = self.lease(context, local)
            if early:
                keep.append(Kept(key, context.channel, context.plan, offer))
            else:
                offers[key] = offer
            self.profile(session, context, local)
        ahead.keep(keep)
        self._remember(keep)
        return offers

    def awaited(self, key: str) -> bool:
        """Whether a lease was kept for this task, so that it needs nobody to hurry when it turns ready."""
        return key in self._kept

    def _remember(self, kept: Sequence[Kept]) -> None:
        self._kept |= dict.fromkeys(str(lease.task) for lease in kept)
        while len(self._kept) > MOST_KEPT:
            self._kept.pop(next(iter(self._kept)), None)

    def local(self, context: TaskContext) -> Local | None:
        """Everything is here: its paths; else None."""
        if context.unresolved or not context.image or self._chainkeys.wanted(context.plan_tag):
            return None
        environment = self._images.present(context.image)
        if environment is None:
            return None
        paths: dict[UUID, str] = {}
        for asset in context.inputs:
            path = self._cache.present(asset) if asset.available else None
            if path is None:
                return None
            paths[asset.key] = str(path)
        try:
            wanted = needs(self._site, context.function_metadata, context.plan_metadata)
        except Impossible:
            return None  # the slow way says it
        return Local(paths, environment, wanted)

    def lease(self, context: TaskContext, local: Local) -> dict[str, Any]:
        """The lease without task and lock token (the runner protocol). `title` is for Ray's dashboard."""
        words = (context.function_name, self._name, context.plan_name, str(context.rank))
        chainkeys = {"chainkeys": str(local.chainkeys)} if local.chainkeys else {}
        return {
            **chainkeys,
            "title": " · ".join(words),
            "variables": self.variables,
            "plan": str(context.plan),
            AFTER: sorted(map(str, context.after)),
            **({BROUGHT: local.brought_us} if local.brought_us else {}),
            "rank": context.rank,
            "function": str(context.function),
            "timeout_s": self._run_s,
            "resources": asdict(local.needs),
            "environment": local.environment,
            "inputs": [self.input(asset, local.paths[asset.key]) for asset in context.inputs],
            "outputs": [
                {"identifier": slot.identifier, "kind": slot.kind, "multiple": slot.multiple}
                for slot in context.outputs
            ],
        }

    def profile(self, session: Session, context: TaskContext, local: Local) -> None:
        """A foreign function has one step more (rest-api.md 16)."""
        if context.function_owner != self._me:
            steps = {"download_function": local.transferred_us or 0}
            OutboxStore(session).steps(context.key, steps)

    def is_here(self, offer: dict[str, Any]) -> bool:
        """Whether what a kept lease names was not cleared away meanwhile."""
        environment = offer["environment"]
        paths = [environment["root"], *environment["layers"], *(i["path"] for i in offer["inputs"])]
        return all(Path(path).exists() for path in paths)

    def input(self, asset: InputAsset, place: str) -> dict[str, Any]:
        """One input of a lease."""
        return {
            "identifier": asset.identifier,
            "kind": asset.kind,
            "key": str(asset.key),
            "path": place,
            "multiple": asset.multiple,
        }
