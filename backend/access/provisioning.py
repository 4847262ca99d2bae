"""Accounts and secrets that the settings name, made at every start, one process at a time."""

from sqlalchemy import text

from backend.access.organizations.provisioning import provision_peer
from backend.access.users.provisioning import provision_user, provision_virtual_users
from backend.node import Node

_LOCK = 0x5B57B


def provision(node: Node) -> None:
    """Make the listed accounts, the two that stand for others, and the secrets shared with organizations."""
    settings = node.settings
    with node.database.transaction() as session:
        session.connection().execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        provision_virtual_users(session)
        for user in sorted(settings.USERS, key=lambda user: user.username):
            provision_user(session, settings, user)
        for name in sorted(settings.PEERS):
            provision_peer(session, settings, name, settings.PEERS[name])
