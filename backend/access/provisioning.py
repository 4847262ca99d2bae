"""Accounts and secrets that the settings name, made at every start, one process at a time."""

from sqlalchemy import text
from sqlmodel import Session

from backend.access.organizations.provisioning import provision_incoming, provision_outgoing
from backend.access.organizations.secrets import encrypt_anew
from backend.access.users.provisioning import provision_user, provision_virtual_users
from backend.node import Node

_LOCK = 0x5B57B


def lock(session: Session) -> None:
    """Until the end of the transaction, nobody else provisions."""
    session.connection().execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


def provision(node: Node) -> None:
    """Make the listed accounts, the two that stand for others, and the secrets shared with organizations."""
    settings = node.settings
    with node.database.transaction() as session:
        lock(session)
        provision_virtual_users(session)
        if settings.SECRET_KEY_PREVIOUS:
            encrypt_anew(session, settings)
        for user in sorted(settings.USERS, key=lambda user: user.username):
            provision_user(session, settings, user)
        for name, peer in sorted(settings.PEERS.items()):
            if peer.incoming:
                provision_incoming(session, settings, name, peer.incoming)
            if peer.outgoing:
                provision_outgoing(session, settings, name, peer.outgoing, peer.url)
