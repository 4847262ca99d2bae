"""How many reads a second one organization answers, beside what the original API answered on two cores.

`python -m bench.reads` measures them alone: an embedded network is started, 100 plans of 100 tasks are written
into the first organization's database, and each route is asked on 1, 8 and 32 connections, through the front
door (Serve) and at the plain uvicorn of the same application. The original's figures were taken where a task of
the SDK's subprocess chain takes 0.047 s; they are scaled by that over what it takes here.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
from rich.console import Console
from rich.table import Table

from backend.node import Node
from backend.settings import Settings
from bench import plans
from bench.embedded import Embedded, embedded
from bench.load import Load, load
from bench.seed import seed
from bench.table import Figure
from network.layout import Layout

CHANNEL = "mychannel"
YARDSTICK_S = 0.047  # of the machine on which the original was measured
CONNECTIONS = (1, 8, 32)
COMPARED = 8  # connections of the original's figures and of the goals
LONGEST_TAIL = 3.0  # p99 over p50
REPLICA_MB = 200.0
PEER = "original API, scaled"


@dataclass(frozen=True)
class Route:
    """`original`: its requests a second; `serve` and `uvicorn`: how many times as many are the goal."""

    name: str
    path: str
    original: float
    serve: float
    uvicorn: float

    def goal(self, server: str) -> float:
        return self.serve if server == "Serve" else self.uvicorn


ROUTES = (
    Route("/info/", "/info/", 235, 4, 6),
    Route("plans, 30", "/compute_plan/?page_size=30", 22.8, 10, 12),
    Route("a plan's tasks, 100", "/compute_plan/{plan}/task/?page_size=100", 8.1, 10, 12),
    Route("tasks, 30", "/task/?page_size=30", 20.9, 10, 12),
    Route("data samples, 100", "/data_sample/?page_size=100", 61, 4, 6),
    Route("data managers, 30", "/data_manager/?page_size=30", 10.5, 10, 12),
    Route("workflow graph", "/compute_plan/{plan}/workflow_graph/", 64, 4, 6),
)


@dataclass(frozen=True)
class Measured:
    route: Route
    server: str
    load: Load
    peer: float  # requests a second of the original, scaled

    def figures(self) -> Iterator[Figure]:
        name = f"{self.route.name}, {self.load.connections} connections, {self.server}"
        if self.load.connections != COMPARED:
            yield Figure(name, "req/s", self.load.per_s)
            return
        yield Figure(
            *(name, "req/s", self.load.per_s, self.peer, PEER),
            goal=self.route.goal(self.server),
            at_least=True,
        )
        tail = (f"  p99 of {name}", "ms", self.load.p99_ms, self.load.p50_ms, "p50")
        yield Figure(*tail, goal=LONGEST_TAIL)


def measure(network: Embedded, yardstick_s: float, seconds: float = 4.0) -> list[Measured]:
    """Seed the network's first organization and ask it. Only what is answered with 200 counts."""
    settings = Settings.read(Layout.at(network.state).settings_file("org-1"))
    node = Node.build(settings, pool_size=2)
    try:
        seed(node, CHANNEL)
    finally:
        node.close()
    addresses = {"Serve": settings.DEFAULT_DOMAIN, "uvicorn": settings.RUNNER_API_URL}
    token, plan = _token_and_plan(settings)
    measured = []
    for server, address in addresses.items():
        for route in ROUTES:
            url = address + route.path.format(plan=plan)
            for connections in CONNECTIONS:
                found = load(url, token, connections, seconds)
                if found.errors:
                    raise RuntimeError(f"{found.errors} answers of {url} were not 200")
                scale = YARDSTICK_S / yardstick_s
                measured.append(Measured(route, server, found, route.original * scale))
    return measured


def _token_and_plan(settings: Settings) -> tuple[str, str]:
    user = settings.USERS[0]
    with httpx.Client(base_url=settings.DEFAULT_DOMAIN, timeout=30) as client:
        form = {"username": user.username, "password": user.password}
        token = client.post("/api-token-auth/", data=form).json()["token"]
        headers = {"Authorization": f"Token {token}"}
        found = client.get("/compute_plan/", params={"match": "plan 0"}, headers=headers).json()
    return token, found["results"][0]["key"]


def figures(measured: list[Measured], replica_mb: float) -> list[Figure]:
    """For the table of all figures."""
    found = [figure for one in measured for figure in one.figures()]
    return [*found, Figure("memory of an API process (PSS)", "MB", replica_mb, goal=REPLICA_MB)]


def table(measured: list[Measured], yardstick_s: float) -> Table:
    """Requests a second, the original's as they were measured and as they would be here."""
    title = f"Reads; SDK subprocess chain {yardstick_s:.3f} s a task here, {YARDSTICK_S} s there"
    result = Table(title=title, title_justify="left")
    for column in ("read", "server", "connections", "req/s", "p50 ms", "p99 ms", "kB"):
        result.add_column(column, justify="left" if column in ("read", "server") else "right")
    for column in ("original", "scaled", "times", "goal"):
        result.add_column(column, justify="right")
    for one in measured:
        compared: tuple[str, ...] = ("", "", "", "")
        if one.load.connections == COMPARED:
            goal = f"≥ {one.route.goal(one.server):g}"
            times = one.load.per_s / one.peer
            compared = (f"{one.route.original:g}", f"{one.peer:.1f}", f"{times:.1f}", goal)
        result.add_row(
            one.route.name,
            one.server,
            str(one.load.connections),
            f"{one.load.per_s:.0f}",
            f"{one.load.p50_ms:.1f}",
            f"{one.load.p99_ms:.1f}",
            f"{one.load.bytes_each / 1000:.1f}",
            *compared,
        )
    return result


def main() -> int:
    console = Console(highlight=False)
    console.print("Measuring the SDK's subprocess mode …")
    with plans.subprocess_clients() as clients, plans.playground(clients) as ground:
        yardstick_s = plans.chain(ground)
    console.print("Measuring reads …")
    with embedded() as network:
        measured = measure(network, yardstick_s)
        memory = network.replica_mb()
    console.print(table(measured, yardstick_s))
    console.print(f"An API process takes {memory:.0f} MB (PSS)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
