"""Files that the processes of a network read: settings of each organization, channels, network.json."""

import json
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from network.layout import Layout
from network.postgres import Postgres
from network.private_files import private_folder, write_private
from network.state import State

CHANNELS = ("mychannel", "yourchannel")
LOG_INS_A_MINUTE = 120
PASSWORD_BASE = 43  # deployment.md 12.2: org-1 has p@sswr0d44


def number_of(name: str) -> int:
    """`org-3` → 3."""
    return int(name.removeprefix("org-"))


def msp_id(name: str) -> str:
    return f"MyOrg{number_of(name)}MSP"


def password(name: str) -> str:
    return f"p@sswr0d{PASSWORD_BASE + number_of(name)}"


def database_of(name: str) -> str:
    """`org-1` → `org_1`: database and owner."""
    return name.replace("-", "_")


def postgres_of(layout: Layout, state: State) -> Postgres:
    """The network's server; connections of an organization: API 8, Serve 8, at an upgrade twice, actor 4."""
    connections = 40 + 40 * state.organizations
    return Postgres(
        layout.postgres, layout.postgres_sockets, state.ports["postgres"], connections=connections
    )


def version_of_product() -> str:
    try:
        return version("substra-ray")
    except PackageNotFoundError:
        return "dev"


def settings_of(name: str, layout: Layout, state: State, postgres: Postgres) -> dict[str, Any]:
    """The settings of one organization, with the names of backend/settings.py."""
    number = number_of(name)
    peers = {
        msp_id(other): {
            "url": f"{state.url}/{other}",
            "outgoing": state.peer_secret(name, other),
            "incoming": state.peer_secret(other, name),
        }
        for other in state.names
    }
    users = [
        {"username": user, "password": password(name), "channel": channel}
        for user, channel in zip((name, f"{name}-{CHANNELS[1]}"), CHANNELS, strict=True)
    ]
    database = database_of(name)
    return {
        "NAME": name,
        "ORG_NAME": f"MyOrg{number}",
        "MSP_ID": msp_id(name),
        "CHANNELS": {channel: {"model_export_enabled": True} for channel in CHANNELS},
        "DEFAULT_DOMAIN": f"{state.url}/{name}",
        "SUBPATH": name,
        "PEERS": peers,
        "USERS": users,
        "BACKEND_VERSION": version_of_product(),
        "SECRET_KEY": state.secrets[f"key:{name}"],
        "DATABASE_URL": postgres.url(database, database, state.secrets[f"database:{name}"]),
        "ORCHESTRATOR_HOST": "127.0.0.1",
        "ORCHESTRATOR_PORT": state.ports["orchestrator"],
        "DEFAULT_THROTTLE_RATES": LOG_INS_A_MINUTE,
        "MEDIA_ROOT": str(layout.media(name)),
        "SERVERMEDIAS_ROOT": str(layout.servermedias(name)),
        "BUILDER_ENABLED": True,
        "MACHINE_SHARED_BY": state.organizations,
        "WORKERS": state.workers,
        "RUN_FOLDER": str(layout.run_folder(name)),
        "RUNNER_API_URL": f"http://127.0.0.1:{state.ports[f'api-{name}']}/{name}",
        "RUN_ENVIRONMENT": state.run_environment,
        "CORS_ORIGIN_WHITELIST": [page] if (page := state.page(name)) else [],
        "CORS_ALLOW_CREDENTIALS": state.frontend is not None,
    }


def network_of(state: State) -> dict[str, Any]:
    """The content of network.json: what a user or a script needs to reach the network."""
    organizations = [
        {
            "name": name,
            "msp_id": msp_id(name),
            "url": f"{state.url}/{name}",
            "username": name,
            "password": password(name),
            **({"page": page} if (page := state.page(name)) else {}),
        }
        for name in state.names
    ]
    return {
        "organizations": organizations,
        "orchestrator": f"127.0.0.1:{state.ports['orchestrator']}",
        "dashboard": None if state.plain else f"http://127.0.0.1:{state.ports['ray-dashboard']}",
    }


def write_all(layout: Layout, state: State) -> None:
    """Write every file again; they follow the state and nothing else."""
    postgres = postgres_of(layout, state)
    for name in state.names:
        for folder in (layout.media(name), layout.servermedias(name), layout.run_folder(name)):
            private_folder(folder)
        content = settings_of(name, layout, state, postgres)
        write_private(layout.settings_file(name), json.dumps(content, indent=1))
    members = [msp_id(name) for name in state.names]
    channels = {"channels": dict.fromkeys(CHANNELS, members)}
    write_private(layout.channels_file, json.dumps(channels, indent=1))  # JSON is YAML
    write_private(layout.ray_token_file, state.secrets["ray-token"])
    write_private(layout.network_file, json.dumps(network_of(state), indent=1))
