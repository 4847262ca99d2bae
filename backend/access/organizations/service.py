"""What the organization says of itself and of its neighbours (rest-api.md 5)."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from backend.access.account import Account
from backend.access.organizations.tables import Organization
from backend.kit.columns import core
from backend.kit.errors import ApiError, BadRequest, NotFound
from backend.node import Node
from backend.ports.ledger.errors import LedgerError

_ORGANIZATIONS = core(Organization)


class Unhealthy(ApiError):
    """A probe's answer: something that this process needs is not there."""

    status = 500


class OrganizationService:
    def __init__(self, node: Node) -> None:
        self._node = node

    def members(self, channel: str) -> list[dict[str, Any]]:
        """The organizations of a channel, by id."""
        return [self._wire(row) for row in self._rows(channel)]

    def member(self, channel: str, number: int) -> dict[str, Any]:
        """One organization by the number of its row.

        Raises:
            NotFound: the channel has no such row (404).
        """
        for row in self._rows(channel):
            if row.id == number:
                return self._wire(row)
        raise NotFound.of("ChannelOrganization")

    def _wire(self, row: Any) -> dict[str, Any]:
        return {
            "id": row.organization_id,
            "address": row.address,
            "creation_date": row.creation_date,
            "is_current": row.organization_id == self._node.own,
        }

    def _rows(self, channel: str) -> Sequence[Any]:
        columns = _ORGANIZATIONS.c
        query = select(columns.id, columns.organization_id, columns.address, columns.creation_date)
        query = query.where(columns.channel == channel).order_by(columns.organization_id)
        with self._node.database.reading() as connection:
            return connection.execute(query).all()

    def information(self, account: Account | None) -> dict[str, Any]:
        """What strangers may know, and for a user what its channel allows and which versions run.

        Raises:
            BadRequest: a user without a channel (400). LedgerError: the ledger's version cannot be asked.
        """
        settings = self._node.settings
        known: dict[str, Any] = {
            "host": settings.DEFAULT_DOMAIN,
            "organization_id": settings.MSP_ID,
            "organization_name": settings.ORG_NAME,
            "config": {},
            "auth": self._log_ins(),
        }
        if account is None:
            return known
        if account.channel is None:
            raise BadRequest("Could not determine channel name")
        channel = settings.CHANNELS.get(account.channel)
        exported = channel is not None and channel.model_export_enabled
        version = None
        if not settings.ISOLATED:
            version = self._node.ledger.recent_version(account.channel)
        return {
            **known,
            "config": {"model_export_enabled": exported},
            "channel": account.channel,
            "version": settings.BACKEND_VERSION,
            "orchestrator_version": version,
            "user": account.username,
            "user_role": account.role,
        }

    def _log_ins(self) -> dict[str, Any]:
        """Ways to log in beside a password; the address is below the API's root."""
        settings = self._node.settings
        if not settings.OIDC_ENABLED:
            return {}
        name = settings.OIDC_OP_DISPLAY_NAME or settings.OIDC_OP_URL
        return {"oidc": {"name": name, "login_url": "/oidc/authenticate/"}}

    def check_alive(self) -> None:
        """The database answers. The ledger is left out: restarting this process would not bring it back."""
        with self._node.database.reading() as connection:
            connection.exec_driver_sql("SELECT 1")

    def check_ready(self) -> None:
        """Every channel: the ledger answers, we are a member, and a channel for one has no second member.

        Raises:
            Unhealthy: one of these is not so (500); the reason names the channel.
        """
        for name, options in self._node.settings.CHANNELS.items():
            members = [row.organization_id for row in self._rows(name)]
            if (options.restricted or name.startswith("solo-")) and len(members) > 1:
                raise Unhealthy(f"{name}: a restricted channel has more than one member")
            if self._node.settings.ISOLATED:
                continue
            if self._node.own not in members:
                raise Unhealthy(f"{name}: this organization is not registered")
            try:
                self._node.ledger.on(name).version()
            except LedgerError as error:
                raise Unhealthy(f"{name}: the orchestrator cannot be asked: {error}") from None
