"""The processes that a network consists of, as the supervisor has to know them."""

import os
import signal
import sys
from hashlib import sha256
from pathlib import Path

from network import front_door, probes
from network.children import Part
from network.layout import Layout
from network.postgres import Postgres
from network.processes import MARK
from network.ray_head import environment as ray_environment
from network.ray_head import head_part, serve_part
from network.settings_files import database_of, postgres_of
from network.state import State

LEDGER_DATABASE = "orchestrator"
LOOPBACK = ("127.0.0.1", "localhost")
PACKAGES = (
    Path(__file__).resolve().parent.parent
)  # where `backend`, `orchestrator` … are imported from


def parts_of(layout: Layout, state: State) -> list[Part]:
    """All parts, in the order in which they start."""
    postgres = postgres_of(layout, state)
    environment = _environment(layout)
    parts = [
        _postgres(postgres, environment, layout),
        _ledger(postgres, environment, layout, state),
    ]
    parts += [_api(name, postgres, environment, layout, state) for name in state.names]
    if state.plain:
        parts += [_engine(name, environment, layout) for name in state.names]
    else:
        with_ray = {**environment, **ray_environment(layout, state)}
        parts.append(head_part(layout, state, with_ray))
        parts.append(serve_part(layout, state, with_ray))
    if state.frontend is not None:
        parts.append(_pages(state.frontend, environment, layout, state))
    parts.append(_front_door(environment, layout, state))
    return parts


def _environment(layout: Layout) -> dict[str, str]:
    """Ours, without anything that would lead to another Ray; loopback never goes through a proxy."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    paths = [str(PACKAGES), *filter(None, kept.get("PYTHONPATH", "").split(os.pathsep))]
    kept["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    kept["PYTHONUNBUFFERED"] = "1"
    kept["MALLOC_ARENA_MAX"] = "2"
    kept[MARK] = layout.identity
    for name in ("NO_PROXY", "no_proxy"):
        hosts = [*filter(None, kept.get(name, "").split(",")), *LOOPBACK]
        kept[name] = ",".join(dict.fromkeys(hosts))
    return kept


def _postgres(postgres: Postgres, environment: dict[str, str], layout: Layout) -> Part:
    return Part(
        name="postgres",
        role="postgres",
        command=postgres.command,
        environment={**postgres.environment(), MARK: environment[MARK]},
        folder=layout.postgres,
        before=postgres.initialise,
        healthy=lambda: probes.postgres_ready(postgres.data),
        stop=signal.SIGINT,
        stop_timeout_s=20,
    )


def _without_ledger(environment: dict[str, str]) -> dict[str, str]:
    """Without settings of another ledger that the shell may hold: TLS, or metrics open to other machines."""
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith("ORCHESTRATOR_") and name != "METRICS_ENABLED"
    }


def _ledger(postgres: Postgres, environment: dict[str, str], layout: Layout, state: State) -> Part:
    port = state.ports["orchestrator"]
    password = state.secrets["database:orchestrator"]

    def command() -> list[str]:
        words = [sys.executable, "-m", "orchestrator", "--listen", f"127.0.0.1:{port}"]
        return [*words, "--channels", str(layout.channels_file)]

    # The address holds a password, so it travels in the environment: arguments are seen by every user.
    address = postgres.url(LEDGER_DATABASE, LEDGER_DATABASE, password)
    return Part(
        name="orchestrator",
        role="orchestrator",
        command=command,
        environment={**_without_ledger(environment), "ORCHESTRATOR_DATABASE_URL": address},
        folder=layout.run,
        after=("postgres",),
        before=lambda: postgres.ensure_database(LEDGER_DATABASE, LEDGER_DATABASE, password),
        healthy=lambda: probes.listens(port),
    )  # the ledger takes a changed channel file over while it runs


def _api(
    name: str, postgres: Postgres, environment: dict[str, str], layout: Layout, state: State
) -> Part:
    port = state.ports[f"api-{name}"]
    database = database_of(name)
    words = [sys.executable, "-m", "backend.asgi", "--settings", str(layout.settings_file(name))]
    return Part(
        name=f"api-{name}",
        role="api",
        organization=name,
        command=lambda: [*words, "--port", str(port)],
        environment=environment,
        folder=layout.run,
        after=("postgres",),
        before=lambda: postgres.ensure_database(
            database, database, state.secrets[f"database:{name}"]
        ),
        healthy=lambda: probes.answers(port, f"/{name}/liveness"),
        stop_timeout_s=12,
        fingerprint=_digest(layout.settings_file(name)),
    )


def _engine(name: str, environment: dict[str, str], layout: Layout) -> Part:
    """Control loops and runners of one organization without Ray (`--plain`)."""
    settings = layout.settings_file(name)
    return Part(
        name=f"engine-{name}",
        role="engine",
        organization=name,
        command=lambda: [
            sys.executable,
            "-m",
            "backend.engine.actors",
            "--settings",
            str(settings),
        ],
        environment=environment,
        folder=layout.run,
        after=(f"api-{name}", "orchestrator"),
        fingerprint=_digest(settings),
    )


def _pages(folder: str, environment: dict[str, str], layout: Layout, state: State) -> Part:
    words = [sys.executable, "-m", "network.pages", "--folder", folder]
    ports = {name: state.ports[f"page-{name}"] for name in state.names}
    for name, port in ports.items():
        words += ["--page", f"{port}={state.page_api(name)}"]
    return Part(
        name="frontend",
        role="frontend",
        command=lambda: words,
        environment=environment,
        folder=layout.run,
        healthy=lambda: all(probes.listens(port) for port in ports.values()),
        stop_timeout_s=5,
        fingerprint=sha256("\0".join(words).encode()).hexdigest(),
    )


def _front_door(environment: dict[str, str], layout: Layout, state: State) -> Part:
    path = layout.front_door_configuration

    def prepare() -> None:
        front_door.write_configuration(layout, state)

    return Part(
        name="front-door",
        role="front-door",
        command=lambda: [front_door.program(), "-db", "-f", str(path)],
        environment=environment,
        folder=layout.run,
        before=prepare,
        healthy=lambda: probes.listens(state.port),
        stop_timeout_s=5,
        fingerprint=sha256(front_door.configuration(state).encode()).hexdigest(),
    )


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()
