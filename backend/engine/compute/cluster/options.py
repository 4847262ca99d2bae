"""What an organization's settings say of its pods; `COMPUTE_POD` has names of `PodShape` and `Placement`."""

from dataclasses import fields
from typing import Any

from backend.engine.compute.cluster.template import Placement, PodShape
from backend.engine.compute.kuberay import PoolOptions
from backend.engine.compute.runner_options import runner_options
from backend.settings import Settings

MOST_OUTPUT = 5 << 30
"""Bytes that one presigned PUT takes."""
_OF_RUNNERS = frozenset({"limits", "disk_reserve_bytes", "log_head_bytes", "log_tail_bytes"})
_PLACEMENT = {field.name for field in fields(Placement)}
_SHAPE = {field.name for field in fields(PodShape)} - {"placement"}


def pod_shape(settings: Settings) -> PodShape:
    """The pods' shape.

    Raises:
        ValueError: COMPUTE_POD has a name that is none of theirs.
    """
    given = settings.COMPUTE_POD
    unknown = sorted(set(given) - _SHAPE - _PLACEMENT)
    if unknown:
        raise ValueError(f"COMPUTE_POD: unknown {', '.join(unknown)}")
    placement: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in given.items()
        if name in _PLACEMENT
    }
    shape = {name: value for name, value in given.items() if name in _SHAPE}
    return PodShape(**shape, placement=Placement(**placement))


def pool_options(settings: Settings) -> PoolOptions:
    return PoolOptions(
        namespace=settings.COMPUTE_NAMESPACE,
        cluster=settings.COMPUTE_CLUSTER,
        groups=settings.COMPUTE_GROUPS,
        pods=settings.COMPUTE_PODS,
        warm=settings.COMPUTE_WARM_PODS,
        idle_timeout_s=settings.COMPUTE_IDLE_TIMEOUT_S,
        session=session_options(settings),
    )


def session_options(settings: Settings) -> dict[str, Any]:
    """What each session in a pod is told, with the names of ray_jobs/pod/session.py."""
    told = {name: value for name, value in runner_options(settings).items() if name in _OF_RUNNERS}
    return {
        **told,
        "url": settings.RUNNER_API_URL,
        "idle_s": settings.COMPUTE_SESSION_IDLE_S,
        "output_bytes": min(settings.FUNCTION_OUTPUT_BYTES or MOST_OUTPUT, MOST_OUTPUT),
    }
