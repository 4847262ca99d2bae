"""Whether the organizations of a network know each other: the end of the first `up`."""

from contextlib import closing

import psycopg2

from network.layout import Layout
from network.settings_files import CHANNELS, database_of, msp_id, postgres_of
from network.state import State

_KNOWN = "SELECT channel, organization_id FROM organization"


def lonely(layout: Layout, state: State) -> list[str]:
    """Names of organizations that do not list every member on every channel yet.

    They hear of each other by the ledger's events, so a moment after each of them is ready (an SDK's
    `list_organization` and permissions need it).
    """
    members = {(channel, msp_id(name)) for channel in CHANNELS for name in state.names}
    return [name for name in state.names if not members <= _known(name, layout, state)]


def _known(name: str, layout: Layout, state: State) -> set[tuple[str, str]]:
    database = database_of(name)
    secret = state.secrets[f"database:{name}"]
    address = postgres_of(layout, state).url(database, database, secret)
    try:
        with (
            closing(psycopg2.connect(address, connect_timeout=3)) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(_KNOWN)
            return {(channel, organization) for channel, organization in cursor.fetchall()}
    except psycopg2.Error:  # the server, the database or its tables are not there yet
        return set()
