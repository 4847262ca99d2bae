"""What a task asks of the site: CPUs, memory, GPUs, priority. Pure rules, no session, no clock.

Metadata of the function, then of the plan, may name `substra.cpus`, `substra.memory`, `substra.gpus`; of the
plan alone `substra.priority`. The site's limits cap what is asked; what then is more than the site has at all
can never run.
"""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import psutil

from backend.settings import Settings

CPUS, MEMORY, GPUS = "substra.cpus", "substra.memory", "substra.gpus"
PRIORITY = "substra.priority"
WORDS = {"low": -2, "normal": 0, "high": 2}
LOWEST = -5
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


@dataclass(frozen=True, slots=True)
class Needs:
    """What a task keeps busy while it runs."""

    cpus: float = 0.0
    memory_bytes: int = 0
    gpus: float = 0.0


class Impossible(Exception):
    """What the metadata ask can never be had here; the text says why, for the user."""


@dataclass(frozen=True, slots=True)
class Site:
    """What this organization's machine has for tasks, what one gets by default, and the most it may ask."""

    has: Needs
    default: Needs
    most: Needs  # 0: no limit

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Where the settings do not say: its part of the machine, and a runner's share of CPUs for a task."""
        parts = settings.MACHINE_SHARED_BY
        cpus = settings.CPUS or (os.cpu_count() or 1) / parts
        memory = settings.MEMORY_BYTES or int(psutil.virtual_memory().total) // parts
        share = settings.TASK_CPUS or cpus / max(1, settings.WORKERS)
        return cls(
            has=Needs(cpus, memory, settings.GPUS),
            default=Needs(share, settings.TASK_MEMORY_BYTES, settings.TASK_GPUS),
            most=Needs(
                settings.TASK_CPUS_MAX, settings.TASK_MEMORY_BYTES_MAX, settings.TASK_GPUS_MAX
            ),
        )


def gpus_of_a_runner(gpus: float, workers: int) -> float:
    """A runner's share of the GPUs as Ray takes it: whole ones, or less than one."""
    share = gpus / max(1, workers)
    return float(math.floor(share)) if share >= 1 else math.floor(share * 10_000) / 10_000


def needs(site: Site, *metadata: Mapping[str, str] | None) -> Needs:
    """What a task is given; of several metadata that name a thing, the last one counts.

    Raises:
        Impossible: more than the site has, or no amount at all.
    """
    asked: dict[str, str] = {}
    for given in metadata:
        asked |= {
            name: (given or {})[name] for name in (CPUS, MEMORY, GPUS) if name in (given or {})
        }
    found = Needs(
        cpus=_capped(_number(asked, CPUS, site.default.cpus), site.most.cpus),
        memory_bytes=int(
            _capped(_bytes(asked, MEMORY, site.default.memory_bytes), site.most.memory_bytes)
        ),
        gpus=_capped(_number(asked, GPUS, site.default.gpus), site.most.gpus),
    )
    for what, want, have in (
        ("CPUs", found.cpus, site.has.cpus),
        ("bytes of memory", found.memory_bytes, site.has.memory_bytes),
        ("GPUs", found.gpus, site.has.gpus),
    ):
        if want > have * (1 + 1e-9):
            raise Impossible(
                f"the task asks for {want:g} {what}, and this organization has {have:g}"
            )
    return found


def priority(
    metadata: Mapping[str, str] | None, *, ours: bool, administrator: bool, most: int, foreign: int
) -> int:
    """A plan's priority, from -5 to 5: normal is 0, and above it only for administrators of this organization.

    `most` caps our administrators' plans, `foreign` those of other organizations, whose users' roles nobody
    can tell here. What is no priority counts as normal.
    """
    word = (metadata or {}).get(PRIORITY, "normal").strip().lower()
    asked = WORDS.get(word)
    if asked is None:
        asked = int(word) if re.fullmatch(r"[+-]?\d{1,3}", word) else 0
    cap = foreign if not ours else (most if administrator else min(most, 0))
    return max(LOWEST, min(asked, cap))


def weight(priority: int) -> float:
    """How many turns a plan gets for each one of a normal plan: one step of priority doubles it."""
    return float(2.0**priority)


def _capped(asked: float, most: float) -> float:
    return min(asked, most) if most else asked


def _number(asked: Mapping[str, str], name: str, default: float) -> float:
    if name not in asked:
        return default
    try:
        value = float(asked[name])
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise Impossible(f"the metadata {name} is no number: {asked[name][:40]!r}")
    return value


def _bytes(asked: Mapping[str, str], name: str, default: int) -> float:
    """`2G`, `512 MiB`, `1e`… is refused; without `i` a unit is decimal."""
    if name not in asked:
        return default
    match = _SIZE.fullmatch(asked[name].strip())
    if match is None:
        raise Impossible(f"the metadata {name} is no amount of memory: {asked[name][:40]!r}")
    base = 1024 if match[3] else 1000
    return float(match[1]) * float(base ** _POWERS[match[2].upper()])
