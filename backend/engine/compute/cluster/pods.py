"""The parts of a control plane whose tasks run in pods, made from its settings."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from backend.engine.compute.cache import AssetCache
from backend.engine.compute.chainkeys import Chainkeys
from backend.engine.compute.cluster.images import PodImages
from backend.engine.compute.cluster.inputs import PodInputs
from backend.engine.compute.cluster.jobs import Jobs
from backend.engine.compute.cluster.offering import PodOffering
from backend.engine.compute.cluster.options import pod_shape, pool_options
from backend.engine.compute.cluster.sweeping import PodSweeper
from backend.engine.compute.cluster.work import QueueWork
from backend.engine.compute.kuberay import KubeRayPool
from backend.engine.compute.reporting import Reporter
from backend.engine.images.in_cluster import open_registry
from backend.engine.images.published import ImagesOfOthers
from backend.kit.database import Database
from backend.ports.exchange import Exchange
from backend.ports.storage import Storage
from backend.settings import Settings
from kuberay.resources import SECRETS, Resource
from kuberay.transport import Connection

DASHBOARD_PORT = 8265


@dataclass(frozen=True, slots=True)
class Pods:
    """`pool` is for one thread, behind a loop lease; the rest is shared."""

    inputs: PodInputs
    images: PodImages
    offering: PodOffering
    pool: KubeRayPool
    sweeper: PodSweeper


def pods(
    settings: Settings,
    database: Database,
    storage: Storage,
    cache: AssetCache,
    chainkeys: Chainkeys,
    reporter: Reporter,
    wake: Callable[[set[str]], None],
    exchange: Exchange,
    moved: Callable[[int], None],
    connect: Callable[[], Connection] = Connection.in_cluster,
) -> Pods:
    """`moved` is told the bytes of other organizations' images; `connect`: by default with the pod's account.

    Raises:
        KubeError, OSError, ValueError: no cluster, a file that cannot be read, a value that is none.
    """
    connection = connect()
    registry = open_registry(settings)
    repository, scratch = settings.USER_IMAGE_REPOSITORY, settings.MEDIA_ROOT / "cache" / "images"
    others = ImagesOfOthers(registry, repository, exchange, scratch, moved)
    images = PodImages(registry, settings.REGISTRY, repository, settings.MSP_ID, others)
    inputs = PodInputs(settings.MSP_ID, storage, cache)
    work = QueueWork(settings, database, storage, images, reporter, wake)
    jobs = Jobs(dashboard_url(settings), lambda: _token(settings, connection))
    pool = KubeRayPool(connection, jobs, work, pod_shape(settings), pool_options(settings))
    offering = PodOffering(settings, inputs, images, chainkeys)
    sweeper = PodSweeper(settings.MSP_ID, database, storage, inputs, settings.TASK_LOG_RETENTION)
    return Pods(inputs, images, offering, pool, sweeper)


def dashboard_url(settings: Settings) -> str:
    """Ray's head, where jobs are submitted: KubeRay's Service of it."""
    head = f"{settings.COMPUTE_CLUSTER}-head-svc.{settings.COMPUTE_NAMESPACE}.svc"
    return settings.COMPUTE_DASHBOARD_URL or f"http://{head}:{DASHBOARD_PORT}"


def _token(settings: Settings, connection: Connection) -> str:
    """The cluster's token: KubeRay's Secret of its name, which has one value."""
    secrets = Resource(connection, SECRETS, settings.COMPUTE_NAMESPACE)
    values: dict[str, Any] = dict(secrets.get(settings.COMPUTE_CLUSTER).get("data") or {})
    (value,) = values.values()
    return base64.b64decode(value).decode()
