"""`make bench`: every figure with its peer beside it, measured in the same run on the same machine.

Prints a table, then where one task's milliseconds go, and writes bench/results/<date>.json.
"""

import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
from rich.console import Console

from bench import canceling, heavy_imports, large_sample, ledger, plans, reads
from bench.embedded import Embedded, embedded
from bench.profile import profile
from bench.table import Figure, profile_table, table
from network.postgres import temporary_server

RESULTS = Path(__file__).with_name("results")
PEER = "SDK subprocess mode"
UP_GOAL_S = 30.0
MEMORY_GOAL_MB = 2300.0
CHAIN_GOAL = 0.6
INDEPENDENT_GOAL = 0.45
SUBSTRAFL_GOAL = 0.2


def local() -> dict[str, float]:
    """The yardstick: seconds a task in the SDK's subprocess mode."""
    with plans.subprocess_clients() as clients:
        with plans.playground(clients) as ground:
            measured = {"chain": plans.chain(ground), "independent": plans.independent(ground)}
        outcome = plans.substrafl(clients)
        measured["substrafl"] = outcome.train_s / outcome.tasks
    return measured


def ours(network: Embedded, yardstick: dict[str, float]) -> tuple[list[Figure], dict[str, float]]:
    """The figures of a running network, and the profile of one task."""
    memory = network.memory_mb()  # before anything has run
    clients = network.clients()
    with plans.playground(clients) as ground:
        chain = plans.chain(ground)
        independent = plans.independent(ground)
        steps = profile(ground, network.organizations[0])
    first = plans.substrafl(clients)  # not counted, as of the others: everything awake
    outcome = plans.substrafl(clients)
    substrafl = outcome.train_s / outcome.tasks
    s = "s a task"
    figures = [
        Figure("chain of 50 tasks", s, chain, yardstick["chain"], PEER, CHAIN_GOAL),
        Figure(
            *("50 independent tasks", s, independent, yardstick["independent"]),
            *(PEER, INDEPENDENT_GOAL),
        ),
        Figure(
            *("SubstraFL, 21 tasks, images built", s, substrafl, yardstick["substrafl"]),
            *(PEER, SUBSTRAFL_GOAL),
        ),
        Figure(
            *("... the first plan of its images", s, first.train_s / first.tasks),
            *(yardstick["substrafl"], PEER),
        ),
        Figure("SubstraFL, building its images", "s", first.build_s),
        Figure("up, from an empty folder", "s", network.up_s, goal=UP_GOAL_S),
        Figure("memory at rest (PSS)", "MB", memory, goal=MEMORY_GOAL_MB),
    ]
    return figures, steps


def machine() -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "ray": version("ray"),
        "substra": version("substra"),
        "substrafl": version("substrafl"),
    }


def main() -> int:
    console = Console(highlight=False)
    console.print("Measuring the SDK's subprocess mode …")
    yardstick = local()
    console.print("Measuring the ledger …")
    with (
        TemporaryDirectory(prefix="sr-bench-") as folder,
        temporary_server(Path(folder), durable=True) as server,
    ):
        of_ledger = ledger.figures(ledger.run(server))
    console.print("Measuring the embedded network …")
    with embedded() as network:
        figures, steps = ours(network, yardstick)
        console.print("Measuring heavy imports, a large sample, cancel …")
        figures += heavy_imports.figures(network)
        figures += large_sample.figures(network)
        figures += canceling.figures(network)
        console.print("Measuring reads …")
        measured = reads.measure(network, yardstick["chain"])
        figures += reads.figures(measured, network.replica_mb())
    figures += of_ledger
    console.print(table(figures))
    console.print(reads.table(measured, yardstick["chain"]))
    console.print(profile_table(steps))
    now = datetime.now(UTC)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{now:%Y-%m-%d}.json"
    content = {
        "date": now.isoformat(timespec="seconds"),
        "machine": machine(),
        "figures": [figure.as_json() for figure in figures],
        "profile_ms": steps,
    }
    path.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")
    console.print(f"Written to {path.relative_to(Path.cwd())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
