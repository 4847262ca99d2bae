"""Which CPUs and GPUs a task may use: those that no other task of this machine's network has, while there are.

Every unit (a CPU, a GPU) is a row of lock files `<unit>.<level>` in a folder that all runners share. A task
takes the lowest level that is free, so units fill evenly and overlap only when more is asked than there is.
The kernel frees the locks of a runner that dies.
"""

import fcntl
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ray_jobs.lease import Lease

_LEVELS = 64  # tasks on one unit at a time; more than these share the first units
_DEVICE = re.compile(r"nvidia\d+")
_COUNTS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS", "NUMEXPR_MAX_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS",
    "RAYON_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "LOKY_MAX_CPU_COUNT", "PYTHON_CPU_COUNT",
)  # fmt: skip
_GPU_NAMES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")


@dataclass(slots=True)
class Share:
    """What one task has. `cpus` empty: all of the machine's; `devices` are the GPUs' device files."""

    cpus: tuple[int, ...] = ()
    gpus: tuple[str, ...] | None = None  # None: the machine has none
    devices: tuple[str, ...] = ()
    _locks: list[int] = field(default_factory=list)

    def variables(self, given: dict[str, str]) -> dict[str, str]:
        """What libraries read to find their share; the image's own words win but for GPUs."""
        found: dict[str, str] = {}
        if self.gpus is not None:
            found = {name: ",".join(self.gpus) for name in _GPU_NAMES}
        if self.cpus:
            found.update({name: str(len(self.cpus)) for name in _COUNTS if name not in given})
        return found

    def release(self) -> None:
        """Let others have it."""
        while self._locks:
            os.close(self._locks.pop())


class Shares:
    """The units that this runner may give; `devices` is where GPUs show themselves."""

    def __init__(self, folder: Path, devices: Path = Path("/dev")) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._devices = devices
        self._cpus = sorted(os.sched_getaffinity(0))
        self._gpus = _visible_gpus(devices)

    def take(self, lease: Lease) -> Share:
        """This task's units, as many as its lease says, rounded up."""
        share = Share()
        try:
            count = math.ceil(lease.cpus)
            if 0 < count < len(self._cpus):
                units = [f"cpu-{number}" for number in self._cpus]
                taken = self._lock(units, count, share)
                share.cpus = tuple(self._cpus[index] for index in taken)
            share.gpus = () if self._gpus else None
            count = min(math.ceil(lease.gpus), len(self._gpus))
            if count > 0:
                taken = self._lock([f"gpu-{name}" for name in self._gpus], count, share)
                share.gpus = tuple(self._gpus[index] for index in taken)
                share.devices = _device_files(self._devices)
        except BaseException:
            share.release()
            raise
        return share

    def _lock(self, units: Sequence[str], count: int, share: Share) -> list[int]:
        """The indexes of `count` units, the least used first."""
        taken: list[int] = []
        for level in range(_LEVELS):
            for index, unit in enumerate(units):
                if index not in taken and self._is_free(unit, level, share):
                    taken.append(index)
                    if len(taken) == count:
                        return sorted(taken)
        return sorted([*taken, *(i for i in range(len(units)) if i not in taken)][:count])

    def _is_free(self, unit: str, level: int, share: Share) -> bool:
        name = re.sub(r"[^A-Za-z0-9_.-]", "-", unit)
        descriptor = os.open(
            self._folder / f"{name}.{level}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        share._locks.append(descriptor)
        return True


def _visible_gpus(devices: Path) -> tuple[str, ...]:
    """What Ray gave this process, by the names that it uses; without Ray, whatever the machine has."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return tuple(name for name in given.split(",") if name and name != "-1")
    numbers = (file.name.removeprefix("nvidia") for file in devices.glob("nvidia*"))
    return tuple(sorted((n for n in numbers if n.isdigit()), key=int))


def _device_files(devices: Path) -> tuple[str, ...]:
    """All of the driver's: which of them a task uses is said by variables, as everywhere."""
    names = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")
    found = [file for file in devices.glob("nvidia*") if _DEVICE.fullmatch(file.name)]
    found += [devices / name for name in names if (devices / name).exists()]
    return tuple(sorted(map(str, found)))
