"""How long a single sign-on holds, and its renewal without the browser (rest-api.md 3.4)."""

import threading
import time
from datetime import timedelta

import structlog

from backend.access.account import Account
from backend.access.encryption import Cipher, Undecryptable
from backend.access.oidc.provider import ProviderError, ProviderRefused
from backend.access.oidc.store import OidcStore
from backend.kit.clock import utc_now
from backend.kit.errors import Overloaded, PermissionDenied
from backend.node import Node

log = structlog.get_logger(__name__)
PURPOSE = "refresh tokens"
PAUSE_S = 0.1


class AccessLapsed(PermissionDenied):
    default = (
        "You are an OIDC user but haven't authenticated in too long a time, "
        "connect to the frontend to refresh your access."
    )


def confirmed(node: Node, account: Account) -> Account:
    """The account, if it may still work; a lapsed one asks the provider first, when there is a refresh token.

    Raises:
        AccessLapsed: its last sign-on is too long ago, or the provider no longer vouches for it (403).
        Overloaded: the provider cannot be asked at the moment (503).
    """
    if account.valid_until is not None and account.valid_until < utc_now():
        _renew(node, account)
    return account


def _renew(node: Node, account: Account) -> None:
    """One process asks the provider, for a refresh token often works once; the others wait for the outcome."""
    patience_s = _patience_s(node)
    deadline, pause = time.monotonic() + patience_s, threading.Event()
    while True:
        with node.database.transaction() as session:
            store = OidcStore(session)
            claimed = store.claim_refresh(account.id, timedelta(seconds=patience_s))
            standing = store.standing(account.id)
        if claimed is not None:
            _ask(node, account, claimed.subject, claimed.refresh_token)
            return
        if standing is None or standing.valid:
            return
        if not standing.refreshable:
            raise AccessLapsed
        if time.monotonic() > deadline:
            raise Overloaded("The OIDC provider does not answer")
        pause.wait(PAUSE_S)


def _ask(node: Node, account: Account, subject: str, encrypted: str) -> None:
    cipher = Cipher(node.settings, PURPOSE)
    try:
        renewed = node.provider.renew(cipher.decrypt(encrypted), subject)
    except ProviderError as error:
        with node.database.transaction() as session:
            OidcStore(session).release(account.id)
        raise Overloaded(f"The OIDC provider cannot be asked: {error}") from None
    except (ProviderRefused, Undecryptable) as error:
        log.info("sign_on_lapsed", user=account.username, reason=str(error))
        with node.database.transaction() as session:
            OidcStore(session).forget_refresh_token(account.id)
        raise AccessLapsed from None
    with node.database.transaction() as session:
        OidcStore(session).confirm(account.id, validity(node), cipher.encrypt(renewed))


def validity(node: Node) -> timedelta:
    return timedelta(seconds=node.settings.OIDC_USERS_LOGIN_VALIDITY_DURATION)


def _patience_s(node: Node) -> float:
    """How long one call to the provider may take, with some slack."""
    return (node.settings.OIDC_TIMEOUT or node.settings.HTTP_CLIENT_TIMEOUT_SECONDS) + 5.0
