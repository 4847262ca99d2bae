"""Signing on: what begins at the provider ends as a session of the front end (rest-api.md 3.4)."""

import structlog

from backend.access.encryption import Cipher
from backend.access.oidc.attempts import Attempt, remembered
from backend.access.oidc.provider import Identity
from backend.access.oidc.store import OidcStore
from backend.access.oidc.usernames import username_of
from backend.access.oidc.validity import PURPOSE, validity
from backend.access.sessions.service import Begun, SessionService
from backend.kit.errors import NotFound
from backend.node import Node

log = structlog.get_logger(__name__)


class UserInactive(Exception):
    """The provider vouches for somebody whom an administrator shut out."""


class SignOnService:
    """Raises NotFound (404) on construction when single sign-on is off: its routes are not there."""

    def __init__(self, node: Node) -> None:
        if not node.settings.OIDC_ENABLED:
            raise NotFound
        self._node = node

    def begin(self, next_address: str, redirect_uri: str) -> tuple[str, Attempt]:
        """Where to send the browser, and what it has to remember.

        Raises:
            ProviderError: the provider cannot be asked.
        """
        attempt = Attempt.new(remembered(next_address, self._node.settings))
        return self._node.provider.authorization_url(attempt, redirect_uri), attempt

    def finish(self, code: str, attempt: Attempt, redirect_uri: str) -> Begun:
        """A session for who signed on; a new user is made at the first time.

        Raises:
            ProviderRefused, ProviderError: the provider does not vouch for anybody, or cannot be asked.
            UserInactive: it does, but for a user that is shut out.
        """
        identity = self._node.provider.redeem(code, attempt, redirect_uri)
        user_id = self._settle(identity)
        return SessionService(self._node).begin(user_id)

    def _settle(self, identity: Identity) -> int:
        settings = self._node.settings
        refresh_token = None
        if identity.refresh_token and settings.OIDC_USERS_USE_REFRESH_TOKEN:
            refresh_token = Cipher(settings, PURPOSE).encrypt(identity.refresh_token)
        with self._node.database.transaction() as session:
            store = OidcStore(session)
            store.lock(identity)
            known = store.find(identity)
            if known is not None and not known.active:
                raise UserInactive
            user_id = known.id if known is not None else self._add(store, identity)
            store.confirm(user_id, validity(self._node), refresh_token)
        return int(user_id)

    def _add(self, store: OidcStore, identity: Identity) -> int:
        settings = self._node.settings
        name = username_of(
            identity.email,
            identity.issuer,
            identity.subject,
            append_domain=settings.OIDC_USERS_APPEND_DOMAIN,
        )
        user_id = store.add(identity, name, settings.OIDC_USERS_DEFAULT_CHANNEL or None)
        log.info("user_signed_on_first", user_id=user_id)
        return user_id
