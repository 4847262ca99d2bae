"""How many threads libraries start, told to those that read it when they were imported: in the zygote.

Affinity alone would keep a task on its CPUs; more threads than those only get in each other's way.
Runs inside users' environments: Python 3.9 or newer, standard library only.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Callable

Setter = Callable[[int], object]
_LIBRARY = re.compile(r"lib(?:[a-z_]*openblas|gomp|iomp5|omp|mkl_rt)[^/]*\.so[^/]*$")
_NAMES = (
    "omp_set_num_threads", "MKL_Set_Num_Threads", "openblas_set_num_threads",
    "openblas_set_num_threads64_", "scipy_openblas_set_num_threads64_", "scipy_openblas_set_num_threads",
)  # fmt: skip


def setters() -> list[Setter]:
    """What to call, of the libraries that this process has loaded. Costs a few ms: once a warming."""
    found: list[Setter] = []
    for path in sorted(_loaded()):
        try:
            library = ctypes.CDLL(path)
        except OSError:
            continue  # its file is gone
        found += [getattr(library, name) for name in _NAMES if hasattr(library, name)]
    return found


def _loaded() -> set[str]:
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
            paths = {line.rstrip("\n").partition("/")[2] for line in file}
    except OSError:
        return set()
    return {f"/{path}" for path in paths if _LIBRARY.search(path)}


def limit(count: int, known: list[Setter]) -> None:
    """At most `count` threads in each of them, PyTorch's own pool too."""
    for setter in known:
        setter(count)
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "set_num_threads"):
        torch.set_num_threads(count)
